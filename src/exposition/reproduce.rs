//! Writes the shell command (`curl`, `grpcurl`, `dig`) that reproduces an exchange.

use glassbox_probe::check::TlsVersion;
use glassbox_probe::probe::Finding;
use glassbox_probe::probers::{BodyOption, ClientOptions, TlsOptions};
use glassbox_probe::secret::MASK;
use glassbox_probe::target::HttpUrl;
use glassbox_verdict::host_port::{Host, HostPort};
use glassbox_verdict::investigation::DirectRequest;
use glassbox_verdict::report::{Exchange, Report};
use std::net::SocketAddr;

/// The command for the request to the target.
pub(super) fn of_target(finding: &Finding) -> Option<String> {
    command(&finding.report, finding.module.prober.client_options())
}

/// The command for a direct request.
pub(super) fn of_backend(finding: &Finding, direct: &DirectRequest) -> Option<String> {
    command(&direct.report, finding.module.prober.client_options())
}

/// What to do before running the command for the request to the target, if the request had secrets.
pub(super) fn note(finding: &Finding) -> Option<String> {
    let options = sent(finding.report.last_exchange()?, finding.module.prober.client_options());
    let variables = variables(&options);
    let listed = variables.join(", ");
    (!variables.is_empty()).then(|| format!("Set these variables to the values in the module first: {listed}"))
}

/// The options that the request had. The module's fields and its body are not sent to every machine.
fn sent(exchange: &Exchange, mut options: ClientOptions) -> ClientOptions {
    if !exchange.parts.module_fields {
        options.headers.clear();
    }
    if !exchange.parts.body {
        options.body = BodyOption::None;
    }
    options
}

/// The command with the dialled address, and with the module's options. `None` if no address was dialled. Secrets are
/// shell variables, and a hidden query is shown as `?…`.
fn command(report: &Report, options: ClientOptions) -> Option<String> {
    let exchange = report.last_exchange()?;
    let options = &sent(exchange, options);
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
        "http" | "https" => curl(exchange, peer, seconds, options),
        "ws" | "wss" => {
            let mut upgrade = "--http1.1 --header 'Connection: Upgrade' --header 'Upgrade: websocket'".to_owned();
            upgrade.push_str(
                " --header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='",
            );
            Some(curl(exchange, peer, seconds, options)?.replacen("curl", &format!("curl {upgrade}"), 1))
        }
        "grpc" => Some(grpcurl("-plaintext ", exchange, peer, seconds)),
        "grpcs" => Some(grpcurl(&grpcurl_tls(options), exchange, peer, seconds)),
        "icmp" => Some(format!("ping -c 1 -W {seconds} {}", peer.ip())),
        scheme => match scheme.strip_prefix("dns") {
            Some(over) => Some(dig(over, peer, seconds)),
            None if exchange.wants_tls => Some(openssl(exchange, peer, options)),
            None => Some(format!("nc -v -w {seconds} {} {}", peer.ip(), peer.port())),
        },
    }
}

/// The shell variables of a command: the names of the header fields that they stand for, and whether it needs the body.
fn variables(options: &ClientOptions) -> Vec<String> {
    let mut variables: Vec<String> = options.headers.iter().map(|name| variable(name)).collect();
    if options.body == BodyOption::Configured {
        variables.push("BODY".to_owned());
    }
    variables
}

