//! Name resolution matches the host's resolver: resolv.conf(5), hosts(5), and Go's resolver.

use crate::support::exporter::Exporter;
use crate::support::host::Host;
use crate::support::name_server::{Asked, NameServer, Reply, record};
use crate::support::peer::{Peer, ok};
use crate::support::process::eventually;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::time::Duration;

const HOSTS: &[u8] = b"127.0.0.1 localhost\n";
const MODULES: &str = "modules: {m: {prober: http, timeout: 4s, http: {preferred_ip_protocol: ip4}}}";

/// A server that returns this address for every name.
async fn knows(at: &str, address: &'static str) -> NameServer {
    NameServer::start_at(at, move |asked| asked.addresses(&[address])).await
}

/// A module with a list of name servers.
fn module(servers: &[&NameServer]) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("'{}'", server.address)).collect();
    let servers = servers.join(", ");
    format!(
        "modules: {{m: {{prober: http, timeout: 4s, resolver: [{servers}], http: {{preferred_ip_protocol: ip4}}}}}}"
    )
}

/// Response of a name server to a query.
type Says = fn(&Asked) -> Reply;

/// Failures after which the next name server is tried.
const FAILURES: [(&str, Says); 6] = [
    ("SERVFAIL", |asked| asked.code(ResponseCode::ServFail)),
    ("REFUSED", |asked| asked.code(ResponseCode::Refused)),
    ("NOTIMP", |asked| asked.code(ResponseCode::NotImp)),
    ("FORMERR", |asked| asked.code(ResponseCode::FormErr)),
    ("garbage", Asked::garbage),
    ("a referral", Asked::referral),
];

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_are_queried_in_order() {
    let peer = Peer::start(ok).await;
    let slow = |asked: &Asked| match asked.addresses(&["127.0.0.1"]) {
        Reply::Bytes(bytes) => Reply::After(Duration::from_millis(30), bytes),
        other => other,
    };
    let _first = NameServer::start_at("127.0.53.1:53", slow).await;
    let second = NameServer::start_at("127.0.53.2:53", |asked| asked.code(ResponseCode::NXDomain)).await;
    let conf = "nameserver 127.0.53.1\nnameserver 127.0.53.2\n";
    let host = Host::start(MODULES, conf, HOSTS).await;
    for number in 0..3 {
        let target = format!("http://n{number}.internal.test:{}/", peer.address.port());
        assert_eq!(host.probe("m", &target).await.outcome(), "success");
    }
    assert_eq!(second.names_asked(), [""; 0]);
    // The name servers of a module behave the same.
    let first = NameServer::start(slow).await;
    let exporter = Exporter::start(&module(&[&first, &second])).await;
    let target = format!("http://own.test:{}/", peer.address.port());
    assert_eq!(exporter.probe("m", &target).await.outcome(), "success");
    assert_eq!(second.names_asked(), [""; 0]);
}

