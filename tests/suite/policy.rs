//! Allowed targets: the policy checks the address of every connection, however the target is given.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::peer::{Peer, ok, read_head};
use glassbox_probe::policy::metadata_services;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

/// Every prober that connects to an address, over each of its transports.
const MODULES: &str = "modules:
  http: {prober: http, timeout: 1s, http: {ip_protocol_fallback: true}}
  http3: {prober: http, timeout: 100ms, http: {enable_http3: true, enable_http2: false}}
  tcp: {prober: tcp, timeout: 1s}
  dns_udp: {prober: dns, timeout: 1s, dns: {query_name: a.test}}
  dns_tcp: {prober: dns, timeout: 1s, dns: {query_name: a.test, transport_protocol: tcp}}
  icmp: {prober: icmp, timeout: 1s}
  grpc: {prober: grpc, timeout: 1s, grpc: {}}
  websocket: {prober: websocket, timeout: 1s}
";

/// Traffic of an exporter during some probes.
struct Sent {
    /// Connection attempts, datagrams and echo requests.
    packets: i64,
    /// Probes that the policy denied, and all others.
    denied: usize,
    others: usize,
}

/// Runs probes in a network namespace in which every address is local. Requires root.
fn sent(config: &str, targets: &[(&str, String)]) -> Sent {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), config).unwrap();
    let url = |(module, target): &(&str, String)| {
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        format!("url = \"http://127.0.0.1:9115/probe?module={module}&target={target}\"\n")
    };
    let urls: Vec<_> = targets.iter().map(url).collect();
    std::fs::write(folder.path().join("urls"), urls.concat()).unwrap();
    let script = r#"
        ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo || exit 9
        "$1" --web.listen-address=127.0.0.1:9115 --config.file=glassbox.yml 2>log &
        until curl --silent --fail http://127.0.0.1:9115/-/ready >ready; do kill -0 $! || { cat log; exit 8; }; done
        count() {
            awk '/^(Tcp|Udp|Icmp):/ && $2 ~ /^-?[0-9]/ { sum += ($1 == "Tcp:" ? $6 : $1 == "Udp:" ? $5 : $16) }
                 /^(Udp6OutDatagrams|Icmp6OutEchos)/ { sum += $2 } END { print "count", sum }' /proc/net/snmp /proc/net/snmp6
        }
        count
        curl --silent --config urls || exit 7
        count
        kill $!"#;
    let output = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_glassbox_exporter"),
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{:?} {said}", output.status);
    let counts: Vec<i64> = said
        .lines()
        .filter_map(|line| line.strip_prefix("count ")?.parse().ok())
        .collect();
    let lines = |part: &str| said.lines().filter(|line| line.starts_with(part)).count();
    let denied = said.matches("reason=\"local.denied\"").count();
    Sent {
        // One connection is the one to the exporter.
        packets: counts[1] - counts[0] - 1,
        denied,
        others: lines("probe_success ") - denied,
    }
}

/// A target for each prober.
fn each_prober(address: &str) -> Vec<(&'static str, String)> {
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    [
        ("http", format!("http://{host}/latest/meta-data/")),
        ("http3", format!("https://{host}/")),
        ("tcp", format!("{host}:80")),
        ("dns_udp", format!("{host}:5353")),
        ("dns_tcp", format!("{host}:5353")),
        ("icmp", address.to_owned()),
        ("grpc", format!("{host}:80")),
        ("websocket", format!("ws://{host}/")),
    ]
    .to_vec()
}

/// Addresses of metadata services, and IPv6 addresses that map to one.
fn metadata() -> Vec<String> {
    let embedding = [
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ];
    services().chain(embedding.map(str::to_owned)).collect()
}

fn services() -> impl Iterator<Item = String> {
    let addresses = metadata_services().flat_map(|(_, addresses, _)| {
        let addresses = addresses.split(", ").map(str::to_owned);
        addresses.collect::<Vec<_>>()
    });
    addresses.collect::<BTreeSet<_>>().into_iter()
}

