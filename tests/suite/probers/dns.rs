//! The dns prober with Unbound and with a test name server.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::Exporter;
use crate::support::pki::Authority;
use crate::support::unbound::Unbound;
use std::fmt::Write as _;

fn config(ca_file: &str) -> String {
    let mut config = "modules:\n".to_owned();
    let tls = format!("tls_config: {{ca_file: {ca_file}}}");
    for (name, keys) in [
        ("a", "query_name: www.example.test, query_type: A"),
        ("any", "query_name: example.test"),
        (
            "mx",
            "query_name: example.test, query_type: MX, validate_answer_rrs: {fail_if_not_matches_regexp: ['^example\\.test\\.\\t3600\\tIN\\tMX\\t10 mail\\.example\\.test\\.$']}",
        ),
        (
            "caa",
            "query_name: example.test, query_type: CAA, validate_answer_rrs: {fail_if_none_matches_regexp: ['0 issue \"ca\\.test\"$']}",
        ),
        (
            "forbids",
            "query_name: www.example.test, query_type: A, validate_answer_rrs: {fail_if_matches_regexp: ['192\\.0\\.2\\.2$']}",
        ),
        ("soa", "query_name: example.test, query_type: SOA"),
        ("nobody", "query_name: nobody.example.test, query_type: A"),
        (
            "nobody_wanted",
            "query_name: nobody.example.test, query_type: A, valid_rcodes: [NXDOMAIN]",
        ),
        ("large", "query_name: large.example.test, query_type: TXT"),
        (
            "tcp",
            "query_name: www.example.test, query_type: A, transport_protocol: tcp",
        ),
        (
            "dot",
            &format!("query_name: www.example.test, query_type: A, transport_protocol: tcp, dns_over_tls: true, {tls}"),
        ),
        (
            "doh",
            &format!("query_name: www.example.test, query_type: A, transport_protocol: https, {tls}"),
        ),
    ] {
        writeln!(
            config,
            "  {name}: {{prober: dns, dns: {{preferred_ip_protocol: ip4, {keys}}}}}"
        )
        .unwrap();
    }
    config
}

#[tokio::test]
async fn a_real_name_server_answers_over_each_transport() {
    let authority = Authority::new();
    let server = Unbound::start(&authority).await;
    let exporter = Exporter::start(&config(authority.ca_file.to_str().unwrap())).await;
    let plain = format!("127.0.0.1:{}", server.plain);
    let over_udp = "resolve request processing";
    for (module, target, timings, answers) in [
        ("a", &plain, over_udp, 2.0),
        ("mx", &plain, over_udp, 1.0),
        ("caa", &plain, over_udp, 1.0),
        ("soa", &plain, over_udp, 1.0),
        ("nobody_wanted", &plain, over_udp, 0.0),
        ("tcp", &plain, "resolve connect request processing transfer", 2.0),
        (
            "dot",
            &format!("127.0.0.1:{}", server.tls),
            "resolve connect tls request processing transfer",
            2.0,
        ),
        (
            "doh",
            &format!("127.0.0.1:{}", server.https),
            "resolve connect tls request processing transfer",
            2.0,
        ),
        (
            "doh",
            &format!("https://127.0.0.1:{}/dns-query", server.https),
            "resolve connect tls request processing transfer",
            2.0,
        ),
    ] {
        let probed = exporter.probe(module, target).await;
        let page = &probed.page;
        assert_eq!(page.value("probe_success"), 1.0, "{module}: {:#}", probed.evidence);
        assert_eq!(page.value("probe_dns_query_succeeded"), 1.0, "{module}");
        assert_eq!(page.value("probe_dns_answer_rrs"), answers, "{module}");
        assert_eq!(page.value("probe_ip_protocol"), 4.0);
        let seen: Vec<_> = probed.timings().into_iter().map(|timing| timing.0).collect();
        assert_eq!(seen.join(" "), timings, "{module}");
        for phase in ["resolve", "connect", "request"] {
            assert!(page.value(&format!("probe_dns_duration_seconds{{phase=\"{phase}\"}}")) >= 0.0);
        }
        let rcode = if module == "nobody_wanted" { 3.0 } else { 0.0 };
        assert_eq!(page.value("probe_dns_rcode"), rcode);
        let serial = (module == "soa").then_some(2_026_112_301.0);
        assert_eq!(page.find("probe_dns_serial"), serial, "{module}");
    }
    for (module, reason) in [("nobody", "content.rcode"), ("forbids", "content.body")] {
        let probed = exporter.probe(module, &plain).await;
        assert_eq!(probed.page.value("probe_success"), 0.0, "{module}");
        assert_eq!(probed.evidence["verdict"]["reason"], reason);
        assert_eq!(probed.page.value("probe_dns_query_succeeded"), 1.0);
    }
}

/// `blackbox_exporter` treats the truncated response as complete.
#[tokio::test]
async fn a_truncated_response_is_retried_over_tcp() {
    let server = Unbound::start(&Authority::new()).await;
    let exporter = Exporter::start(&config("/nonexistent")).await;
    let probed = exporter.probe("large", &format!("127.0.0.1:{}", server.plain)).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.page.value("probe_dns_answer_rrs"), 20.0);
    let timings: Vec<_> = probed.timings().into_iter().map(|timing| timing.0).collect();
    assert_eq!(
        timings.join(" "),
        "resolve request processing resolve connect request processing transfer"
    );
}

#[tokio::test]
async fn the_name_of_the_name_server_is_resolved_too() {
    let server = Unbound::start(&Authority::new()).await;
    let resolver = DnsServer::always(Says::Addresses(vec![[127, 0, 0, 1].into()])).await;
    let config = format!(
        "modules: {{a: {{prober: dns, {}, dns: {{preferred_ip_protocol: ip4, query_name: www.example.test, query_type: A}}}}}}",
        resolver.as_key()
    );
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("a", &format!("ns.test:{}", server.plain)).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert!(probed.page.value("probe_dns_duration_seconds{phase=\"resolve\"}") > 0.0);
}

/// As in `blackbox_exporter`, a name that does not fit into a DNS message affects only the probes of its module.
#[tokio::test]
async fn a_too_long_name_fails_only_its_module() {
    let server = DnsServer::always(Says::Addresses(vec![[127, 0, 0, 1].into()])).await;
    let long = "x".repeat(64);
    for name in ["a..b.test", ".a.test", &long] {
        let exporter = Exporter::start(&format!(
            "modules:\n  bad: {{prober: dns, dns: {{query_name: '{name}'}}}}\n  \
             good: {{prober: dns, dns: {{query_name: www.example.test, query_type: A}}}}\n"
        ))
        .await;
        let at = server.address.to_string();
        let bad = exporter.probe("bad", &at).await;
        assert_eq!(bad.page.value("probe_success"), 0.0, "{name}");
        let verdict = &bad.evidence["verdict"];
        assert_eq!(verdict["reason"], "local.target_invalid", "{name} {verdict:#}");
        assert!(
            bad.evidence["target"]["fault"]["detail"]
                .as_str()
                .unwrap()
                .contains("query_name")
        );
        let good = exporter.probe("good", &at).await;
        assert_eq!(good.page.value("probe_success"), 1.0, "{name} {:#}", good.evidence);
    }
}
