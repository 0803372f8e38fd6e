//! Diagnostics after a failure: backends, controls, caches, addresses, and the request that every gateway rejects.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::{eventually, free_port};
use hickory_proto::op::ResponseCode;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const BARE_502: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/// Link, reason, side and rule of the verdict.
fn verdict(probed: &Probed) -> (String, String, String, String) {
    let verdict = &probed.evidence["verdict"];
    let word = |name: &str| verdict[name].as_str().unwrap_or("none").to_owned();
    (word("link"), word("reason"), word("side"), word("rule"))
}

fn is(probed: &Probed, link: &str, reason: &str, side: &str) {
    let said = verdict(probed);
    assert_eq!(
        (said.0.as_str(), said.1.as_str(), said.2.as_str()),
        (link, reason, side),
        "{:#}",
        probed.evidence
    );
}

async fn text(exporter: &Exporter, path: &str) -> String {
    exporter.get(path).await.text().await.unwrap()
}

fn module(keys: &str) -> String {
    format!("modules:\n  m:\n    prober: http\n    timeout: 5s\n{keys}")
}

fn backend(peer: &str) -> String {
    module(&format!("    backends:\n      - {{name: app, address: \"{peer}\"}}\n"))
}

/// Responds with the header of the request.
async fn echo(mut stream: TcpStream) {
    let head = read_head(&mut stream).await;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
    stream.write_all(answer.as_bytes()).await.ok();
    stream.write_all(&head).await.ok();
}

#[tokio::test]
async fn a_healthy_backend_behind_a_failing_edge_means_an_upstream_fault() {
    let (edge, app) = (Peer::answering(BARE_502).await, Peer::start(ok).await);
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    let probed = exporter.probe("m", &edge.http()).await;
    is(&probed, "upstream", "upstream.unreachable", "gateway");
    assert_eq!(probed.page.value("probe_backend_success{backend=\"app\"}"), 1.0);
    assert_eq!(
        probed.page.value("probe_backend_http_status_code{backend=\"app\"}"),
        200.0
    );
    assert!(
        probed
            .page
            .find("probe_backend_duration_seconds{backend=\"app\",phase=\"connect\"}")
            .is_some()
    );
    assert!(probed.page.find("probe_diagnostics_duration_seconds").is_some());
    let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
    let asked = format!("A direct request to app ({}) returned 200", app.address);
    assert!(sentence.contains(&asked), "{sentence}");
}

/// Several networks may have the same link-local address. The zone selects one of them.
#[tokio::test]
async fn a_backend_is_reached_in_its_zone() {
    let edge = Peer::answering(BARE_502).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(ok(stream));
        }
    });
    let exporter = Exporter::start(&backend(&format!("[::1%lo]:{port}"))).await;
    let probed = exporter.probe("m", &edge.http()).await;
    is(&probed, "upstream", "upstream.unreachable", "gateway");
    let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
    let asked = format!("A direct request to app ([::1%lo]:{port}) returned 200");
    assert!(sentence.contains(&asked), "{sentence}");
    let exporter = Exporter::start(&backend(&format!("[::1%nosuch0]:{port}"))).await;
    let probed = exporter.probe("m", &edge.http()).await;
    // The exporter's host has no such zone, so nothing is known about the backend.
    assert!(probed.page.find("probe_backend_success{backend=\"app\"}").is_none());
    is(&probed, "upstream", "upstream.failed", "none");
}

/// A backend to which no request can be sent appears in the evidence with the cause. Its gauges are absent, because they
/// would show it as down.
#[tokio::test]
async fn a_backend_that_the_policy_denies_is_shown_without_gauges() {
    let edge = Peer::answering(BARE_502).await;
    let config = backend("127.0.0.2:8080") + "policy:\n  networks: {deny: [127.0.0.2/32]}\n";
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", &edge.http()).await;
    let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("A direct request to app (127.0.0.2:8080) failed"),
        "{sentence}"
    );
    assert!(sentence.contains("(inconclusive)"), "{sentence}");
    assert_ne!(probed.evidence["verdict"]["side"], "origin");
    assert!(probed.page.find("probe_backend_success{backend=\"app\"}").is_none());
    let experiment = &probed.evidence["diagnostics"][0];
    assert_eq!(
        experiment["conclusion"], "inconclusive: the exporter could not send a request",
        "{experiment}"
    );
}

#[tokio::test]
async fn a_backend_that_refuses_connections_is_named_with_the_cause() {
    let edge = Peer::answering(BARE_502).await;
    let exporter = Exporter::start(&backend(&format!("127.0.0.1:{}", free_port()))).await;
    let probed = exporter.probe("m", &edge.http()).await;
    is(&probed, "upstream", "upstream.connection_refused", "origin");
    assert_eq!(probed.page.value("probe_backend_success{backend=\"app\"}"), 0.0);
    assert_eq!(
        probed.page.value("probe_backend_http_status_code{backend=\"app\"}"),
        0.0
    );
}