/// Notations that browsers and other programs accept for 169.254.169.254. They are denied even if the exporter reads
/// them as a name.
const SPELLINGS: [&str; 18] = [
    "2852039166",
    "0xa9fea9fe",
    "0xA9FEA9FE",
    "025177524776",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.",
    "2852039166.",
    "１６９.254.169。254",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "user:secret@169.254.169.254",
    "127.0.0.1@169.254.169.254",
    "169.254.169.254#@127.0.0.1",
    "169.254.169.254?@127.0.0.1",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:FFFF:169.254.169.254]",
];

/// Notations that some programs accept for that address, but that are not valid URLs.
const NO_URLS: [&str; 8] = [
    "http://%31%36%39.254.169.254/",
    "http://169.254.169%2e254/",
    "http://127.0.0.1\\@169.254.169.254/",
    "http://169.254.169.254\\@127.0.0.1/",
    "http:\\\\169.254.169.254/",
    "http:///169.254.169.254/",
    "http://[169.254.169.254]/",
    "http://[::ffff:169.254.169.254/",
];

#[test]
fn no_packet_goes_to_a_metadata_service_in_any_notation() {
    let mut targets: Vec<_> = metadata().iter().flat_map(|address| each_prober(address)).collect();
    targets.extend(SPELLINGS.map(|host| ("http", format!("http://{host}/"))));
    for host in ["2852039166", "0xa9fea9fe", "169.254.43518", "169.254.169.254."] {
        let others = [
            ("tcp", format!("{host}:80")),
            ("icmp", host.to_owned()),
            ("grpc", format!("{host}:80")),
        ];
        targets.extend(others);
        targets.extend([("websocket", format!("ws://{host}/")), ("dns_udp", host.to_owned())]);
    }
    let all = targets.len();
    targets.extend(NO_URLS.map(|url| ("http", url.to_owned())));
    let sent = sent(MODULES, &targets);
    assert_eq!((sent.packets, sent.denied, sent.others), (0, all, NO_URLS.len()));
}

/// Name servers of cloud providers. Some have the address of a metadata service.
const NAME_SERVERS: [&str; 4] = ["169.254.169.254", "168.63.129.16", "169.254.169.253", "100.100.2.136"];

/// These addresses are allowed for plain DNS queries at port 53 only.
#[test]
fn name_servers_at_metadata_addresses_get_dns_queries_only() {
    let asked = |module, port| NAME_SERVERS.map(|address| (module, format!("{address}{port}")));
    let targets = [asked("dns_udp", ""), asked("dns_udp", ":53"), asked("dns_tcp", "")].concat();
    let sent_to_servers = sent(MODULES, &targets);
    assert_eq!((sent_to_servers.denied, sent_to_servers.others), (0, targets.len()));
    assert!(sent_to_servers.packets >= i64::try_from(targets.len()).unwrap());
    let modules = format!(
        "{MODULES}  dot: {{prober: dns, timeout: 1s, dns: {{query_name: a.test, transport_protocol: tcp, dns_over_tls: true}}}}\n"
    );
    let others: Vec<_> = services()
        .filter(|address| !address.contains(':'))
        .flat_map(|address| {
            [
                ("tcp", format!("{address}:53")),
                ("http", format!("http://{address}:53/dns:/")),
                ("grpc", format!("{address}:53")),
                ("websocket", format!("ws://{address}:53/")),
                ("dot", format!("{address}:53")),
                ("dns_udp", format!("{address}:80")),
            ]
        })
        .collect();
    let sent = sent(&modules, &others);
    assert_eq!((sent.packets, sent.denied, sent.others), (0, others.len(), 0));
}

/// Special-purpose addresses that are not assigned on the internet.
const SPECIAL: &str = "
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.1.2.3 169.254.1.1 172.16.0.1 172.31.255.255 192.0.0.1
    192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1
    255.255.255.255 :: ::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1::1 2001:db8::1 2001::1 2001:10::1
    3fff::1 fc00::1 fd12::1 fe80::1 ff02::1 5f00::1 100::1 ::10.0.0.1
";

const PUBLIC: &str = "
    1.1.1.1 8.8.8.8 9.9.9.9 100.63.255.255 100.128.0.1 126.0.0.1 128.0.0.1 169.253.0.1 172.15.255.255
    172.32.0.1 192.0.0.9 192.0.1.1 192.167.1.1 192.169.1.1 198.17.255.255 198.20.0.1 203.0.112.1 203.0.114.1
    223.255.255.255 2606:4700::1111 2a00:1450::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2001:4860:4860::8888 2400::1
