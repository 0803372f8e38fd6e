//! The command that repeats an exchange by hand.

use crate::report::Report;
use url::Url;

/// `curl` with the address that was dialled; `None` where nothing was. What is secret is not in it: a hidden query shows
/// as `?…`.
pub(super) fn curl(report: &Report) -> Option<String> {
    let leg = report.last_leg()?;
    let peer = leg.peer?;
    let url = Url::parse(&leg.url).ok()?;
    let host = url.host_str()?;
    let port = url.port_or_known_default()?;
    let address = match peer.ip() {
        std::net::IpAddr::V6(address) => format!("[{address}]"),
        std::net::IpAddr::V4(address) => address.to_string(),
    };
    let to = quoted(&format!("{host}:{port}:{address}:{}", peer.port()));
    let method = match leg.method.as_deref() {
        None | Some("GET") => String::new(),
        Some("HEAD") => " --head".to_owned(),
        Some(method) => format!(" --request {}", quoted(method)),
    };
    // --resolve keeps the port of the URL; a hop may listen on another.
    let place = if peer.port() == port {
        format!("--resolve {}", quoted(&format!("{host}:{port}:{address}")))
    } else {
        format!("--connect-to {to}")
    };
    Some(format!(
        "curl --verbose --max-time {} {place}{method} {}",
        report.timeout.as_secs().max(1),
        quoted(&leg.url)
    ))
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_[]@%".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{curl, quoted};
    use crate::report::{Leg, Report};
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_command_dials_what_was_dialled() {
        let report = |url: &str, peer: &str| Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::from_secs(5),
            legs: vec![Leg {
                url: url.to_owned(),
                peer: Some(peer.parse().unwrap()),
                ..Leg::default()
            }],
            fault: None,
        };
        assert_eq!(
            curl(&report("https://shop.example/a", "192.0.2.7:443")).unwrap(),
            "curl --verbose --max-time 5 --resolve shop.example:443:192.0.2.7 https://shop.example/a"
        );
        assert_eq!(
            curl(&report("http://shop.example/a?…", "[2001:db8::7]:8080")).unwrap(),
            "curl --verbose --max-time 5 --connect-to shop.example:80:[2001:db8::7]:8080 'http://shop.example/a?…'"
        );
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
    }
}