#[tokio::test]
async fn the_first_healthy_backend_bounds_the_chain() {
    let (edge, lb) = (Peer::answering(BARE_502).await, Peer::answering(BARE_502).await);
    let app = Peer::start(ok).await;
    let config = module(&format!(
        "    backends:\n      - {{name: lb, address: \"{}\"}}\n      - {{name: app, address: \"{}\"}}\n",
        lb.address, app.address
    ));
    let probed = Exporter::start(&config).await.probe("m", &edge.http()).await;
    is(&probed, "upstream", "upstream.unreachable", "gateway");
    assert_eq!(verdict(&probed).3, "backend-fails-alike");
}

#[tokio::test]
async fn a_backend_gets_the_edges_host_and_the_modules_fields_only_if_the_module_names_it() {
    let edge = Peer::answering(BARE_502).await;
    let app = Peer::start(echo).await;
    let secret = "    http:\n      headers: {X-Key: not-to-be-sent}\n      fail_if_body_matches_regexp: ['SEEN']\n";
    let asserting = |pattern: &str| secret.replace("SEEN", pattern);
    let target = format!("{}/path?q=1", edge.http().trim_end_matches('/'));
    let authority = edge.address.to_string();
    // A backend that fails the module's assertion shows which response was matched.
    for (config, url, pattern, fails) in [
        (backend(&app.address.to_string()), "", "GET /path.q=1 HTTP", 0.0),
        (backend(&app.address.to_string()), "", "not-to-be-sent", 0.0),
        (module(""), "&backend=app@ADDR", "not-to-be-sent", 1.0),
        (
            backend(&app.address.to_string()),
            "&backend=app@ADDR",
            "not-to-be-sent",
            0.0,
        ),
        (
            backend(&app.address.to_string()),
            "&backend=app@ADDR;host=other.test",
            "not-to-be-sent",
            1.0,
        ),
        (
            module(""),
            "&backend=app@ADDR;host=other.test",
            "(?i)host: other.test",
            0.0,
        ),
        (
            backend(&app.address.to_string()),
            "",
            &format!("(?i)host: {authority}"),
            0.0,
        ),
    ] {
        let exporter = Exporter::start(&format!("{config}{}", asserting(pattern))).await;
        let url = url.replace("ADDR", &app.address.to_string()).replace(';', "%3B");
        let page = text(
            &exporter,
            &format!("/probe?module=m&target={}{url}", target.replace('?', "%3F")),
        )
        .await;
        assert!(
            page.contains(&format!("probe_backend_success{{backend=\"app\"}} {fails}")),
            "{pattern}: {page}"
        );
    }
}

#[tokio::test]
async fn invalid_backends_in_the_url_are_rejected() {
    let exporter = Exporter::start(&module("")).await;
    let said = text(&exporter, "/probe?module=m&target=127.0.0.1:1&backend=app").await;
    assert!(
        said.contains("Parameter backend: \"app\" is not a valid backend"),
        "{said}"
    );
}

#[tokio::test]
async fn a_successful_response_masks_a_dead_backend() {
    let edge = Peer::start(ok).await;
    let exporter = Exporter::start(&backend(&format!("127.0.0.1:{}", free_port()))).await;
    let probed = exporter.probe("m", &edge.http()).await;
    is(&probed, "upstream", "upstream.connection_refused", "origin");
    assert_eq!(probed.evidence["verdict"]["masked"], Value::Bool(true));
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_masked"), 1.0);
    let failures: f64 = probed
        .page
        .starting("probe_failures_total{")
        .map(|(_, value)| value)
        .sum();
    assert_eq!(failures, 0.0, "a masked probe must not count as failed");
}

