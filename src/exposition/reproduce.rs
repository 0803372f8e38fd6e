//! Writes the shell command (`curl`, `grpcurl`, `dig`) that reproduces an exchange.

use glassbox_probe::secret::MASK;
use glassbox_probe::target::HttpUrl;
use glassbox_verdict::host_port::{Host, HostPort};
use glassbox_verdict::report::{Exchange, Report};
use std::net::SocketAddr;

/// The command with the dialled address. `None` if no address was dialled. Secrets are omitted: a hidden query is shown
/// as `?…`, and the module's header fields and body are left out.
pub(super) fn command(report: &Report) -> Option<String> {
    let exchange = report.last_exchange()?;
    // A truncated or secret URL cannot be requested.
    if (exchange.url.ends_with('…') && !exchange.url.ends_with("?…")) || exchange.url.contains(MASK) {
        return None;
    }
    let seconds = report.timeout.as_secs().max(1);
    if let Some(path) = exchange.url.strip_prefix("unix://") {
        return Some(format!("nc -w {seconds} -U {}", quoted(path)));
    }
    let peer = exchange.peer?;
    let (scheme, _) = exchange.url.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => curl(exchange, peer, seconds),
        "ws" | "wss" => {
            let mut upgrade = "--http1.1 --header 'Connection: Upgrade' --header 'Upgrade: websocket'".to_owned();
            upgrade.push_str(
                " --header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='",
            );
            Some(curl(exchange, peer, seconds)?.replacen("curl", &format!("curl {upgrade}"), 1))
        }
        "grpc" => Some(grpcurl("-plaintext ", exchange, peer, seconds)),
        "grpcs" => Some(grpcurl("", exchange, peer, seconds)),
        "icmp" => Some(format!("ping -c 1 -W {seconds} {}", peer.ip())),
        scheme => match scheme.strip_prefix("dns") {
            Some(over) => Some(dig(over, peer, seconds)),
            None if exchange.wants_tls => {
                let name = exchange.tls_name.as_deref().unwrap_or_default();
                Some(format!("openssl s_client -connect {peer} -servername {}", quoted(name)))
            }
            None => Some(format!("nc -v -w {seconds} {} {}", peer.ip(), peer.port())),
        },
    }
}

fn curl(exchange: &Exchange, peer: SocketAddr, seconds: u64) -> Option<String> {
    let url = HttpUrl::parse(&exchange.url).ok()?;
    let authority = exchange.authority.clone().unwrap_or_default();
    // curl uses the host name in the URL for SNI and certificate verification.
    let is_secure = url.scheme().is_secure();
    let tls_name = exchange.tls_name.as_deref().filter(|_| is_secure);
    let tls_name = tls_name.filter(|name| Host::new(name).address().is_none());
    let asked = HostPort::new(tls_name.unwrap_or_else(|| url.host().as_str()), url.port());
    let dialled = HostPort::new(&peer.ip().to_string(), peer.port());
    let method = match exchange.method.as_deref() {
        None | Some("GET") => String::new(),
        Some("HEAD") => " --head".to_owned(),
        Some(method) => format!(" --request {}", quoted(method)),
    };
    // --resolve keeps the port of the URL; a backend may listen on another.
    let place = if let Some(proxy) = &exchange.proxy {
        format!("--proxy {}", quoted(proxy))
    } else if dialled.port() == asked.port() {
        format!("--resolve {}", quoted(&format!("{asked}:{}", dialled.host())))
    } else {
        format!("--connect-to {}", quoted(&format!("{asked}:{dialled}")))
    };
    let place_in_url = match url.written_port() {
        Some(_) => asked.to_string(),
        None => asked.host().to_string(),
    };
    let named = if authority.is_empty() || authority.eq_ignore_ascii_case(&place_in_url) {
        String::new()
    } else {
        format!(" --header {}", quoted(&format!("Host: {authority}")))
    };
    // curl changes text that looks like a relative path or a pattern.
    let path = if url.path().is_empty() { "/" } else { url.path() };
    let as_written = [
        (path.contains("/."), " --path-as-is"),
        (path.contains(['[', ']', '{', '}']), " --globoff"),
    ];
    let as_written: String = as_written
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, flag)| *flag)
        .collect();
    let scheme = if is_secure { "https" } else { "http" };
    let hidden = if url.query().is_some() { "?…" } else { "" };
    Some(format!(
        "curl --verbose --max-time {seconds} {place}{method}{named}{as_written} {}",
        quoted(&format!("{scheme}://{place_in_url}{path}{hidden}"))
    ))
}

fn grpcurl(plain: &str, exchange: &Exchange, peer: SocketAddr, seconds: u64) -> String {
    let authority = exchange
        .tls_name
        .as_deref()
        .or(exchange.authority.as_deref())
        .unwrap_or_default();
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

/// Quotes text as one shell word.
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
    use glassbox_verdict::report::{Exchange, Report};
    use std::time::{Duration, SystemTime};

    fn report(url: &str, peer: &str, more: Exchange) -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::from_secs(5),
            exchanges: vec![Exchange {
                url: url.to_owned(),
                peer: peer.parse().ok(),
                ..more
            }],
            fault: None,
        }
    }

    #[test]
    fn the_command_asks_for_what_was_written() {
        let named = |authority: &str| Exchange {
            authority: Some(authority.to_owned()),
            ..Exchange::default()
        };
        for (url, peer, exchange, line) in [
            (
                "http://shop.example/static/../[x]",
                "192.0.2.7:80",
                named("shop.example"),
                "curl --verbose --max-time 5 --resolve shop.example:80:192.0.2.7 --path-as-is --globoff \
                 http://shop.example/static/../[x]",
            ),
            (
                "http://bücher.example/",
                "192.0.2.7:80",
                named("xn--bcher-kva.example"),
                "curl --verbose --max-time 5 --resolve xn--bcher-kva.example:80:192.0.2.7 http://xn--bcher-kva.example/",
            ),
            (
                "http://[2001:db8::7]:8080/",
                "[2001:db8::8]:8080",
                named("[2001:db8::7]:8080"),
                "curl --verbose --max-time 5 --resolve [2001:db8::7]:8080:[2001:db8::8] http://[2001:db8::7]:8080/",
            ),
        ] {
            assert_eq!(command(&report(url, peer, exchange)).as_deref(), Some(line));
        }
    }

    #[test]
    fn the_command_dials_what_was_dialled_and_asks_as_was_asked() {
        let named = |authority: &str, tls_name: Option<&str>| Exchange {
            authority: Some(authority.to_owned()),
            tls_name: tls_name.map(str::to_owned),
            ..Exchange::default()
        };
        for (url, peer, exchange, line) in [
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
                Exchange::default(),
                "nc -v -w 5 192.0.2.7 25",
            ),
            (
                "dns+tcp://ns.example:53",
                "192.0.2.7:53",
                Exchange::default(),
                "dig @192.0.2.7 -p 53 +tcp +tries=1 +time=5",
            ),
            (
                "icmp://a.example",
                "192.0.2.7:0",
                Exchange::default(),
                "ping -c 1 -W 5 192.0.2.7",
            ),
            (
                "unix:///run/a b.sock",
                "",
                Exchange::default(),
                "nc -w 5 -U '/run/a b.sock'",
            ),
        ] {
            assert_eq!(command(&report(url, peer, exchange)).as_deref(), Some(line));
        }
        let cut = report("http://a/cut…", "192.0.2.7:80", Exchange::default());
        assert_eq!(command(&cut), None);
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
    }
}