fn variable(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

fn curl(exchange: &Exchange, peer: SocketAddr, seconds: u64, options: &ClientOptions) -> Option<String> {
    let url = HttpUrl::parse(&exchange.url).ok()?;
    let authority = exchange.authority.clone().unwrap_or_default();
    // curl uses the host name in the URL for SNI and certificate verification.
    let is_secure = url.scheme().is_secure();
    let tls_name = exchange.tls_name.as_deref().filter(|_| is_secure);
    let tls_name = tls_name.filter(|name| Host::new(name).address().is_none());
    let asked = HostPort::new(tls_name.unwrap_or_else(|| url.host().as_str()), url.port());
    let dialled = HostPort::new(&peer.ip().to_string(), peer.port());
    let method = match exchange.method.as_deref() {
        None => String::new(),
        Some("GET") if options.body == BodyOption::None => String::new(),
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
    let tls = options
        .tls
        .as_ref()
        .filter(|_| is_secure)
        .map(curl_tls)
        .unwrap_or_default();
    let proxy_tls = options.tls.as_ref().filter(|_| has_https_proxy(exchange));
    let proxy_tls = proxy_tls.map(curl_proxy_tls).unwrap_or_default();
    let request = curl_request(exchange, options, is_secure);
    Some(format!(
        "curl --verbose --max-time {seconds} {place}{proxy_tls}{tls}{method}{named}{request}{as_written} {}",
        quoted(&format!("{scheme}://{place_in_url}{path}{hidden}"))
    ))
}

/// The options of the module's TLS settings.
fn curl_tls(tls: &TlsOptions) -> String {
    let mut words = file_options(tls, ["--cacert", "--cert", "--key"]);
    if tls.skip_verify {
        words.push("--insecure".to_owned());
    }
    if tls.min_version != TlsVersion::Tls12 {
        words.push(format!("--tlsv{}", version(tls.min_version)));
    }
    if tls.max_version != TlsVersion::Tls13 {
        words.push(format!("--tls-max {}", version(tls.max_version)));
    }
    after_spaces(&words)
}

fn has_https_proxy(exchange: &Exchange) -> bool {
    exchange
        .proxy
        .as_ref()
        .is_some_and(|proxy| proxy.starts_with("https://"))
}

/// The same settings apply to the connection to a proxy.
fn curl_proxy_tls(tls: &TlsOptions) -> String {
    let mut words = file_options(tls, ["--proxy-cacert", "--proxy-cert", "--proxy-key"]);
    words.extend(tls.skip_verify.then(|| "--proxy-insecure".to_owned()));
    after_spaces(&words)
}

/// The files with the authorities, the client certificate and its key, each after its option.
fn file_options(tls: &TlsOptions, options: [&str; 3]) -> Vec<String> {
    let files = [&tls.files.ca, &tls.files.cert, &tls.files.key];
    let named = options.into_iter().zip(files);
    let named = named.filter_map(|(option, file)| Some(format!("{option} {}", quoted(file.as_ref()?))));
    named.collect()
}

/// The words, each after a space.
fn after_spaces(words: &[String]) -> String {
    words.iter().flat_map(|word| [" ", word.as_str()]).collect()
}

const fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "1.0",
        TlsVersion::Tls11 => "1.1",
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    }
}

/// The HTTP version, the module's header fields and the body.
fn curl_request(exchange: &Exchange, options: &ClientOptions, is_secure: bool) -> String {
    let mut words = Vec::new();
    let is_quic = exchange
        .tls
        .as_ref()
        .is_some_and(|tls| tls.alpn.as_deref() == Some("h3"));
    if is_quic {
        words.push("--http3-only".to_owned());
    } else if options.is_http1_only && is_secure {
        words.push("--http1.1".to_owned());
    }
    if options.decodes {
        // curl would send a field that the probe does not send.
        let is_set = options.headers.iter().any(|name| name == "accept-encoding");
        let unset = if is_set { "" } else { " --header Accept-Encoding:" };
        words.push(format!("--compressed{unset}"));
    }
    words.extend(
        options
            .headers
            .iter()
            .map(|name| format!("--header \"{name}: ${}\"", variable(name))),
    );
    match &options.body {
        BodyOption::None => {}
        BodyOption::Configured => words.push("--data-raw \"$BODY\"".to_owned()),
        BodyOption::File(file) => words.push(format!("--data-binary {}", quoted(&format!("@{file}")))),
    }
    after_spaces(&words)
}

fn openssl(exchange: &Exchange, peer: SocketAddr, options: &ClientOptions) -> String {
    let name = quoted(exchange.tls_name.as_deref().unwrap_or_default());
    let mut words = Vec::new();
    if let Some(tls) = &options.tls {
        if !tls.skip_verify {
            words.push(format!("-verify_return_error -verify_hostname {name}"));
        }
        words.extend(file_options(tls, ["-CAfile", "-cert", "-key"]));
    }
    format!(
        "openssl s_client -connect {peer} -servername {name}{}",
        after_spaces(&words)
    )
}

/// The options of the module's TLS settings, each before a space.
fn grpcurl_tls(options: &ClientOptions) -> String {
    let Some(tls) = &options.tls else {
        return String::new();
    };
    let mut words = file_options(tls, ["-cacert", "-cert", "-key"]);
    words.extend(tls.skip_verify.then(|| "-insecure".to_owned()));
    words.iter().flat_map(|word| [word.as_str(), " "]).collect()
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
    use super::{ClientOptions, command, quoted};
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
            assert_eq!(
                command(&report(url, peer, exchange), ClientOptions::default()).as_deref(),
                Some(line)
            );
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
            assert_eq!(
                command(&report(url, peer, exchange), ClientOptions::default()).as_deref(),
                Some(line)
            );
        }
    }

    #[test]
    fn a_truncated_url_has_no_command() {
        let cut = report("http://a/cut…", "192.0.2.7:80", Exchange::default());
        assert_eq!(command(&cut, ClientOptions::default()), None);
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
    }
}