";

#[test]
fn a_strict_policy_sends_to_public_addresses_only() {
    let denied: Vec<_> = SPECIAL
        .split_whitespace()
        .map(str::to_owned)
        .chain(metadata())
        .flat_map(|address| each_prober(&address))
        .collect();
    let strict = format!("policy: strict\n{MODULES}");
    let sent_to_denied = sent(&strict, &denied);
    assert_eq!(
        (sent_to_denied.packets, sent_to_denied.denied, sent_to_denied.others),
        (0, denied.len(), 0)
    );
    // Addresses that the configuration allows.
    let listed = ["10.20.1.1", "fd12::1"];
    let allowed: Vec<_> = PUBLIC
        .split_whitespace()
        .chain(listed)
        .map(|address| ("tcp", each_prober(address)[2].1.clone()))
        .collect();
    let lists = format!("policy: {{mode: strict, networks: {{allow: [10.20.0.0/16, 'fd12::1']}}}}\n{MODULES}");
    let sent = sent(&lists, &allowed);
    assert_eq!((sent.denied, sent.others), (0, allowed.len()));
    assert_eq!(
        sent.packets,
        i64::try_from(allowed.len()).unwrap(),
        "expected one connection to each address"
    );
}

fn denied(page: &Page) -> bool {
    let mut infos = page.starting("probe_failure_info{");
    infos.any(|(info, _)| info.contains("reason=\"local.denied\"") && info.contains("link=\"local\""))
}

/// A server at another address of loopback.
async fn peer_at(address: &str) -> (Arc<AtomicUsize>, u16) {
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(ok(stream));
        }
    });
    (taken, port)
}

#[tokio::test]
async fn dns_rebinding_does_not_bypass_the_policy() {
    let (inner, port) = peer_at("127.0.0.2").await;
    let asked = AtomicUsize::new(0);
    let dns = DnsServer::start(move |_, _| {
        let last = if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            1
        } else {
            2
        };
        Says::Addresses(vec![IpAddr::from([127, 0, 0, last])])
    })
    .await;
    let config = format!(
        "policy: {{networks: {{deny: [127.0.0.2]}}}}\nmodules:\n  m:\n    prober: tcp\n    timeout: 2s\n    {}\n    tcp: \
         {{preferred_ip_protocol: ip4, ip_protocol_fallback: false}}\n",
        dns.as_key()
    );
    let exporter = Exporter::start(&config).await;
    let (mut stopped, probes) = (0, 1000);
    for _ in 0..probes {
        let page = exporter
            .get(&format!("/probe?module=m&target=rebind.test:{port}"))
            .await;
        stopped += usize::from(denied(&Page::parse(&page.text().await.unwrap())));
    }
    assert_eq!(inner.load(Ordering::SeqCst), 0);
    assert_eq!(stopped, probes / 2, "every second DNS response has an internal address");
    let counted = exporter.own("glassbox_denied_targets_total{rule=\"networks\"}").await;
    assert_eq!(counted, 500.0);
}

#[tokio::test]
async fn the_policy_applies_to_redirects_backends_proxies_and_token_servers() {
    let (inner, port) = peer_at("127.0.0.2").await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{port}/\r\nContent-Length: 0\r\n\r\n");
    let redirecting = Peer::answering(answer).await;
    let failing = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let secured = format!(
        "policy: {{networks: {{deny: [127.0.0.2]}}}}\ncontrols:\n  - address: 127.0.0.2:{port}\nmodules:\n  \
         m: {{prober: http, timeout: 5s}}\n  \
         backend: {{prober: http, timeout: 5s, backends: [{{name: inner, address: '127.0.0.2:{port}'}}]}}\n  \
         proxied: {{prober: http, timeout: 5s, http: {{proxy_url: 'http://127.0.0.2:{port}'}}}}\n  \
         token: {{prober: http, timeout: 5s, http: {{oauth2: {{client_id: a, client_secret: b, token_url: 'http://127.0.0.2:{port}/'}}}}}}\n"
    );
    let exporter = Exporter::start(&secured).await;
    let failing_at = failing.http();
    for (module, target, more) in [
        ("m", redirecting.http(), ""),
        ("backend", failing.http(), ""),
        ("m", failing_at.clone(), &*format!("&backend=inner@127.0.0.2:{port}")),
        ("proxied", "http://192.0.2.1/".to_owned(), ""),
        ("token", failing.http(), ""),
    ] {
        let probed = exporter.probe_for(module, &target, more).await;
        assert_eq!(probed.page.value("probe_success"), 0.0);
        let is_denied = denied(&probed.page);
        assert_eq!(
            is_denied,
            target != failing_at || module == "token",
            "{module} {:#}",
            probed.evidence
        );
    }
    assert_eq!(inner.load(Ordering::SeqCst), 0);
    assert!(exporter.own("glassbox_denied_targets_total{rule=\"networks\"}").await >= 6.0);
}

