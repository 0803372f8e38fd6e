//! The command that repeats an exchange by hand.

use crate::report::{Leg, Report};
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// The command, with the address that was dialled; `None` where nothing was. What is secret is not in it: a hidden query
/// shows as `?…`, and the module's own header fields and body are left out.
pub(super) fn command(report: &Report) -> Option<String> {
    let leg = report.last_leg()?;
    // What was cut off cannot be asked for.
    if leg.url.ends_with('…') && !leg.url.ends_with("?…") {
        return None;
    }
    let seconds = report.timeout.as_secs().max(1);
    if let Some(path) = leg.url.strip_prefix("unix://") {
        return Some(format!("nc -w {seconds} -U {}", quoted(path)));
    }
    let peer = leg.peer?;
    let url = Url::parse(&leg.url).ok()?;
    match url.scheme() {
        "http" | "https" => curl(leg, &url, peer, seconds),
        "ws" | "wss" => {
            let mut upgrade = "--http1.1 --header 'Connection: Upgrade' --header 'Upgrade: websocket'".to_owned();
            upgrade.push_str(
                " --header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='",
            );
            let as_http = Url::parse(&leg.url.replacen("ws", "http", 1)).ok()?;
            Some(curl(leg, &as_http, peer, seconds)?.replacen("curl", &format!("curl {upgrade}"), 1))
        }
        "grpc" => Some(grpcurl("-plaintext ", leg, peer, seconds)),
        "grpcs" => Some(grpcurl("", leg, peer, seconds)),
        "icmp" => Some(format!("ping -c 1 -W {seconds} {}", peer.ip())),
        scheme => match scheme.strip_prefix("dns") {
            Some(over) => Some(dig(over, peer, seconds)),
            None if leg.wants_tls => {
                let name = leg.tls_name.as_deref().unwrap_or_default();
                Some(format!("openssl s_client -connect {peer} -servername {}", quoted(name)))
            }
            None => Some(format!("nc -v -w {seconds} {} {}", peer.ip(), peer.port())),
        },
    }
}

fn curl(leg: &Leg, url: &Url, peer: SocketAddr, seconds: u64) -> Option<String> {
    let mut url = url.clone();
    let target = url.host_str()?.to_owned();
    let authority = leg.authority.clone().unwrap_or_default();
    // curl sends in TLS, and verifies, the name in the URL.
    let tls_name = leg.tls_name.as_deref().filter(|_| url.scheme() == "https");
    if let Some(name) = tls_name.filter(|name| name.parse::<IpAddr>().is_err()) {
        url.set_host(Some(name)).ok()?;
    }
    let host = url.host_str()?.to_owned();
    let port = url.port_or_known_default()?;
    let address = match peer.ip() {
        IpAddr::V6(address) => format!("[{address}]"),
        IpAddr::V4(address) => address.to_string(),
    };
    let to = quoted(&format!("{host}:{port}:{address}:{}", peer.port()));
    let method = match leg.method.as_deref() {
        None | Some("GET") => String::new(),
        Some("HEAD") => " --head".to_owned(),
        Some(method) => format!(" --request {}", quoted(method)),
    };
    // --resolve keeps the port of the URL; a hop may listen on another.
    let place = if let Some(proxy) = &leg.proxy {
        format!("--proxy {}", quoted(proxy))
    } else if peer.port() == port {
        format!("--resolve {}", quoted(&format!("{host}:{port}:{address}")))
    } else {
        format!("--connect-to {to}")
    };
    let own_authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let named = if authority.is_empty() || authority == own_authority {
        String::new()
    } else {
        format!(" --header {}", quoted(&format!("Host: {authority}")))
    };
    let shown = if host == target {
        leg.url
            .replacen("wss://", "https://", 1)
            .replacen("ws://", "http://", 1)
    } else {
        url.as_str().replace("?%E2%80%A6", "?…")
    };
    Some(format!(
        "curl --verbose --max-time {seconds} {place}{method}{named} {}",
        quoted(&shown)
    ))
}

fn grpcurl(plain: &str, leg: &Leg, peer: SocketAddr, seconds: u64) -> String {
    let authority = leg.tls_name.as_deref().or(leg.authority.as_deref()).unwrap_or_default();
    format!(
        "grpcurl {plain}-max-time {seconds} -authority {} {peer} grpc.health.v1.Health/Check",
        quoted(authority)
    )
}

fn dig(over: &str, peer: SocketAddr, seconds: u64) -> String {
    let transport = match over {
        "+tcp" => " +tcp",
        "+tls" => " +tls",
        _ => "",
    };
    format!(
        "dig @{} -p {}{transport} +tries=1 +time={seconds}",
        peer.ip(),
        peer.port()
    )
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_[]@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{command, quoted};
    use crate::report::{Leg, Report};
    use std::time::{Duration, SystemTime};

    fn report(url: &str, peer: &str, more: Leg) -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::from_secs(5),
            legs: vec![Leg {
                url: url.to_owned(),
                peer: peer.parse().ok(),
                ..more
            }],
            fault: None,
        }
    }

    #[test]
    fn the_command_dials_what_was_dialled_and_asks_as_was_asked() {
        let named = |authority: &str, tls_name: Option<&str>| Leg {
            authority: Some(authority.to_owned()),
            tls_name: tls_name.map(str::to_owned),
            ..Leg::default()
        };
        for (url, peer, leg, line) in [
            (
                "https://shop.example/a",
                "192.0.2.7:443",
                named("shop.example", Some("shop.example")),
                "curl --verbose --max-time 5 --resolve shop.example:443:192.0.2.7 https://shop.example/a",
            ),
            (
                "http://shop.example/a?…",
                "[2001:db8::7]:8080",
                named("shop.example", None),
                "curl --verbose --max-time 5 --connect-to shop.example:80:[2001:db8::7]:8080 'http://shop.example/a?…'",
            ),
            (
                "http://192.0.2.7:8080/",
                "192.0.2.7:8080",
                named("shop.example", None),
                "curl --verbose --max-time 5 --resolve 192.0.2.7:8080:192.0.2.7 --header 'Host: shop.example' http://192.0.2.7:8080/",
            ),
            (
                "https://192.0.2.7/?…",
                "192.0.2.7:443",
                named("shop.example", Some("shop.example")),
                "curl --verbose --max-time 5 --resolve shop.example:443:192.0.2.7 'https://shop.example/?…'",
            ),
            (
                "tcp://mail.example:25",
                "192.0.2.7:25",
                Leg::default(),
                "nc -v -w 5 192.0.2.7 25",
            ),
            (
                "dns+tcp://ns.example:53",
                "192.0.2.7:53",
                Leg::default(),
                "dig @192.0.2.7 -p 53 +tcp +tries=1 +time=5",
            ),
            (
                "icmp://a.example",
                "192.0.2.7:0",
                Leg::default(),
                "ping -c 1 -W 5 192.0.2.7",
            ),
            ("unix:///run/a b.sock", "", Leg::default(), "nc -w 5 -U '/run/a b.sock'"),
        ] {
            assert_eq!(command(&report(url, peer, leg)).as_deref(), Some(line));
        }
        assert_eq!(command(&report("http://a/cut…", "192.0.2.7:80", Leg::default())), None);
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
    }
}