#[tokio::test]
async fn a_masked_failure_stays_masked_without_diagnostics_in_every_probe() {
    let edge = Peer::start(ok).await;
    let app = Peer::answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    for _ in 0..3 {
        let probed = exporter.probe("m", &edge.http()).await;
        assert_eq!(probed.page.value("probe_masked"), 1.0);
        is(&probed, "origin", "origin.status", "none");
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_healthy_edge_gets_diagnostics_first_and_then_not_with_every_probe() {
    let (edge, app) = (Peer::start(ok).await, Peer::start(ok).await);
    let address = app.address.to_string();
    for (drill, probes) in [("on_failure", 1), ("always", 3), ("never", 0), ("false", 0)] {
        let asked = app.connections();
        let exporter = Exporter::start(&format!(
            "{}    diagnostics: {{backends: {drill}}}\n",
            backend(&address)
        ))
        .await;
        for _ in 0..3 {
            let probed = exporter.probe("m", &edge.http()).await;
            assert_eq!(probed.page.value("probe_masked"), 0.0);
        }
        assert_eq!(app.connections() - asked, probes, "{drill}");
    }
}

#[tokio::test]
async fn an_overloaded_system_gets_no_more_diagnostics_and_keeps_its_verdict() {
    let edge = Peer::answering(BARE_502).await;
    let app = Peer::start(ok).await;
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    for _ in 0..4 {
        let probed = exporter.probe("m", &edge.http()).await;
        is(&probed, "upstream", "upstream.unreachable", "gateway");
        assert_eq!(probed.page.value("probe_backend_success{backend=\"app\"}"), 1.0);
    }
    // One direct request, and two repeated ones.
    assert_eq!(app.connections(), 3);
    assert_eq!(edge.connections(), 6);
}

/// Diagnostics are reused for 10 s and then repeated. The verdict of a lasting failure stays the same.
#[tokio::test]
async fn a_lasting_failure_gets_repeated_diagnostics() {
    let silent = |mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    };
    let (edge, app) = (Peer::start(silent).await, Peer::start(silent).await);
    // On a busy machine, one second may be too short for the request to the application.
    let config = backend(&app.address.to_string()).replace("5s", "3s");
    let exporter = Exporter::start(&config).await;
    while app.connections() < 3 {
        let probed = exporter.probe("m", &edge.http()).await;
        is(&probed, "upstream", "upstream.http_response_timeout", "origin");
    }
}

#[tokio::test]
async fn a_different_failure_gets_new_diagnostics_at_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let edge = Peer::start(move |mut stream: TcpStream| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
            let status = if number == 0 {
                "502 Bad Gateway"
            } else {
                "503 Service Unavailable"
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    })
    .await;
    let app = Peer::start(ok).await;
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    exporter.probe("m", &edge.http()).await;
    let asked = app.connections();
    exporter.probe("m", &edge.http()).await;
    assert_eq!(app.connections(), asked + 1);
}

/// The second failure differs from the first, so its diagnostics would not be reused.
#[tokio::test]
async fn diagnostics_beyond_the_budget_do_not_run_and_imply_nothing() {
    let answers = ["502 Bad Gateway", "503 Service Unavailable"];
    for (keys, limits, key) in [
        // One direct request, and two repeated ones to each of the two machines.
        ("{budget: 5/h}", "", "diagnostics.budget"),
        ("{}", "limits: {diagnostics: 5/h}\n", "limits.diagnostics"),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let edge = Peer::start(move |mut stream: TcpStream| {
            let status = answers[count.fetch_add(1, Ordering::SeqCst).min(1)];
            async move {
                read_head(&mut stream).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        })
        .await;
        let app = Peer::start(ok).await;
        let config = format!("{limits}{}    diagnostics: {keys}\n", backend(&app.address.to_string()));
        let exporter = Exporter::start(&config).await;
        let first = exporter.probe("m", &edge.http()).await;
        is(&first, "upstream", "upstream.unreachable", "gateway");
        let experiment = &first.evidence["diagnostics"][0];
        assert_eq!(
            (&experiment["name"], &experiment["repeated"]),
            (&"backends".into(), &1.into())
        );
        assert_eq!(experiment["conclusion"], "the failure disappears with this change");
        for _ in 0..2 {
            let probed = exporter.probe("m", &edge.http()).await;
            assert_eq!(verdict(&probed).2, "none", "no side is known: {:#}", probed.evidence);
            let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
            assert!(sentence.contains("raise the budget that refused"), "{sentence}");
            assert_eq!(probed.page.find("probe_backend_success{backend=\"app\"}"), None);
            let experiment = &probed.evidence["diagnostics"][0];
            assert_eq!(
                experiment["skipped"],
                format!("not run: budget ({key})"),
                "{experiment:#}"
            );
            assert_eq!((&experiment["repeated"], &experiment["failed"]), (&0.into(), &0.into()));
            assert_eq!(experiment["conclusion"], Value::Null);
            let id = probed.evidence["id"].as_str().unwrap();
            let page = text(&exporter, &format!("/evidence/{id}")).await;
            assert!(
                page.contains(&format!("not run: budget (<code>{key}</code>)")),
                "{page}"
            );
        }
        assert_eq!(app.connections(), 3);
        let hits = exporter.own("glassbox_limit_hits_total{limit=\"diagnostics\"}").await;
        assert_eq!(hits, if limits.is_empty() { 0.0 } else { 2.0 });
    }
}

/// The direct request shows that the success hides a broken link. Once the budget refuses to repeat it, nothing shows that the
/// link is healthy again, so it remains due.
#[tokio::test]
async fn a_masked_failure_stays_due_while_the_budget_refuses_to_look() {
    let silent = |mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    };
    let (edge, lb) = (Peer::start(ok).await, Peer::start(silent).await);
    let app = Peer::answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
    let config = module(&format!(
        "    backends:\n      - {{name: lb, address: \"{}\"}}\n      - {{name: app, address: \"{}\"}}\n    diagnostics: {{budget: 2/h}}\n",
        lb.address, app.address
    ));
    let config = config.replace("timeout: 5s", "timeout: 10s");
    let exporter = Exporter::start(&config).await;
    let first = exporter.probe_within("m", &edge.http(), "1.5").await;
    assert_eq!(first.page.value("probe_masked"), 1.0, "{:#}", first.evidence);
    // A result under a short timeout is not reused under a longer one.
    for _ in 0..2 {
        let probed = exporter.probe_within("m", &edge.http(), "10").await;
        assert_eq!(probed.page.value("probe_masked"), 0.0);
        let skipped = &probed.evidence["diagnostics"][0]["skipped"];
        assert_eq!(skipped, "not run: budget (diagnostics.budget)", "{:#}", probed.evidence);
    }
    assert_eq!(app.connections(), 1);
}

