//! Probes through HTTP, HTTPS and SOCKS 5 proxies, and through Squid.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port};
use crate::support::proxy::Proxy;
use hickory_proto::op::ResponseCode;
use std::fmt::Write as _;
use std::process::Command;
use tokio::io::AsyncReadExt as _;

/// An http module with these keys.
fn module(keys: &[String]) -> String {
    let mut text = "modules:\n  m:\n    prober: http\n    http:\n      preferred_ip_protocol: ip4\n".to_owned();
    for key in keys {
        writeln!(text, "      {key}").unwrap();
    }
    text
}

fn trusting(authority: &Authority) -> String {
    format!("tls_config: {{ca_file: {}}}", authority.ca_file.display())
}

/// The phases and the proxy of the last exchange.
fn phases(probed: &Probed) -> (Vec<String>, String) {
    let phases = probed.timings().into_iter().map(|(phase, ..)| phase).collect();
    let exchanges = probed.evidence["target"]["exchanges"].as_array().unwrap();
    let proxy = exchanges.last().unwrap()["proxy"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (phases, proxy)
}

#[tokio::test]
async fn an_https_target_is_reached_through_connect() {
    let authority = Authority::new();
    let target = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let proxy = Proxy::http(target.address).await;
    let exporter = Exporter::start(&module(&[
        format!("proxy_url: http://us%40er:secret@{}", proxy.address()),
        "proxy_connect_header: {X-Way: [first, second]}".to_owned(),
        trusting(&authority),
    ]))
    .await;
    let probed = exporter.probe("m", &target.https()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let mut lines: Vec<_> = asked[0].trim_end().split("\r\n").map(str::to_lowercase).collect();
    lines[2..].sort_unstable();
    let place = target.address;
    let expected = [
        format!("connect {place} http/1.1"),
        format!("host: {place}"),
        // us@er:secret
        "proxy-authorization: basic dxnazxi6c2vjcmv0".to_owned(),
        "x-way: first".to_owned(),
        "x-way: second".to_owned(),
    ];
    assert_eq!(lines, expected);
    let (phases, named) = phases(&probed);
    assert_eq!(
        phases,
        [
            "resolve",
            "resolve",
            "connect",
            "proxy",
            "tls",
            "request",
            "processing",
            "transfer"
        ]
    );
    assert_eq!(named, format!("http://{}", proxy.address()));
    assert!(!probed.evidence.to_string().contains("secret"));
    // TLS verified the name and the certificate of the target.
    let subject = &probed.evidence["target"]["exchanges"][0]["tls"]["chain"][0]["subject"];
    assert_eq!(subject, "CN=127.0.0.1");
    let took = probed.page.value("probe_phase_duration_seconds_count{phase=\"proxy\"}");
    assert_eq!(took, 1.0);
    // `blackbox_exporter` has no phase for the proxy.
    assert_eq!(probed.page.find("probe_http_duration_seconds{phase=\"proxy\"}"), None);
    assert_eq!(probed.page.value("probe_ip_protocol"), 4.0);
}

#[tokio::test]
async fn an_http_target_is_requested_from_the_proxy() {
    let target = Peer::start(ok).await;
    let proxy = Proxy::http(target.address).await;
    let exporter = Exporter::start(&module(&[format!("proxy_url: http://user:secret@{}", proxy.address())])).await;
    let probed = exporter.probe("m", &format!("{}path?x=1", target.http())).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let asked = proxy.asked().remove(0).to_lowercase();
    assert!(
        asked.starts_with(&format!("get http://{}/path?x=1 http/1.1\r\n", target.address)),
        "{asked}"
    );
    assert!(asked.contains(&format!("\r\nhost: {}\r\n", target.address)), "{asked}");
    assert!(
        asked.contains("\r\nproxy-authorization: basic dxnlcjpzzwnyzxq=\r\n"),
        "{asked}"
    );
    let (phases, _) = phases(&probed);
    assert_eq!(
        phases,
        ["resolve", "resolve", "connect", "request", "processing", "transfer"]
    );
}

#[tokio::test]
async fn socks5_supports_http_and_https_targets() {
    let authority = Authority::new();
    let plain = Peer::start(ok).await;
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    for (url, to) in [(plain.http(), plain.address), (secured.https(), secured.address)] {
        let proxy = Proxy::socks5(to).await;
        let keys = [
            format!("proxy_url: socks5://user:password@{}", proxy.address()),
            trusting(&authority),
        ];
        let exporter = Exporter::start(&module(&keys)).await;
        let probed = exporter.probe("m", &url).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        assert_eq!(proxy.asked(), [to.to_string()]);
        assert!(phases(&probed).0.contains(&"proxy".to_owned()));
    }
}

#[tokio::test]
async fn an_https_proxy_is_verified_before_the_request() {
    let authority = Authority::new();
    let target = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let proxy = Proxy::https(authority.leaf("127.0.0.1").server(&[]), target.address).await;
    let url = format!("proxy_url: https://{}", proxy.address());
    let exporter = Exporter::start(&module(&[url.clone(), trusting(&authority)])).await;
    let probed = exporter.probe("m", &target.https()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let expected = [
        "resolve",
        "resolve",
        "connect",
        "tls",
        "proxy",
        "tls",
        "request",
        "processing",
        "transfer",
    ];
    assert_eq!(phases(&probed).0, expected);
    // The proxy's certificate is not trusted: the failure is at the exporter's proxy, not at the target.
    let exporter = Exporter::start(&module(&[url])).await;
    let probed = exporter.probe("m", &target.https()).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "tls.cert.authority_invalid");
    assert_eq!(probed.evidence["verdict"]["link"], "local");
}

#[tokio::test]
async fn the_module_can_leave_name_resolution_to_the_proxy() {
    let authority = Authority::new();
    let target = Peer::with_tls(authority.leaf("shop.test").server(&[]), ok).await;
    let proxy = Proxy::http(target.address).await;
    let nobody = DnsServer::always(Says::NoData).await;
    let config = module(&[
        format!("proxy_url: http://{}", proxy.address()),
        "skip_resolve_phase_with_proxy: true".to_owned(),
        trusting(&authority),
    ]) + &format!("    {}\n", nobody.as_key());
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", "https://shop.test/").await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert!(
        proxy.asked()[0].starts_with("CONNECT shop.test:443 HTTP/1.1\r\n"),
        "{:?}",
        proxy.asked()
    );
    assert_eq!(probed.page.find("probe_ip_protocol"), None);
    assert_eq!(probed.page.find("probe_http_duration_seconds{phase=\"resolve\"}"), None);
    assert!(
        probed
            .page
            .find("probe_http_duration_seconds{phase=\"connect\"}")
            .is_some()
    );
}

#[tokio::test]
async fn the_policy_applies_to_addresses_that_the_proxy_would_resolve() {
    let target = Peer::start(ok).await;
    let proxy = Proxy::http(target.address).await;
    let exporter = Exporter::start(&module(&[
        format!("proxy_url: http://{}", proxy.address()),
        "skip_resolve_phase_with_proxy: true".to_owned(),
    ]))
    .await;
    for target in ["http://169.254.169.254/", "http://[fd00:ec2::254]/"] {
        let probed = exporter.probe("m", target).await;
        assert_eq!(
            probed.evidence["verdict"]["reason"], "local.denied",
            "{:#}",
            probed.evidence
        );
    }
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test]
async fn no_proxy_excludes_targets_from_the_proxy() {
    let target = Peer::start(ok).await;
    let proxy = Proxy::http(target.address).await;
    for (list, through) in [("192.0.2.0/24", false), ("other.test", false), ("", true)] {
        // As in Go, with a `no_proxy` list, loopback addresses are never reached through the proxy.
        let exporter = Exporter::start(&module(&[
            format!("proxy_url: http://{}", proxy.address()),
            format!("no_proxy: \"{list}\""),
        ]))
        .await;
        let before = proxy.asked().len();
        let probed = exporter.probe("m", &target.http()).await;
        assert_eq!(probed.page.value("probe_success"), 1.0);
        assert_eq!(proxy.asked().len() > before, through, "{list}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_through_the_proxy() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let target = Peer::answering(answer).await;
    let proxy = Proxy::http(target.address).await;
    let exporter = Exporter::start(&module(&[format!("proxy_url: http://{}", proxy.address())])).await;
    let probed = exporter.probe("m", &target.http()).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "http.response.redirect_loop");
    assert_eq!(proxy.asked().len(), 11);
    assert!(
        proxy.asked()[1]
            .to_lowercase()
            .starts_with(&format!("get http://{}/there ", target.address))
    );
}

/// With a proxy, all addresses of a name are probed through it.
#[tokio::test]
async fn all_addresses_are_probed_through_the_proxy() {
    let target = Peer::start(ok).await;
    let proxy = Proxy::http(target.address).await;
    let dns = DnsServer::always(Says::Addresses(vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()])).await;
    let config = module(&[format!("proxy_url: http://{}", proxy.address())]);
    let config = format!("{config}    addresses: all\n    {}\n", dns.as_key());
    let probed = Exporter::start(&config).await.probe("m", "http://shop.test/").await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(
        probed.page.value("probe_addresses{state=\"ok\"}"),
        2.0,
        "{:#}",
        probed.evidence
    );
    let mut asked: Vec<_> = proxy
        .asked()
        .iter()
        .map(|head| head.lines().next().unwrap().to_owned())
        .collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        // The first address is requested by name, as usual, and each further one by address.
        ["GET http://192.0.2.2/ HTTP/1.1", "GET http://shop.test/ HTTP/1.1"]
    );
}