/// No notation of a denied address gets through as a redirect, backend, virtual host, or target of a proxy that
/// resolves names.
#[tokio::test]
async fn no_notation_of_a_denied_address_is_accepted_elsewhere() {
    let dns = DnsServer::always(Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])])).await;
    let proxy = Peer::start(ok).await;
    let failing = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let config = format!(
        "modules:\n  m:\n    prober: http\n    timeout: 2s\n    {0}\n  proxied:\n    prober: http\n    timeout: 2s\n    {0}\n    \
         http: {{proxy_url: 'http://{1}', skip_resolve_phase_with_proxy: true, no_proxy: '127.0.0.2'}}\n",
        dns.as_key(),
        proxy.address,
    );
    let exporter = Exporter::start(&config).await;
    for host in SPELLINGS {
        // The user is sent in a header field, and the fragment is not sent.
        let bare = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let is_bare = bare == host;
        let location = format!("HTTP/1.1 302 Found\r\nLocation: http://{host}/\r\nContent-Length: 0\r\n\r\n");
        let redirecting = Peer::answering(location).await;
        let probed = exporter.probe("m", &redirecting.http()).await;
        assert!(denied(&probed.page), "{host} {:#}", probed.evidence["verdict"]);
        let probed = exporter.probe("proxied", &format!("http://{host}/")).await;
        assert!(denied(&probed.page), "{host} {:#}", probed.evidence["verdict"]);
        if is_bare && host.is_ascii() && !host.contains(['[', '?', '#']) {
            let backend = format!("&backend=inner@{host}:80");
            let probed = exporter.probe_for("m", &failing.http(), &backend).await;
            let asked = probed.evidence.to_string();
            assert!(!asked.contains("\"peer\":\"169.254"), "{host} {:#}", probed.evidence);
        }
    }
    assert_eq!(proxy.connections(), 0);
    // A virtual host is not an address: the proxy still gets the target.
    let probed = exporter
        .probe_for("proxied", "http://shop.test/", "&hostname=169.254.169.254")
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn an_exporter_does_not_probe_itself_by_any_name() {
    let dns = DnsServer::always(Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])])).await;
    let modules = format!(
        "modules:\n  m:\n    prober: http\n    timeout: 5s\n    {}\n",
        dns.as_key()
    );
    let exporter = Exporter::start(&modules).await;
    let port = exporter.address.port();
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n");
    let redirecting = Peer::answering(answer).await;
    for target in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://myself.test:{port}/"),
        redirecting.http(),
    ] {
        let probed = exporter.probe("m", &target).await;
        assert!(denied(&probed.page), "{target} {:#}", probed.evidence["verdict"]);
        let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
        assert!(sentence.contains("the exporter may probe only"), "{sentence}");
    }
    // A different port belongs to a different program.
    let neighbour = Peer::start(ok).await;
    assert_eq!(
        exporter.probe("m", &neighbour.http()).await.page.value("probe_success"),
        1.0
    );
    let open = Exporter::start(&format!("policy: open\n{modules}")).await;
    let itself = format!("http://127.0.0.1:{}/", open.address.port());
    assert_eq!(open.probe("m", &itself).await.page.value("probe_success"), 1.0);
}