/// If the other addresses are not probed, the number of healthy ones is not known.
#[tokio::test]
async fn addresses_beyond_the_budget_are_not_counted() {
    let app = Peer::start(ok).await;
    let others = (1..=3).map(|last| std::net::IpAddr::from([127, 0, 0, last]));
    let resolver = DnsServer::always(Says::Addresses(others.collect())).await;
    let keys = format!(
        "    resolver: [\"{}\"]\n    addresses: all\n    diagnostics: {{budget: 1/m}}\n    http: {{preferred_ip_protocol: ip4}}\n",
        resolver.address
    );
    let exporter = Exporter::start(&module(&keys)).await;
    let probed = exporter
        .probe("m", &format!("http://shop.test:{}/", app.address.port()))
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(
        probed.page.find("probe_addresses{state=\"ok\"}"),
        None,
        "{:#}",
        probed.evidence
    );
    assert_eq!(probed.page.find("probe_diagnostics_duration_seconds"), None);
    assert_eq!(probed.evidence["diagnostics"][0]["name"], "addresses");
    assert_eq!(probed.evidence["verdict"], Value::Null);
}

#[tokio::test]
async fn backends_are_probed_before_the_deadline_of_a_waiting_edge() {
    let silent = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = backend(&format!("127.0.0.1:{}", free_port())).replace("5s", "1s");
    let probed = Exporter::start(&config).await.probe("m", &silent.http()).await;
    is(&probed, "upstream", "upstream.connection_refused", "origin");
}

#[tokio::test]
async fn a_request_past_the_caches_may_reveal_a_failure() {
    let edge = Peer::start(|mut stream: TcpStream| async move {
        let head = read_head(&mut stream).await;
        let fresh = String::from_utf8_lossy(&head).contains("GET /?glassbox=");
        let answer = if fresh {
            BARE_502
        } else {
            "HTTP/1.1 200 OK\r\nAge: 30\r\nContent-Length: 0\r\n\r\n"
        };
        stream.write_all(answer.as_bytes()).await.ok();
    })
    .await;
    let exporter = Exporter::start(&module("    diagnostics: {cache_bypass: 2}\n")).await;
    let masked = |probed: &Probed| probed.page.value("probe_masked");
    let first = exporter.probe("m", &edge.http()).await;
    is(&first, "upstream", "upstream.failed", "none");
    assert_eq!(masked(&first), 1.0);
    assert_eq!(first.page.value("probe_http_from_cache"), 1.0);
    assert_eq!(first.page.value("probe_http_age_seconds"), 30.0);
    assert_eq!(
        masked(&exporter.probe("m", &edge.http()).await),
        1.0,
        "the failure must stay masked"
    );
    // Without failures, every second probe bypasses the caches.
    let well = Peer::start(ok).await;
    for _ in 0..3 {
        assert_eq!(masked(&exporter.probe("m", &well.http()).await), 0.0);
    }
    assert_eq!(well.connections(), 3 + 2);
}

#[tokio::test]
async fn an_answer_with_the_request_id_of_the_last_one_comes_from_a_cache() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nX-Request-Id: 0123456789\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start(&module("")).await;
    let first = exporter.probe("m", &peer.http()).await;
    assert_eq!(first.page.find("probe_http_from_cache"), None);
    let second = exporter.probe("m", &peer.http()).await;
    assert_eq!(second.page.value("probe_http_from_cache"), 1.0);
}

#[tokio::test]
async fn the_response_to_an_invalid_request_shows_that_the_gateway_is_up() {
    // The edge forwards no response of its upstream, and rejects invalid HTTP itself.
    let edge = Peer::start(|mut stream: TcpStream| async move {
        let head = read_head(&mut stream).await;
        let head = String::from_utf8_lossy(&head);
        if head.contains("\r\nBad Name: x\r\n") {
            let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal.as_bytes()).await.ok();
        }
    })
    .await;
    let without = Exporter::start(&module("")).await.probe("m", &edge.http()).await;
    is(&without, "edge", "http.closed_before_response", "none");
    let keys = "    diagnostics: {reference_request: true}\n    http:\n      headers: {X-Key: not-to-be-sent}\n";
    let with = Exporter::start(&module(keys)).await.probe("m", &edge.http()).await;
    is(&with, "upstream", "upstream.invalid_response", "none");
    assert_eq!(verdict(&with).3, "exchange-broken-behind-gateway");
    let reply = &with.evidence["investigation"]["reference_request"]["exchanges"][0]["reply"];
    assert_eq!(reply["status"], 400);
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_detected() {
    let authority = Authority::new();
    let peer = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let exporter = Exporter::start(&module("")).await;
    let probed = exporter.probe("m", &format!("http://{}", peer.address)).await;
    is(&probed, "tls", "tls.required", "none");
}