#[tokio::test]
async fn squid_forwards_and_denies() {
    let authority = Authority::new();
    let target = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let plain = Peer::start(ok).await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // As root, Squid switches to another user, which cannot write to the folder of the test.
    let config = format!(
        "http_port 127.0.0.1:{port}\npid_filename none\ncache_log /dev/null\naccess_log none\ncache deny all\n\
         coredump_dir /\nacl good port {} {}\nhttp_access allow good\nhttp_access deny all\n\
         dns_nameservers 127.0.0.1\nshutdown_lifetime 0\n",
        target.address.port(),
        plain.address.port(),
    );
    let file = folder.path().join("squid.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("squid");
    // The name of the instance is also the name of its shared memory.
    command.args(["-N", "-n", &format!("glassbox{port}"), "-f"]).arg(&file);
    let mut squid = Process::start(&mut command);
    squid.listens(port).await;
    let keys = [format!("proxy_url: http://127.0.0.1:{port}"), trusting(&authority)];
    let exporter = Exporter::start(&module(&keys)).await;
    for url in [target.https(), plain.http()] {
        let probed = exporter.probe("m", &url).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    }
    let probed = exporter.probe("m", "https://127.0.0.1:9/").await;
    assert_eq!(
        probed.evidence["verdict"]["reason"], "proxy.refused",
        "{:#}",
        probed.evidence
    );
    assert_eq!(probed.evidence["verdict"]["link"], "local");
    let detail = probed.evidence["target"]["fault"]["detail"].as_str().unwrap();
    assert_eq!(detail, "The proxy returned 403 to CONNECT.");
    // After SIGTERM, Squid removes its shared memory.
    squid.signal("TERM");
    eventually("squid ends", async || squid.0.try_wait().unwrap().is_some()).await;
}

/// The same response of a proxy gets the same verdict, whether it is to CONNECT or to a request to forward.
#[tokio::test]
async fn a_proxys_own_response_gets_the_same_verdict_for_http_and_https() {
    let squid = |status: &str, error: &str| {
        let via = "Via: 1.1 proxy (squid/5.7)\r\n";
        format!("HTTP/1.1 {status}\r\nServer: squid/5.7\r\nX-Squid-Error: {error}\r\n{via}Content-Length: 0\r\n\r\n")
    };
    let tinyproxy = "<h1>Filtered</h1><p><em>Generated by tinyproxy version 1.11.0.</em></p>";
    let tinyproxy = format!(
        "HTTP/1.1 403 Filtered\r\nServer: tinyproxy/1.11.0\r\nContent-Length: {}\r\n\r\n{tinyproxy}",
        tinyproxy.len()
    );
    let asks = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: \
                0\r\n\r\n";
    let unavailable = "503 Service Unavailable";
    for (answer, link, reason) in [
        (asks.to_owned(), "local", "proxy.refused"),
        (squid("403 Forbidden", "ERR_ACCESS_DENIED 0"), "local", "proxy.refused"),
        (tinyproxy, "local", "proxy.refused"),
        (
            squid(unavailable, "ERR_DNS_FAIL 0"),
            "network",
            "proxy.target_unreachable",
        ),
        (
            squid(unavailable, "ERR_CONNECT_FAIL 111"),
            "network",
            "proxy.target_unreachable",
        ),
    ] {
        let proxy = Peer::answering(answer.clone()).await;
        let exporter = Exporter::start(&module(&[format!("proxy_url: http://{}", proxy.address)])).await;
        for scheme in ["http", "https"] {
            let probed = exporter.probe("m", &format!("{scheme}://127.0.0.1:1/")).await;
            let verdict = &probed.evidence["verdict"];
            assert_eq!(verdict["link"], link, "{scheme}: {answer}\n{verdict:#}");
            assert_eq!(verdict["reason"], reason, "{scheme}: {answer}\n{verdict:#}");
            assert_eq!(verdict["certainty"], "likely");
        }
    }
}

/// A proxy that accepts a request and never responds: http and https targets get the same verdict. Without a proxy, the
/// failure is attributed to the server.
#[tokio::test]
async fn a_silent_proxy_gets_the_same_verdict_for_http_and_https() {
    let silent = Peer::start(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let closing = Peer::start(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    for peer in [&silent, &closing] {
        let keys = [format!("proxy_url: http://{}", peer.address)];
        let config = module(&keys).replacen("    http:", "    timeout: 1s\n    http:", 1);
        let exporter = Exporter::start(&config).await;
        for scheme in ["http", "https"] {
            let probed = exporter.probe("m", &format!("{scheme}://127.0.0.1:1/")).await;
            let verdict = &probed.evidence["verdict"];
            assert_eq!(verdict["link"], "local", "{scheme}: {verdict:#}");
            assert_eq!(verdict["reason"], "proxy.failed", "{scheme}: {verdict:#}");
            assert_eq!(verdict["certainty"], "likely");
        }
        let direct = Exporter::start(&module(&[]).replacen("    http:", "    timeout: 1s\n    http:", 1)).await;
        let probed = direct.probe("m", &peer.http()).await;
        assert_eq!(probed.evidence["verdict"]["link"], "edge", "{:#}", probed.evidence);
    }
}

/// A service mesh may deny outgoing requests by policy, with a response that has no `Via`.
#[tokio::test]
async fn a_denial_without_via_is_attributed_to_the_proxy() {
    let body = "RBAC: access denied";
    let answer = |more: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 403 Forbidden\r\nServer: envoy\r\nContent-Type: text/plain\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    for (more, link) in [("", "local"), ("Via: 1.1 proxy (squid/5.7)\r\n", "edge")] {
        let proxy = Peer::answering(answer(more)).await;
        let exporter = Exporter::start(&module(&[format!("proxy_url: http://{}", proxy.address)])).await;
        let probed = exporter.probe("m", "http://127.0.0.1:1/").await;
        assert_eq!(
            probed.evidence["verdict"]["link"], link,
            "{:#}",
            probed.evidence["verdict"]
        );
    }
}

/// In many company networks only the proxy can resolve external names. The details then mention the key that skips the
/// exporter's own resolution.
#[tokio::test]
async fn an_unresolved_name_with_a_proxy_gives_no_certain_verdict() {
    let target = Peer::start(ok).await;
    let proxy = Proxy::http(target.address).await;
    let dns = DnsServer::always(Says::Code(ResponseCode::NXDomain)).await;
    let proxied = format!("proxy_url: http://{}", proxy.address());
    for (keys, certainty) in [(vec![proxied.clone()], "likely"), (vec![], "certain")] {
        let config = format!("{}    {}\n", module(&keys), dns.as_key());
        let probed = Exporter::start(&config).await.probe("m", "http://intranet.test/").await;
        let verdict = &probed.evidence["verdict"];
        assert_eq!(
            (&verdict["link"], &verdict["certainty"]),
            (&"dns".into(), &certainty.into()),
            "{verdict:#}"
        );
        let detail = probed.evidence["target"]["fault"]["detail"].as_str().unwrap();
        let names_key = detail.contains("skip_resolve_phase_with_proxy");
        assert_eq!(names_key, certainty == "likely", "{detail}");
    }
    let keys = [proxied, "skip_resolve_phase_with_proxy: true".to_owned()];
    let config = format!("{}    {}\n", module(&keys), dns.as_key());
    let probed = Exporter::start(&config).await.probe("m", "http://intranet.test/").await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// The opposite case: a response that the proxy forwarded is attributed to the target.
#[tokio::test]
async fn forwarded_responses_are_attributed_to_the_target() {
    let page = "<html><center><h1>403 Forbidden</h1></center><hr><center>nginx</center></html>";
    let proxy = Peer::answering(format!(
        "HTTP/1.1 403 Forbidden\r\nServer: nginx\r\nVia: 1.1 proxy (squid/5.7)\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    ))
    .await;
    let exporter = Exporter::start(&module(&[format!("proxy_url: http://{}", proxy.address)])).await;
    let probed = exporter.probe("m", "http://127.0.0.1:1/").await;
    assert_ne!(
        probed.evidence["verdict"]["link"], "local",
        "{:#}",
        probed.evidence["verdict"]
    );
}