/// The exporter may probe its own pages that start no probes, because new users often try this first.
#[tokio::test]
async fn an_exporter_may_probe_its_pages_that_start_no_probe() {
    let modules = "modules:\n  http: {prober: http, timeout: 5s}\n  tcp: {prober: tcp, timeout: 5s}\n  \
                   says: {prober: tcp, timeout: 5s, tcp: {query_response: [{send: 'GET /probe HTTP/1.0'}]}}\n";
    let exporter = Exporter::start(modules).await;
    let at = format!("127.0.0.1:{}", exporter.address.port());
    let page = |path: &str| format!("http://{at}{path}");
    let redirect = |path: &str| {
        let place = page(path);
        Peer::answering(format!(
            "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let (to_healthy, to_probe) = (redirect("/-/healthy").await, redirect("/probe?target=x").await);
    for (module, target, is_denied) in [
        ("http", page("/-/healthy"), false),
        ("http", page("/-/ready"), false),
        ("http", page("/metrics"), false),
        ("http", page("/metrics?name=a"), false),
        ("tcp", at.clone(), false),
        ("http", to_healthy.http(), false),
        ("http", page("/probe?target=http://127.0.0.1/metrics"), true),
        ("http", page("/probe?target=x&a=/-/healthy"), true),
        ("http", page("/probe#/metrics"), true),
        ("http", page("/metrics/../probe?target=x"), true),
        ("http", page("/logs"), true),
        ("http", to_probe.http(), true),
        ("says", at.clone(), true),
    ] {
        let probed = exporter.probe(module, &target).await;
        let verdict = &probed.evidence["verdict"];
        assert_eq!(denied(&probed.page), is_denied, "{module} {target} {verdict:#}");
        assert_eq!(
            probed.page.value("probe_success"),
            f64::from(u8::from(!is_denied)),
            "{module} {target} {verdict:#}"
        );
    }
    // A deny list for the address still applies.
    let exporter = Exporter::start(&format!("policy: {{networks: {{deny: [127.0.0.0/8]}}}}\n{modules}")).await;
    assert!(denied(&exporter.probe("http", &exporter.url("/-/healthy")).await.page));
}

#[tokio::test]
async fn only_listed_ports_and_paths_are_allowed() {
    let (peer, other) = (Peer::start(ok).await, Peer::start(ok).await);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let _app = tokio::net::UnixListener::bind(path("app.sock")).unwrap();
    let _secret = tokio::net::UnixListener::bind(path("secret.sock")).unwrap();
    std::os::unix::fs::symlink(path("secret.sock"), path("app-link.sock")).unwrap();
    let config = format!(
        "policy:\n  ports: {{allow: [{}]}}\n  unix: {{allow: ['{}']}}\nmodules:\n  m: {{prober: tcp, timeout: 5s}}\n  \
         u: {{prober: unix, timeout: 5s}}\n",
        peer.address.port(),
        path("app*.sock"),
    );
    let exporter = Exporter::start(&config).await;
    for (module, target, dialled) in [
        ("m", peer.address.to_string(), true),
        ("m", other.address.to_string(), false),
        ("u", path("app.sock"), true),
        ("u", path("secret.sock"), false),
        ("u", path("../") + &path("secret.sock"), false),
        ("u", path("app-link.sock"), false),
    ] {
        let probed = exporter.probe(module, &target).await;
        assert_eq!(
            probed.page.value("probe_success"),
            f64::from(u8::from(dialled)),
            "{target}"
        );
        assert_eq!(
            denied(&probed.page),
            !dialled && !target.contains("../"),
            "{target} {:#}",
            probed.evidence
        );
    }
    assert_eq!(other.connections(), 0);
    let strict = Exporter::start("policy: strict\nmodules:\n  u: {prober: unix, timeout: 5s}\n").await;
    assert!(denied(&strict.probe("u", &path("app.sock")).await.page));
}

/// A server that responds with 200 to requests with valid credentials, otherwise with 401.
async fn guarded() -> Peer {
    Peer::start(|mut stream| async move {
        let head = String::from_utf8(read_head(&mut stream).await).unwrap().to_lowercase();
        let known = head.contains("x-api-key: canary");
        let status = if known { "200 OK" } else { "401 Unauthorized" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok();
    })
    .await
}

#[tokio::test]
async fn a_module_sends_its_secrets_to_its_allowed_targets_only() {
    let (own, foreign) = (guarded().await, guarded().await);
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        foreign.http()
    );
    let redirecting = Peer::answering(answer).await;
    let config = format!(
        "modules:\n  m:\n    prober: http\n    timeout: 5s\n    allowed_targets: ['{}', 'http://{}']\n    http:\n      \
         headers: {{X-Api-Key: canary}}\n",
        own.address, redirecting.address
    );
    let exporter = Exporter::start(&config).await;
    assert_eq!(exporter.own("glassbox_modules_without_allowed_targets").await, 0.0);
    assert_eq!(exporter.probe("m", &own.http()).await.page.value("probe_success"), 1.0);
    for other in [
        foreign.http(),
        format!("https://{}/", redirecting.address),
        format!("http://{}@{}/", own.address, foreign.address),
        "http://[".to_owned(),
    ] {
        let target: String = url::form_urlencoded::byte_serialize(other.as_bytes()).collect();
        let answer = exporter.get(&format!("/probe?module=m&target={target}")).await;
        assert_eq!(answer.status(), 403, "{other}");
        let said = answer.text().await.unwrap();
        assert_eq!(said, "Module \"m\" does not allow this target (allowed_targets)\n");
    }
    // A different name at an allowed target is rejected as well, because the secrets would be sent to that name.
    let path = format!("/probe?module=m&target={}&hostname=foreign.test", own.http());
    assert_eq!(exporter.get(&path).await.status(), 403);
    let probed = exporter.probe_for("m", &own.http(), "&hostname=127.0.0.1").await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    let probed = exporter.probe("m", &redirecting.http()).await;
    assert_eq!(
        probed.evidence["verdict"]["reason"], "local.denied",
        "{:#}",
        probed.evidence["verdict"]
    );
    assert_eq!(foreign.connections(), 0);
    assert_eq!(
        exporter
            .own("glassbox_denied_targets_total{rule=\"allowed_targets\"}")
            .await,
        6.0
    );
    // A backend from the URL gets the module's secrets only if it is in `allowed_targets`.
    let failing = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let config = config.replace(&redirecting.address.to_string(), &failing.address.to_string());
    let exporter = Exporter::start(&config).await;
    for (backend, by, well) in [
        (&own, "", 1.0),
        (&own, "%3Bhost=127.0.0.1", 1.0),
        (&own, "%3Bhost=foreign.test", 0.0),
        (&foreign, "", 0.0),
    ] {
        let more = format!("&backend=app@{}{by}", backend.address);
        let probed = exporter.probe_for("m", &failing.http(), &more).await;
        assert_eq!(probed.page.value("probe_backend_success{backend=\"app\"}"), well);
    }
}

#[tokio::test]
async fn a_network_of_mapped_addresses_matches_ipv4() {
    let target = Peer::start(ok).await;
    let rules = "policy: {networks: {deny: ['::ffff:127.0.0.0/104']}}\nmodules: {m: {prober: http, timeout: 5s}}\n";
    let exporter = Exporter::start(rules).await;
    assert!(denied(&exporter.probe("m", &target.http()).await.page));
    assert_eq!(target.connections(), 0);
    let wider = rules.replace("/104", "/90");
    std::fs::write(&exporter.config_file, wider).unwrap();
    let said = exporter.post("/-/reload").await.text().await.unwrap();
    assert!(said.contains("expected a part of ::ffff:0:0/96"), "{said}");
}

#[tokio::test]
async fn a_module_without_allowed_targets_is_counted_and_rejected_by_a_strict_policy() {
    let module = "modules:\n  m: {prober: http, http: {basic_auth: {username: a, password: b}}}\n  n: {prober: http}\n";
    let exporter = Exporter::start(module).await;
    assert_eq!(exporter.own("glassbox_modules_without_allowed_targets").await, 1.0);
    std::fs::write(&exporter.config_file, format!("policy: strict\n{module}")).unwrap();
    let answer = exporter.post("/-/reload").await;
    let said = answer.text().await.unwrap();
    assert!(
        said.contains("modules.m.http.basic_auth: the strict policy requires allowed_targets"),
        "{said}"
    );
    let fenced = module.replace(
        "{prober: http, http: {basic",
        "{prober: http, allowed_targets: [a.test], http: {basic",
    );
    std::fs::write(&exporter.config_file, format!("policy: strict\n{fenced}")).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
    assert_eq!(exporter.own("glassbox_modules_without_allowed_targets").await, 0.0);
}