#[tokio::test]
async fn a_slow_response_is_attributed_to_origin_or_gateway() {
    async fn late(mut stream: TcpStream) {
        read_head(&mut stream).await;
        // Five times the limit of the module.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .ok();
    }
    let (edge, slow) = (Peer::start(late).await, Peer::start(late).await);
    let keys = "    http:\n      fail_if_slower_than: 200ms\n";
    let alone = Exporter::start(&module(keys)).await.probe("m", &edge.http()).await;
    is(&alone, "origin", "origin.slow", "none");
    let config = format!("{}{keys}", backend(&slow.address.to_string()));
    let both = Exporter::start(&config).await.probe("m", &edge.http()).await;
    is(&both, "origin", "origin.slow", "none");
    assert_eq!(both.evidence["verdict"]["certainty"], "certain");
}

#[tokio::test]
async fn excess_bytes_after_a_successful_response_are_masked() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay").await;
    let probed = Exporter::start(&module("")).await.probe("m", &peer.http()).await;
    is(&probed, "origin", "http.excess_body", "none");
    assert_eq!(probed.page.value("probe_masked"), 1.0);
}

fn controls(resolver: &str, controls: &str) -> String {
    format!(
        "controls:\n{controls}{}",
        module(&format!("    resolver: [\"{resolver}\"]\n"))
    )
}

#[tokio::test]
async fn without_reachable_controls_the_fault_is_local() {
    let closed = format!("  - address: 127.0.0.1:{}\n", free_port());
    let config = controls("127.0.0.1:53", &closed);
    let exporter = Exporter::start(&config).await;
    // The broadcast address of loopback has no route.
    let probed = exporter.probe("m", "http://127.255.255.255:8/").await;
    is(&probed, "local", "local.controls_failed", "none");
    assert_eq!(probed.page.value("probe_vantage_healthy"), 0.0);
    assert!(text(&exporter, "/metrics").await.contains("glassbox_vantage_healthy 0"));
    // A target that refuses or responds is reachable, even if all controls fail.
    let refused = exporter.probe("m", &format!("http://127.0.0.1:{}/", free_port())).await;
    is(&refused, "edge", "tcp.refused", "none");
    let app = Peer::answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(verdict(&exporter.probe("m", &app.http()).await).0, "unknown");
}

#[tokio::test]
async fn a_reachable_control_does_not_change_the_verdict() {
    let control = Peer::start(ok).await;
    let config = controls("127.0.0.1:53", &format!("  - address: {}\n", control.address));
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", &format!("http://127.0.0.1:{}/", free_port())).await;
    is(&probed, "edge", "tcp.refused", "none");
    assert_eq!(probed.page.value("probe_vantage_healthy"), 1.0);
    assert!(text(&exporter, "/metrics").await.contains("glassbox_vantage_healthy 1"));
    let without = Exporter::start(&module("")).await;
    let probed = without.probe("m", &control.http()).await;
    assert_eq!(probed.page.find("probe_vantage_healthy"), None);
    assert!(!text(&without, "/metrics").await.contains("glassbox_vantage_healthy"));
}

#[tokio::test]
async fn a_resolver_that_fails_for_controls_also_failed_for_the_target() {
    let silent = DnsServer::start(|name, _| match name {
        "target.test" => Says::Nothing,
        _ => Says::Code(ResponseCode::Refused),
    })
    .await;
    let config = controls(&silent.address.to_string(), "  - name: control.test\n");
    let probed = Exporter::start(&config).await.probe("m", "http://target.test/").await;
    is(&probed, "local", "local.resolver_unreachable", "none");
    assert_eq!(verdict(&probed).3, "resolver-failed");
}

/// A control may need longer than a probe with a short timeout has left. It goes on without the probe, and a later one reads its result.
#[tokio::test]
async fn a_silent_resolver_is_noticed_by_probes_with_a_short_timeout() {
    let silent = DnsServer::start(|name, _| match name {
        "reached.test" => Says::Addresses(vec!["127.0.0.1".parse().unwrap()]),
        _ => Says::Nothing,
    })
    .await;
    for (names, link, reason) in [
        (["one.test", "two.test"], "local", "local.resolver_unreachable"),
        // The twin: a control resolves, so the fault is in the zone of the target.
        (["one.test", "reached.test"], "dns", "dns.timed_out"),
    ] {
        let names = names.map(|name| format!("  - name: {name}\n")).concat();
        let config = controls(&silent.address.to_string(), &names).replace("timeout: 5s", "timeout: 1s");
        let exporter = Exporter::start(&config).await;
        eventually(reason, async || {
            let probed = exporter.probe("m", "http://target.test/").await;
            let (found, why, ..) = verdict(&probed);
            // Without a result of the controls, no verdict against the target is certain.
            assert!(
                found == link || probed.evidence["verdict"]["certainty"] != "certain",
                "{:#}",
                probed.evidence
            );
            (found.as_str(), why.as_str()) == (link, reason) && probed.page.find("probe_vantage_healthy").is_some()
        })
        .await;
    }
}