#[tokio::test]
async fn a_name_server_of_a_module_is_asked_in_its_zone() {
    let peer = Peer::start(ok).await;
    let server = knows("[::1]:0", "127.0.0.1").await;
    let target = format!("http://zoned.test:{}/", peer.address.port());
    for (zone, outcome) in [
        ("lo", "success"),
        ("1", "success"),
        ("nosuch0", "local/local.resolver_unreachable"),
    ] {
        let config = module(&[&server]).replace("[::1]", &format!("[::1%{zone}]"));
        let exporter = Exporter::start(&config).await;
        assert_eq!(exporter.probe("m", &target).await.outcome(), outcome, "{zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_starts_with_another_server_for_each_lookup() {
    let _first = knows("127.0.53.3:53", "127.0.0.1").await;
    let _second = knows("127.0.53.4:53", "127.0.0.2").await;
    let conf = "nameserver 127.0.53.3\nnameserver 127.0.53.4\noptions rotate\n";
    let host = Host::start(MODULES, conf, HOSTS).await;
    let mut chosen = Vec::new();
    for _ in 0..4 {
        chosen.push(host.probe("m", "http://rotated.test:1/").await.chosen());
    }
    assert_eq!(chosen, ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_server_is_followed_by_the_next_one() {
    let peer = Peer::start(ok).await;
    for (failure, handler) in FAILURES {
        let first = NameServer::start(handler).await;
        let second = NameServer::start(|asked| asked.addresses(&["127.0.0.1"])).await;
        let exporter = Exporter::start(&module(&[&first, &second])).await;
        let target = format!("http://name.test:{}/", peer.address.port());
        let probed = exporter.probe("m", &target).await;
        assert_eq!(probed.outcome(), "success", "{failure}");
    }
    // The first server has no listener.
    let second = NameServer::start(|asked| asked.addresses(&["127.0.0.1"])).await;
    let config = module(&[&second]).replace("resolver: [", "resolver: ['127.0.0.1:1', ");
    let target = format!("http://name.test:{}/", peer.address.port());
    assert_eq!(
        Exporter::start(&config).await.probe("m", &target).await.outcome(),
        "success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nxdomain_ends_the_search_of_the_servers() {
    let second = NameServer::start(|asked| asked.addresses(&["127.0.0.1"])).await;
    for (reason, handler) in [
        (
            "dns/dns.name_not_resolved",
            (|asked| asked.code(ResponseCode::NXDomain)) as Says,
        ),
        ("dns/dns.no_data", Asked::no_data),
    ] {
        let first = NameServer::start(handler).await;
        let exporter = Exporter::start(&module(&[&first, &second])).await;
        assert_eq!(exporter.probe("m", "http://name.test/").await.outcome(), reason);
        assert_eq!(second.names_asked(), [""; 0], "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_failure_is_reported() {
    for (first, second, reason) in [
        (0, 1, "dns/dns.servfail"),
        (1, 0, "dns/dns.refused"),
        (2, 2, "dns/dns.failed"),
        (4, 4, "dns/dns.malformed"),
        (4, 0, "dns/dns.servfail"),
        (5, 5, "dns/dns.failed"),
    ] {
        let first = NameServer::start(FAILURES[first].1).await;
        let second = NameServer::start(FAILURES[second].1).await;
        let exporter = Exporter::start(&module(&[&first, &second])).await;
        assert_eq!(exporter.probe("m", "http://name.test/").await.outcome(), reason);
    }
    // The second server is silent until the probe's deadline.
    let (fails, silent) = (
        NameServer::start(FAILURES[0].1).await,
        NameServer::start(|_| Reply::Silence).await,
    );
    let exporter = Exporter::start(&module(&[&fails, &silent])).await;
    assert_eq!(
        exporter.probe("m", "http://name.test/").await.outcome(),
        "dns/dns.servfail"
    );
    // The server sends only datagrams that match no query.
    let foreign = NameServer::start(|_| Reply::Bytes(b"hello".to_vec())).await;
    let exporter = Exporter::start(&module(&[&foreign])).await;
    assert_eq!(
        exporter.probe("m", "http://name.test/").await.outcome(),
        "dns/dns.malformed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_share_one_search() {
    let wildcard = |asked: &Asked| match asked.name.as_str() {
        "www.example.test" => asked.addresses(&["127.0.0.3"]),
        "six.example.test" => asked.addresses(&["::1"]),
        name if name.ends_with(".corp.test") => asked.addresses(&["127.0.0.66", "::1"]),
        _ => asked.code(ResponseCode::NXDomain),
    };
    let server = NameServer::start_at("127.0.53.5:53", wildcard).await;
    let modules = "modules: {four: {prober: tcp, timeout: 2s, tcp: {preferred_ip_protocol: ip4}},\n\
                   six: {prober: tcp, timeout: 2s, tcp: {preferred_ip_protocol: ip6}}}";
    let host = Host::start(modules, "nameserver 127.0.53.5\nsearch corp.test\n", HOSTS).await;
    for (module, target, chosen, asked) in [
        ("six", "www.example.test:1", "127.0.0.3", &["www.example.test"][..]),
        ("four", "six.example.test:1", "::1", &["six.example.test"]),
        ("four", "db:1", "127.0.0.66", &["db.corp.test"]),
        (
            "four",
            "unknown.test:1",
            "127.0.0.66",
            &["unknown.test", "unknown.test.corp.test"],
        ),
        ("four", "unknown.test.:1", "-", &["unknown.test"]),
    ] {
        server.asked();
        assert_eq!(host.probe(module, target).await.chosen(), chosen, "{target}");
        let mut names = server.names_asked();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, asked, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_queried_as_written() {
    let peer = Peer::start(ok).await;
    let server = NameServer::start(|asked| asked.addresses(&["127.0.0.1"])).await;
    let modules = module(&[&server]).trim_end_matches('}').to_owned()
        + &format!(
            "}}}}, t: {{prober: tcp, timeout: 2s, resolver: ['{}']}}}}",
            server.address
        );
    let exporter = Exporter::start(&modules).await;
    let port = peer.address.port();
    for name in [
        "node_exporter",
        "_sip._udp.example.test",
        "db_.example.test",
        "-leading.example.test",
        "xn--zzzz-invalid.example.test",
    ] {
        for (module, target) in [("m", format!("http://{name}:{port}/")), ("t", format!("{name}:{port}"))] {
            server.asked();
            assert_eq!(exporter.probe(module, &target).await.outcome(), "success", "{target}");
            assert_eq!(server.names_asked(), [name], "{target}");
        }
    }
    let long = "a".repeat(64);
    for target in [
        format!("{long}.test:1"),
        "a..test:1".to_owned(),
        format!("{}:1", vec!["a".repeat(60); 5].join(".")),
    ] {
        server.asked();
        let outcome = exporter.probe("t", &target).await.outcome();
        assert_eq!(outcome, "local/local.target_invalid", "{target}");
        assert_eq!(server.names_asked(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_hosts_line_affects_only_itself() {
    let peer = Peer::start(ok).await;
    let _server = NameServer::start_at("127.0.53.6:53", |asked| asked.code(ResponseCode::NXDomain)).await;
    let hosts = b"# caf\xe9\n127.0.0.1 localhost db db.test # \xff\n\xff\xff bad\n127.0.0.1 last";
    let host = Host::start(MODULES, "nameserver 127.0.53.6\n", hosts).await;
    for (name, outcome) in [
        ("db", "success"),
        ("DB.test", "success"),
        ("last.", "success"),
        ("bad", "dns/dns.name_not_resolved"),
    ] {
        let target = format!("http://{name}:{}/", peer.address.port());
        assert_eq!(host.probe("m", &target).await.outcome(), outcome, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_host_files_are_reloaded() {
    let _old = knows("127.0.53.7:53", "127.0.0.7").await;
    let _new = knows("127.0.53.8:53", "127.0.0.8").await;
    // The exporter starts before the network is configured.
    let host = Host::start(MODULES, "", HOSTS).await;
    let outcome = host.probe("m", "http://name.test:1/").await.outcome();
    assert_eq!(outcome, "local/local.resolver_unreachable");
    let chosen = async |name: &str| host.probe("m", &format!("http://{name}:1/")).await.chosen();
    for (server, address) in [("127.0.53.7", "127.0.0.7"), ("127.0.53.8", "127.0.0.8")] {
        std::fs::write(host.file("resolv.conf"), format!("nameserver {server}\n")).unwrap();
        eventually("the new name server is used", async || {
            chosen("name.test").await == address
        })
        .await;
    }
    // An empty file means that it is being rewritten.
    std::fs::write(host.file("resolv.conf"), "# nothing yet\n").unwrap();
    eventually("a log message about the empty file", async || {
        host.log().contains("contains no name server")
    })
    .await;
    assert_eq!(chosen("name.test").await, "127.0.0.8");
    std::fs::write(host.file("hosts"), "127.0.0.9 name.test\n").unwrap();
    eventually("the new line of the hosts file is used", async || {
        chosen("name.test").await == "127.0.0.9"
    })
    .await;
    assert_eq!(host.log().matches("contains no name server").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_record_does_not_affect_others() {
    let server = NameServer::start(|asked| {
        let address = [127, 0, 0, 5];
        let (a, odd) = (record(1, &address), record(65280, b"\xff\xff\xff"));
        match (asked.kind, asked.name.as_str()) {
            (RecordType::A, "unknown.test") => asked.records(&[&odd, &a]),
            (RecordType::A, "empty.test") => asked.records(&[&record(1, b""), &record(16, b""), &a]),
            (RecordType::A, "cut.test") => asked.records(&[&a, &a[..9]]),
            (RecordType::A, "only-cut.test") => asked.records(&[&a[..9]]),
            (RecordType::A, "pointer.test") => asked.records(&[&record(5, &[0xc0, 0xff]), &a]),
            _ => asked.no_data(),
        }
    })
    .await;
    let exporter = Exporter::start(&module(&[&server])).await;
    for name in ["unknown.test", "empty.test", "cut.test", "pointer.test"] {
        let probed = exporter.probe("m", &format!("http://{name}:1/")).await;
        assert_eq!(probed.chosen(), "127.0.0.5", "{name}");
    }
    let outcome = exporter.probe("m", "http://only-cut.test:1/").await.outcome();
    assert_eq!(outcome, "dns/dns.malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_responses_use_tcp_or_larger_datagrams() {
    let server = NameServer::start(|asked| match (asked.tcp, asked.edns, asked.name.as_str()) {
        (true, _, "blocked.test") => Reply::Silence,
        (false, true, "blocked.test") | (true, _, _) => asked.addresses(&["127.0.0.1"]),
        _ => asked.truncated(),
    })
    .await;
    let config = module(&[&server]).replace("timeout: 4s", "timeout: 12s");
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", "http://long.test:1/").await;
    assert_eq!(probed.chosen(), "127.0.0.1");
    assert!(server.asked().iter().any(|asked| asked.tcp));
    let probed = exporter.probe("m", "http://blocked.test:1/").await;
    assert_eq!(probed.chosen(), "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn use_vc_uses_only_tcp_with_one_connection_per_probe() {
    let server = knows("127.0.53.9:53", "127.0.0.1").await;
    let host = Host::start(MODULES, "nameserver 127.0.53.9\noptions use-vc\n", HOSTS).await;
    for _ in 0..2 {
        assert_eq!(host.probe("m", "http://name.test:1/").await.chosen(), "127.0.0.1");
        assert!(server.asked().iter().all(|asked| asked.tcp));
    }
    // The first connection dies silently. The next probe opens a new one.
    let dead = std::sync::atomic::AtomicBool::new(false);
    let server = NameServer::start(move |asked| {
        if asked.name == "dies.test" {
            dead.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        if dead.load(std::sync::atomic::Ordering::SeqCst) && asked.name == "dies.test" {
            return Reply::Silence;
        }
        asked.addresses(&["127.0.0.1"])
    })
    .await;
    let config = module(&[&server])
        .replace("['", "['tcp://")
        .replace("timeout: 4s", "timeout: 1s");
    let exporter = Exporter::start(&config).await;
    let outcome = exporter.probe("m", "http://dies.test:1/").await.outcome();
    assert_eq!(outcome, "dns/dns.timed_out");
    assert_eq!(exporter.probe("m", "http://lives.test:1/").await.chosen(), "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_opt_record_is_left_out() {
    let server = NameServer::start_at("127.0.53.10:53", |asked| match (asked.edns, asked.name.as_str()) {
        (true, "formerr.test") => asked.code(ResponseCode::FormErr),
        (true, "notimp.test") => asked.code(ResponseCode::NotImp),
        (true, "silent.test") | (false, "needs.test") => Reply::Silence,
        _ => asked.addresses(&["127.0.0.1"]),
    })
    .await;
    let host = Host::start(MODULES, "nameserver 127.0.53.10\noptions edns0\n", HOSTS).await;
    for name in ["formerr.test", "notimp.test", "silent.test", "needs.test"] {
        let probed = host.probe("m", &format!("http://{name}:1/")).await;
        assert_eq!(probed.chosen(), "127.0.0.1", "{name}");
    }
    assert!(server.asked().iter().any(|asked| asked.edns));
    // Without the option, no query has an OPT record.
    let host = Host::start(MODULES, "nameserver 127.0.53.10\n", HOSTS).await;
    assert_eq!(host.probe("m", "http://plain.test:1/").await.chosen(), "127.0.0.1");
    assert!(server.asked().iter().all(|asked| !asked.edns));
}