/// Nothing but a fault of the exporter's own network explains that controls at two places are silent. A response from any of them, if only
/// a refusal or a DNS error, proves that packets get through.
#[tokio::test]
async fn failed_controls_are_certain_only_at_two_places_and_without_any_response() {
    let is_down = Arc::new(AtomicBool::new(false));
    let resolver = DnsServer::start({
        let is_down = is_down.clone();
        move |name, _| match name {
            _ if is_down.load(Ordering::SeqCst) => Says::Nothing,
            "refused.test" => Says::Code(ResponseCode::Refused),
            "absent.test" | "absent.example" => Says::Code(ResponseCode::NXDomain),
            "up.test" | "up.example" => Says::Addresses(vec!["127.0.0.1".parse().unwrap()]),
            _ => Says::Nothing,
        }
    })
    .await;
    let [first, second] = [free_port(), free_port()].map(|port| format!("  - address: 127.0.0.1:{port}\n"));
    let name = |name: &str| format!("  - name: {name}\n");
    let (silent, no_route) = ("http://target.test/", "http://127.255.255.255:8/");
    for (specs, target) in [
        // These two never responded, so perhaps the exporter could never reach them.
        ([name("one.test"), name("two.example")], silent),
        ([name("one.test"), name("one.test")], silent),
        ([name("one.test"), name("refused.test")], silent),
        ([name("absent.test"), name("absent.example")], silent),
        ([first, second], no_route),
    ] {
        let config = controls(&resolver.address.to_string(), &specs.concat());
        let probed = Exporter::start(&config).await.probe("m", target).await;
        let verdict = &probed.evidence["verdict"];
        let found = (&verdict["link"], &verdict["certainty"]);
        assert_eq!(
            found,
            (&"local".into(), &"likely".into()),
            "{specs:?}: {:#}",
            probed.evidence
        );
    }
    // Both responded before the resolver stopped.
    let config = controls(
        &resolver.address.to_string(),
        &[name("up.test"), name("up.example")].concat(),
    );
    let exporter = Exporter::start(&config).await;
    exporter.probe("m", no_route).await;
    is_down.store(true, Ordering::SeqCst);
    let probed = exporter.probe("m", silent).await;
    is(&probed, "local", "local.resolver_unreachable", "none");
    assert_eq!(
        probed.evidence["verdict"]["certainty"], "certain",
        "{:#}",
        probed.evidence
    );
}

/// A backend that needs longer than the short timeout of one caller is healthy for another caller with a longer one.
#[tokio::test]
async fn an_investigation_under_a_short_timeout_is_not_reused_under_a_longer_one() {
    let edge = Peer::answering(BARE_502).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let app = Peer::start({
        let asked = asked.clone();
        move |stream| {
            asked.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                ok(stream).await;
            }
        }
    })
    .await;
    let exporter = Exporter::start(&backend(&app.address.to_string()).replace("timeout: 5s", "timeout: 10s")).await;
    let target = edge.http();
    let probe = async |timeout: &'static str| exporter.probe_within("m", &target, timeout).await;
    let short = probe("1.5").await;
    assert_eq!(short.page.value("probe_backend_success{backend=\"app\"}"), 0.0);
    let long = probe("10").await;
    is(&long, "upstream", "upstream.unreachable", "gateway");
    assert_eq!(long.page.value("probe_backend_success{backend=\"app\"}"), 1.0);
    // What had enough time serves both.
    let asked_until_now = asked.load(Ordering::SeqCst);
    for timeout in ["1.5", "10"] {
        assert_eq!(
            probe(timeout)
                .await
                .page
                .value("probe_backend_success{backend=\"app\"}"),
            1.0
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), asked_until_now);
}

#[tokio::test]
async fn responses_for_every_name_mean_a_captive_portal() {
    let portal = Peer::start(ok).await;
    let resolver = DnsServer::always(Says::Addresses(vec![portal.address.ip()])).await;
    let config = controls(&resolver.address.to_string(), "  - name: control.test\n");
    let exporter = Exporter::start(&config).await;
    let probed = exporter
        .probe("m", &format!("http://shop.test:{}/", portal.address.port()))
        .await;
    is(&probed, "local", "local.captive_portal", "none");
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_masked"), 1.0);
}

#[tokio::test]
async fn a_control_with_an_unexpected_address_means_a_captive_portal() {
    let portal = Peer::start(ok).await;
    let resolver = DnsServer::start(|name, _| match name {
        "control.test" | "shop.test" => Says::Addresses(vec!["127.0.0.1".parse().unwrap()]),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let control = "  - {name: control.test, expect: [127.0.0.8]}\n";
    let exporter = Exporter::start(&controls(&resolver.address.to_string(), control)).await;
    let target = format!("http://shop.test:{}", portal.address.port());
    // The site of the control may have moved, so a success stays a success, and a failure is likely, not certain.
    assert_eq!(exporter.probe("m", &target).await.evidence["verdict"], Value::Null);
    let refused = exporter.probe("m", &format!("http://shop.test:{}", free_port())).await;
    is(&refused, "local", "local.captive_portal", "none");
    assert_eq!(refused.evidence["verdict"]["certainty"], "likely");
    // A target given by address is not affected by DNS.
    assert_eq!(
        exporter.probe("m", &portal.http()).await.evidence["verdict"],
        Value::Null
    );
}

#[tokio::test]
async fn a_backend_that_denies_only_the_exporter_masks_nothing() {
    let edge = Peer::start(ok).await;
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n",
    ] {
        let app = Peer::answering(answer).await;
        let exporter = Exporter::start(&backend(&app.address.to_string())).await;
        assert_eq!(exporter.probe("m", &edge.http()).await.evidence["verdict"], Value::Null);
    }
    // The same applies to a certificate of a CA that only the gateway trusts.
    let app = Peer::with_tls(Authority::new().leaf("127.0.0.1").server(&[]), ok).await;
    let config = backend(&app.address.to_string()).replace("}\n", ", tls: true}\n");
    let exporter = Exporter::start(&config).await;
    assert_eq!(exporter.probe("m", &edge.http()).await.evidence["verdict"], Value::Null);
}

#[tokio::test]
async fn reused_diagnostics_give_the_same_verdict() {
    const NGINX: &str = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 70\r\n\r\n\
                         <html><center><h1>502</h1></center><hr><center>nginx</center>  </html>";
    let (edge, lb) = (Peer::answering(BARE_502).await, Peer::answering(NGINX).await);
    let exporter = Exporter::start(&backend(&lb.address.to_string())).await;
    let first = verdict(&exporter.probe("m", &edge.http()).await);
    assert_eq!(first.0, "upstream");
    for _ in 0..2 {
        assert_eq!(verdict(&exporter.probe("m", &edge.http()).await), first);
    }
    assert_eq!(lb.connections(), 1);
}

#[tokio::test]
async fn a_backend_from_the_url_does_not_get_the_body() {
    let edge = Peer::answering(BARE_502).await;
    let app = Peer::start(echo).await;
    let keys = "    http: {method: POST, body: not-to-be-sent, fail_if_body_matches_regexp: ['^POST']}\n";
    let exporter = Exporter::start(&module(keys)).await;
    let probed = exporter
        .probe_for("m", &edge.http(), &format!("&backend=app@{}", app.address))
        .await;
    assert_eq!(
        probed.page.value("probe_backend_success{backend=\"app\"}"),
        1.0,
        "the backend must be probed with GET"
    );
}

/// The application fails in one of the three direct requests, so the edge's failures are its own.
#[tokio::test]
async fn an_intermittent_application_does_not_become_the_gateways_fault() {
    let count = Arc::new(AtomicUsize::new(0));
    let app = Peer::start(move |mut stream: TcpStream| {
        let is_healthy = !count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            read_head(&mut stream).await;
            let status = if is_healthy {
                "200 OK"
            } else {
                "500 Internal Server Error"
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    })
    .await;
    let edge = Peer::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    // The first direct request fails, or the second one.
    for _ in 0..2 {
        let probed = exporter.probe("m", &edge.http()).await;
        let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
        assert_eq!(probed.evidence["verdict"]["link"], "origin", "{sentence}");
        assert_eq!(probed.evidence["verdict"]["certainty"], "likely", "{sentence}");
        assert!(!sentence.contains("healthy"), "{sentence}");
    }
}

/// The same failing edge, before and after its fault becomes lasting.
#[tokio::test]
async fn a_side_requires_repeated_failures() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let edge = Peer::start(move |mut stream: TcpStream| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
            let status = if number == 1 { "200 OK" } else { "502 Bad Gateway" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    })
    .await;
    let app = Peer::start(ok).await;
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    let probed = exporter.probe("m", &edge.http()).await;
    let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
    assert_eq!(verdict(&probed).2, "none", "{sentence}");
    assert!(
        sentence.contains("The fault is intermittent: 2 of 3 requests to the edge failed."),
        "{sentence}"
    );
    let repeated = &probed.evidence["investigation"]["repetition"];
    assert_eq!(repeated["target"].as_array().unwrap().len(), 2, "{repeated:#}");
    assert_eq!(repeated["backends"].as_array().unwrap().len(), 2, "{repeated:#}");
    let lasting = Peer::answering(BARE_502).await;
    let probed = exporter.probe("m", &lasting.http()).await;
    is(&probed, "upstream", "upstream.unreachable", "gateway");
    assert_eq!(
        probed.evidence["verdict"]["between"],
        serde_json::json!(["edge", "app"])
    );
}

/// An unsafe request is not repeated.
#[tokio::test]
async fn a_post_request_is_not_repeated() {
    let (edge, app) = (Peer::answering(BARE_502).await, Peer::start(ok).await);
    let config = format!(
        "{}    http: {{method: POST, body: x}}\n",
        backend(&app.address.to_string())
    );
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", &edge.http()).await;
    assert_eq!(edge.connections(), 1, "{:#}", probed.evidence);
    assert_eq!(verdict(&probed).2, "none");
}

#[tokio::test]
async fn each_member_of_a_pool_receives_a_request_and_one_healthy_member_does_not_acquit() {
    let (edge, healthy) = (Peer::answering(BARE_502).await, Peer::start(ok).await);
    let broken = Peer::start(|stream: TcpStream| async move { drop(stream) }).await;
    let by_name = DnsServer::always(Says::Addresses(vec![
        "127.0.0.1".parse().unwrap(),
        "127.0.0.2".parse().unwrap(),
    ]))
    .await;
    let members = format!("[\"{}\", \"{}\"]", healthy.address, broken.address);
    let name = format!("app.test:{}", healthy.address.port());
    for (members, failed) in [(members.as_str(), "3 of 6"), (name.as_str(), "3 of 6")] {
        let config = module(&format!(
            "    resolver: [\"{}\"]\n    backends:\n      - {{name: app, members: {members}, reachable: true}}\n",
            by_name.address
        ));
        let exporter = Exporter::start(&config).await;
        let probed = exporter.probe("m", &edge.http()).await;
        let sentence = probed.evidence["verdict"]["sentence"].as_str().unwrap();
        assert!(
            sentence.contains(&format!("{failed} direct requests to app failed")),
            "{sentence}"
        );
        assert!(!sentence.contains("healthy"), "{sentence}");
        assert_ne!(verdict(&probed).2, "gateway", "{sentence}");
        assert_eq!(probed.page.value("probe_backend_success{backend=\"app\"}"), 0.0);
        assert_eq!(
            probed.evidence["investigation"]["backends"].as_array().unwrap().len(),
            2
        );
    }
}

#[tokio::test]
async fn addresses_all_probes_every_address_of_a_name() {
    let app = Peer::start(ok).await;
    let resolver = DnsServer::always(Says::Addresses(vec![
        "127.0.0.1".parse().unwrap(),
        "127.0.0.2".parse().unwrap(),
    ]))
    .await;
    let keys = format!(
        "    resolver: [\"{}\"]\n    addresses: all\n    http: {{preferred_ip_protocol: ip4}}\n",
        resolver.address
    );
    let exporter = Exporter::start(&module(&keys)).await;
    let probed = exporter
        .probe("m", &format!("http://shop.test:{}/", app.address.port()))
        .await;
    assert_eq!(
        probed.page.value("probe_addresses{state=\"ok\"}"),
        1.0,
        "{:#}",
        probed.evidence
    );
    assert_eq!(probed.page.value("probe_addresses{state=\"failed\"}"), 1.0);
    let others = &probed.evidence["investigation"]["addresses"];
    assert_eq!(others[0]["address"], "127.0.0.2");
    assert_eq!(others[0]["report"]["fault"]["reason"], "tcp.refused");
}

#[tokio::test]
async fn evidence_is_available_as_an_http_archive() {
    let (edge, app) = (Peer::answering(BARE_502).await, Peer::start(ok).await);
    let exporter = Exporter::start(&backend(&app.address.to_string())).await;
    let probed = exporter.probe("m", &edge.http()).await;
    let id = probed.evidence["id"].as_str().unwrap();
    let archive: Value = serde_json::from_str(&text(&exporter, &format!("/evidence/{id}.har")).await).unwrap();
    let log = &archive["log"];
    assert_eq!(log["version"], "1.2");
    let expected = [
        ("edge", 502),
        ("backend_app", 200),
        ("repetition", 502),
        ("repetition_2", 502),
        ("repetition_app", 200),
        ("repetition_app_2", 200),
    ];
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(
        (log["pages"].as_array().unwrap().len(), entries.len()),
        (expected.len(), expected.len())
    );
    for (entry, (page, status)) in entries.iter().zip(expected) {
        assert_eq!(entry["pageref"], page);
        assert_eq!(entry["response"]["status"], status);
        assert_eq!(entry["request"]["method"], "GET");
        let timings = entry["timings"].as_object().unwrap();
        let parts = ["dns", "connect", "send", "wait", "receive"];
        let sum: f64 = parts.iter().map(|part| timings[*part].as_f64().unwrap().max(0.0)).sum();
        assert!((sum - entry["time"].as_f64().unwrap()).abs() < 1e-6, "{entry:#}");
    }
}
