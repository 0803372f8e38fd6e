//! Each limit is reached once, is reported, and does not affect anything else.

use crate::redirects::Request;
use crate::serving::Running;
use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::held::Held;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use reqwest::StatusCode;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

fn scrape(exporter: &Exporter, target: &str) -> impl Future<Output = (StatusCode, String)> + Send + use<> {
    let url = exporter.url(&format!("/probe?module=m&target={target}"));
    let client = crate::support::http::client();
    async move {
        let answer = client.get(url).send().await.unwrap();
        let status = answer.status();
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        (status, answer.text().await.unwrap())
    }
}

fn limited(limits: &str, module: &str) -> String {
    format!("limits: {{{limits}}}\nmodules:\n  m: {{prober: http, timeout: 30s{module}}}\n")
}

#[tokio::test]
async fn a_probe_over_the_limit_gets_503_and_does_not_affect_others() {
    let held = Held::start().await;
    let exporter = Exporter::start(&limited("probes: 2, queue: 10ms", "")).await;
    let mut taken = JoinSet::new();
    for key in ["a", "b"] {
        taken.spawn(scrape(&exporter, &format!("{}{key}", held.peer.http())));
    }
    held.holds(2).await;
    for key in ["c", "d", "e"] {
        let (status, words) = scrape(&exporter, &format!("{}{key}", held.peer.http())).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            words.contains("the exporter has reached its concurrency limit"),
            "{words}"
        );
    }
    assert_eq!(exporter.own("glassbox_probes_in_flight").await, 2.0);
    assert_eq!(exporter.own("glassbox_probes_shed_total{reason=\"probes\"}").await, 3.0);
    assert_eq!(exporter.own("glassbox_limit_hits_total{limit=\"probes\"}").await, 3.0);
    assert_eq!(exporter.own("glassbox_limit{limit=\"probes\"}").await, 2.0);
    held.let_go.send_replace(true);
    for (status, page) in taken.join_all().await {
        assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    }
    let (status, _) = scrape(&exporter, &held.peer.http()).await;
    assert_eq!(status, 200);
    assert_eq!(exporter.own("glassbox_probe_queue_seconds_count").await, 3.0);
}

#[tokio::test]
async fn a_probe_waits_briefly_for_a_permit() {
    let held = Held::start().await;
    let exporter = Exporter::start(&limited("probes: 1, queue: 10s", "")).await;
    let first = tokio::spawn(scrape(&exporter, &format!("{}a", held.peer.http())));
    held.holds(1).await;
    let second = tokio::spawn(scrape(&exporter, &format!("{}b", held.peer.http())));
    held.let_go.send_replace(true);
    for probe in [first, second] {
        let (status, page) = probe.await.unwrap();
        assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    }
}

#[tokio::test]
async fn probes_of_one_destination_queue_without_delaying_others() {
    let (held, other) = (Held::start().await, Peer::start(ok).await);
    let exporter = Exporter::start(&limited("per_destination: 1, probes: 3", "")).await;
    let mut probes = JoinSet::new();
    for key in ["a", "b", "c", "d"] {
        probes.spawn(scrape(&exporter, &format!("{}{key}", held.peer.http())));
    }
    held.holds(1).await;
    let (status, page) = scrape(&exporter, &other.http()).await;
    assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    // Waiting probes also count as in flight, because a shutdown waits for them.
    eventually("all probes are in flight", async || {
        exporter.own("glassbox_probes_in_flight").await == 4.0
    })
    .await;
    held.let_go.send_replace(true);
    for (status, page) in probes.join_all().await {
        assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    }
    assert_eq!(held.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_probe_without_a_permit_for_half_of_its_timeout_gets_503() {
    let held = Held::start().await;
    let exporter = Exporter::start(&limited("per_destination: 1", "")).await;
    let first = tokio::spawn(scrape(&exporter, &format!("{}a", held.peer.http())));
    held.holds(1).await;
    let url = exporter.url(&format!("/probe?module=m&target={}b", held.peer.http()));
    let hurried = exporter
        .client()
        .get(url)
        .header("X-Prometheus-Scrape-Timeout-Seconds", "0.7");
    let page = hurried.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("\nprobe_success 0"), "{page}");
    assert!(
        page.contains("link=\"local\"") && page.contains("reason=\"local.concurrency_limit\""),
        "{page}"
    );
    assert_eq!(exporter.own("glassbox_probe_queue_seconds_count").await, 2.0);
    assert_eq!(
        exporter
            .own("glassbox_limit_hits_total{limit=\"per_destination\"}")
            .await,
        1.0
    );
    held.let_go.send_replace(true);
    assert_eq!(first.await.unwrap().0, 200);
}

async fn connect(exporter: &Exporter) -> TcpStream {
    TcpStream::connect(exporter.address).await.unwrap()
}

/// Requests a path on a keep-alive connection. Returns the status, or `None` if the connection was closed.
async fn ask(stream: &mut TcpStream, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let head = String::from_utf8(read_head(stream).await).unwrap();
    let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    head.split(' ').nth(1).map(str::to_owned)
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_new_connection_replaces_the_longest_idle_one() {
    let exporter = Exporter::start(&limited("connections: 8", "")).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&exporter).await;
        assert_eq!(ask(&mut stream, "/-/healthy").await.as_deref(), Some("200"));
        idle.push(stream);
    }
    // The first connection is used repeatedly. The others are idle for longer, and the second one for longest.
    let mut second = idle.remove(1);
    let mut closed = std::pin::pin!(is_closed(&mut second));
    loop {
        let mut newcomer = connect(&exporter).await;
        assert_eq!(ask(&mut newcomer, "/-/healthy").await.as_deref(), Some("200"));
        assert_eq!(ask(&mut idle[0], "/-/healthy").await.as_deref(), Some("200"));
        if let Ok(closed) = tokio::time::timeout(Duration::from_millis(10), &mut closed).await {
            assert!(closed);
            break;
        }
    }
    assert!(exporter.own("glassbox_connections_ended_total{reason=\"room\"}").await >= 1.0);
    assert!(exporter.own("glassbox_limit_hits_total{limit=\"connections\"}").await >= 1.0);
}

#[tokio::test]
async fn health_and_metrics_are_answered_while_every_connection_is_busy() {
    let held = Held::start().await;
    let exporter = Exporter::start(&limited("connections: 8", "")).await;
    let mut probes = JoinSet::new();
    for key in 0..8 {
        probes.spawn(scrape(&exporter, &format!("{}{key}", held.peer.http())));
    }
    held.holds(8).await;
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    let (status, words) = scrape(&exporter, &held.peer.http()).await;
    assert_eq!(status, 503);
    assert!(words.contains("limits.connections"), "{words}");
    assert_eq!(
        exporter.own("glassbox_probes_shed_total{reason=\"connections\"}").await,
        1.0
    );
    held.let_go.send_replace(true);
    for (status, _) in probes.join_all().await {
        assert_eq!(status, 200);
    }
    eventually("a place", async || scrape(&exporter, &held.peer.http()).await.0 == 200).await;
}

#[tokio::test]
async fn an_incomplete_request_times_out_and_an_idle_connection_is_kept() {
    let exporter = Exporter::start(&limited("request_head: 1s", "")).await;
    let mut kept = connect(&exporter).await;
    assert_eq!(ask(&mut kept, "/-/healthy").await.as_deref(), Some("200"));
    let mut silent = connect(&exporter).await;
    let mut slow = connect(&exporter).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
    let mut second = connect(&exporter).await;
    assert_eq!(ask(&mut second, "/-/healthy").await.as_deref(), Some("200"));
    second.write_all(b"GET / HT").await.unwrap();
    for stream in [&mut silent, &mut slow, &mut second] {
        assert!(is_closed(stream).await);
    }
    assert_eq!(ask(&mut kept, "/-/healthy").await.as_deref(), Some("200"));
    assert_eq!(
        exporter
            .own("glassbox_connections_ended_total{reason=\"head_timeout\"}")
            .await,
        3.0
    );
    assert_eq!(
        exporter.own("glassbox_limit_hits_total{limit=\"request_head\"}").await,
        3.0
    );
}

#[tokio::test]
async fn the_configured_limits_apply_to_responses() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let fields = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\nContent-Length: 0\r\n\r\n";
    let large = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n",
        "a".repeat(9000)
    );
    let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{}", "a".repeat(2000));
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
    let matching = ", http: {fail_if_body_matches_regexp: [b]}";
    let numbers = format!("[{}0]", "0,".repeat(100));
    let json = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{numbers}", numbers.len());
    let asking = ", http: {fail_if_body_json_matches_cel: body.size() == 1}";
    for (limit, value, module, answer, reason) in [
        ("interim_responses", "0", "", interim, "http.response.too_many_interim"),
        ("response_fields", "3", "", fields, "http.response.header_too_large"),
        ("response_head", "8KB", "", &large, "http.response.header_too_large"),
        ("matched_body", "1KB", matching, &body, "content.body_too_large"),
        ("json_values", "100", asking, &json, "content.json_too_large"),
        ("redirects", "1", "", redirect, "http.response.redirect_loop"),
    ] {
        let peer = Peer::answering(answer).await;
        let exporter = Exporter::start(&limited(&format!("{limit}: {value}"), module)).await;
        let probed = exporter.probe("m", &peer.http()).await;
        assert_eq!(probed.page.value("probe_success"), 0.0, "{limit}");
        let fault = &probed.evidence["target"]["fault"]["reason"];
        assert_eq!(fault, reason, "{limit}: {:#}", probed.evidence["target"]);
        let known = if limit == "response_fields" {
            "response_head"
        } else {
            limit
        };
        let hits = exporter
            .own(&format!("glassbox_limit_hits_total{{limit=\"{known}\"}}"))
            .await;
        assert_eq!(hits, 1.0, "{limit}");
        // Without the limit, the response is not rejected, except for a redirect to itself.
        let usual = Exporter::start(&limited("", module)).await;
        let well = f64::from(u8::from(limit != "redirects"));
        assert_eq!(
            usual.probe("m", &peer.http()).await.page.value("probe_success"),
            well,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_too_long_parameter_is_rejected_without_a_connection() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start(&limited("parameter: 1KB", "")).await;
    let target = format!("{}{}", peer.http(), "a".repeat(1024));
    let (status, words) = scrape(&exporter, &target).await;
    assert_eq!(
        (status.as_u16(), words.as_str()),
        (400, "Parameter target is too long: expected up to 1024 bytes\n")
    );
    assert_eq!(peer.connections(), 0);
    assert_eq!(
        exporter.own("glassbox_limit_hits_total{limit=\"parameter\"}").await,
        1.0
    );
    let (status, _) = scrape(&exporter, &peer.http()).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_lease_without_a_permit_starts_with_the_next_scrape() {
    let (held, leased) = (Held::start().await, Peer::start(ok).await);
    let exporter = Exporter::start(
        "limits: {probes: 1, queue: 10ms}
modules: {m: {prober: http, timeout: 30s}, leased: {prober: http, timeout: 30s, interval: 60s}}",
    )
    .await;
    let path = format!("/probe?module=leased&target={}", leased.http());
    let lease = async || exporter.get(&path).await.status().as_u16();
    assert_eq!(lease().await, 200);
    let busy = tokio::spawn(scrape(&exporter, &held.peer.http()));
    held.holds(1).await;
    // The second scrape starts the lease.
    assert_eq!(lease().await, 503);
    held.let_go.send_replace(true);
    assert_eq!(busy.await.unwrap().0, 200);
    assert_eq!(lease().await, 200);
    assert_eq!(exporter.own("glassbox_leases").await, 1.0);
}

#[tokio::test]
async fn a_key_over_the_lease_limit_is_probed_by_each_scrape_and_counted() {
    let peer = Peer::start(ok).await;
    let config = "limits: {leases: 1}\nmodules: {m: {prober: http, interval: 60s}}";
    let exporter = Exporter::start(config).await;
    let hits = async || exporter.own("glassbox_limit_hits_total{limit=\"leases\"}").await;
    assert_eq!(exporter.own("glassbox_limit{limit=\"leases\"}").await, 1.0);
    // The second scrape starts the lease. Between its probes, scrapes read the result of the last one.
    let first = format!("{}first", peer.http());
    for _ in 0..3 {
        assert_eq!(scrape(&exporter, &first).await.0, 200);
    }
    assert_eq!((exporter.own("glassbox_leases").await, hits().await), (1.0, 0.0));
    assert_eq!(peer.connections(), 2);
    let beyond = format!("{}beyond", peer.http());
    for count in 1..=3 {
        let probed = exporter.probe("m", &beyond).await;
        assert_eq!(probed.page.value("probe_attempts_total"), f64::from(count));
    }
    // A first scrape does not start a lease.
    assert_eq!((exporter.own("glassbox_leases").await, hits().await), (1.0, 2.0));
    assert_eq!(peer.connections(), 5);
}

#[tokio::test]
async fn an_idle_key_is_evicted_and_starts_again() {
    let peer = Peer::start(ok).await;
    let counted = async |exporter: &Exporter, key: &str| {
        let probed = exporter.probe("m", &format!("{}{key}", peer.http())).await;
        probed.page.value("probe_attempts_total")
    };
    let config = limited("", "");
    let idle = Duration::from_millis(200);
    let forgetful = Exporter::start_with(&config, |settings| settings.series_idle = idle).await;
    let usual = Exporter::start(&config).await;
    // On a busy machine, the second scrape may also be too late.
    eventually("two attempts", async || counted(&forgetful, "left").await >= 2.0).await;
    assert_eq!(counted(&usual, "left").await, 1.0);
    eventually("only the other key is left", async || {
        counted(&forgetful, "other").await;
        counted(&usual, "other").await;
        forgetful.own("glassbox_series_keys").await == 1.0
    })
    .await;
    let evicted = "glassbox_series_evictions_total{reason=\"idle\"}";
    assert!(forgetful.own(evicted).await >= 1.0);
    assert_eq!(counted(&forgetful, "left").await, 1.0);
    // With a longer TTL the key is still there.
    assert_eq!(usual.own(evicted).await, 0.0);
    assert_eq!(counted(&usual, "left").await, 2.0);
}

#[tokio::test]
async fn the_flag_for_idle_keys_applies() {
    let running = Running::start(&limited("", ""), &["--series.idle=61"]).await;
    assert!(running.log().contains("series.idle=61 "), "{}", running.log());
}

fn reason(probed: &Probed) -> &str {
    let reason = &probed.evidence["verdict"]["reason"];
    reason.as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_proxy_response_is_read_up_to_its_limit() {
    const MOST: usize = 16 * 1024;
    let authority = Authority::new();
    let ca = authority.ca_file.display();
    for (length, expected) in [(MOST, ""), (MOST + 1, "proxy.failed")] {
        let acceptor = TlsAcceptor::from(authority.leaf("127.0.0.1").server(&[]));
        let proxy = Peer::start(move |mut stream| {
            let acceptor = acceptor.clone();
            async move {
                read_head(&mut stream).await;
                let (start, end) = ("HTTP/1.1 200 OK\r\nX-Long: ", "\r\n\r\n");
                let filler = "a".repeat(length - start.len() - end.len());
                let _ = stream.write_all(format!("{start}{filler}{end}").as_bytes()).await;
                if let Ok(stream) = acceptor.accept(stream).await {
                    ok(stream).await;
                }
            }
        })
        .await;
        let keys = format!("proxy_url: 'http://{}', tls_config: {{ca_file: '{ca}'}}", proxy.address);
        let exporter = Exporter::start(&limited("", &format!(", http: {{{keys}}}"))).await;
        let probed = exporter.probe("m", "https://127.0.0.1:9/").await;
        assert_eq!(reason(&probed), expected, "{length} bytes: {:#}", probed.evidence);
    }
}

#[tokio::test]
async fn a_token_response_is_read_up_to_its_limit() {
    const MOST: usize = 1024 * 1024;
    let target = Peer::start(ok).await;
    for (length, expected) in [(MOST, ""), (MOST + 1, "local.credentials")] {
        let (start, end) = (r#"{"access_token": "t", "token_type": "bearer", "more": ""#, r#""}"#);
        let filler = "a".repeat(length - start.len() - end.len());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{start}{filler}{end}");
        let issuer = Peer::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                // The complete request, because unread data would reset the connection.
                Request::read(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        let keys = format!(
            "client_id: a, client_secret: b, token_url: 'http://{}/'",
            issuer.address
        );
        let exporter = Exporter::start(&limited("", &format!(", http: {{oauth2: {{{keys}}}}}"))).await;
        let probed = exporter.probe("m", &target.http()).await;
        assert_eq!(reason(&probed), expected, "{length} bytes: {:#}", probed.evidence);
    }
}

#[tokio::test]
async fn the_number_of_additional_addresses_is_limited() {
    const MOST: u8 = 16;
    let app = Peer::start(ok).await;
    for more in [0, 4] {
        let all = (1..=1 + MOST + more).map(|last| IpAddr::from([127, 0, 0, last]));
        let resolver = DnsServer::always(Says::Addresses(all.collect())).await;
        let keys = format!(
            ", {}, addresses: all, http: {{preferred_ip_protocol: ip4}}",
            resolver.as_key()
        );
        let exporter = Exporter::start(&limited("", &keys)).await;
        let probed = exporter
            .probe("m", &format!("http://shop.test:{}/", app.address.port()))
            .await;
        let addresses = probed.evidence["investigation"]["addresses"].as_array().unwrap();
        assert_eq!(addresses.len(), usize::from(MOST), "{more} more: {:#}", probed.evidence);
    }
}

#[tokio::test]
async fn slow_expressions_stop_with_their_probe_and_do_not_block_others() {
    let numbers = format!("[{}0]", "0,".repeat(40_000));
    let json = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{numbers}", numbers.len());
    let peer = Peer::answering(json).await;
    // Random letters: each one leads to a new state of the automaton.
    let mut random = 1_u32;
    let letters: String = (0..2_000_000)
        .map(|_| {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            char::from(b'a' + u8::try_from((random >> 16) % 13).unwrap())
        })
        .collect();
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{letters}", letters.len());
    let text = Peer::answering(text).await;
    let running = Running::start(
        "modules:
  slow: {prober: http, timeout: 1s, http: {fail_if_body_json_matches_cel: '!body.all(a, body.all(b, b == a))'}}
  text: {prober: http, timeout: 1s, http: {fail_if_body_matches_regexp: ['(?i)[a-f].{0,1000}(stack|trace)']}}
  quick: {prober: http, timeout: 20s, http: {fail_if_body_json_matches_cel: body.size() == 1}}
  words: {prober: http, timeout: 20s, http: {fail_if_body_not_matches_regexp: ['0,0,0']}}
",
        &[],
    )
    .await;
    let probe = async |module: &str| {
        let target = if module == "text" { &text } else { &peer };
        let answer = running
            .get(&format!("/probe?module={module}&target={}", target.http()))
            .await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for (module, reason) in [("slow", "reason=\"content.json\""), ("text", "reason=\"content.body\"")] {
        for _ in 0..6 {
            // On a busy machine, the failure is attributed to the exporter itself.
            let (status, page) = probe(module).await;
            assert!(
                (status == 200 && page.contains(reason)) || (status == 503 && page.contains("too little CPU time")),
                "{status} {page}"
            );
        }
    }
    for module in ["quick", "words"] {
        let (status, page) = probe(module).await;
        assert!(status == 200 && page.contains("\nprobe_success 1"), "{module}: {page}");
    }
    // All twelve searches have stopped.
    let stat = format!("/proc/{}/stat", running.process.0.id());
    let used = || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let mut before = used();
    eventually("the processor is free", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = used();
        // In units of 10 ms.
        now - std::mem::replace(&mut before, now) < 10
    })
    .await;
}

/// A target that sends `bytes` bytes of a body and then waits to be released.
async fn holding_bodies(bytes: usize) -> (Peer, Arc<AtomicUsize>, watch::Sender<bool>) {
    let (let_go, go) = watch::channel(false);
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let peer = Peer::start(move |mut stream| {
        let (count, mut go) = (count.clone(), go.clone());
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes + 1);
            let body = [head.as_bytes(), &vec![b'x'; bytes]].concat();
            if stream.write_all(&body).await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = go.wait_for(|go| *go).await;
                let _ = stream.write_all(b"x").await;
            }
        }
    })
    .await;
    (peer, sent, let_go)
}

#[tokio::test]
async fn probes_over_the_total_memory_limit_get_503() {
    let (peer, sent, let_go) = holding_bodies(8 << 20).await;
    let small = Peer::start(ok).await;
    let matching = ", http: {fail_if_body_matches_regexp: [zzz]}";
    let exporter = Exporter::start(&limited("probe_memory: 16MB", matching)).await;
    let held = async || exporter.own("glassbox_probe_memory_bytes").await;
    let first = tokio::spawn(scrape(&exporter, &format!("{}first", peer.http())));
    eventually("the first holds its body", async || {
        sent.load(Ordering::SeqCst) == 1 && held().await > 8_388_608.0
    })
    .await;
    for key in 0..3 {
        let (status, words) = scrape(&exporter, &format!("{}{key}", peer.http())).await;
        assert_eq!(status, 503, "{words}");
        assert!(words.contains("limits.probe_memory"), "{words}");
    }
    assert_eq!(
        exporter.own("glassbox_limit_hits_total{limit=\"probe_memory\"}").await,
        3.0
    );
    assert!(held().await <= 16_777_216.0);
    // There is still room for a small body.
    let (status, page) = scrape(&exporter, &small.http()).await;
    assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    let_go.send_replace(true);
    let (status, page) = first.await.unwrap();
    assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    assert_eq!(held().await, 0.0);
    let (status, page) = scrape(&exporter, &format!("{}after", peer.http())).await;
    assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
}

#[tokio::test]
async fn response_headers_count_until_the_probe_ends() {
    let held = Held::start().await;
    // A large header, and a redirect to a target that never responds.
    let fields = fields(1000);
    let to = format!(
        "HTTP/1.1 302 x\r\nLocation: {}\r\n{fields}Content-Length: 0\r\n\r\n",
        held.peer.http()
    );
    let redirecting = Peer::answering(to).await;
    let exporter = Exporter::start(&limited("probe_memory: 16MB", "")).await;
    let mut probes = JoinSet::new();
    for key in 0..100 {
        probes.spawn(scrape(&exporter, &format!("{}{key}", redirecting.http())));
    }
    let mut refused = 0;
    // Each probe is rejected or waits at the second target.
    while refused + held.peer.connections() < 100 {
        let ended = tokio::time::timeout(Duration::from_millis(50), probes.join_next()).await;
        if let Ok(Some(ended)) = ended {
            let (status, words) = ended.unwrap();
            assert!(
                status == 503 && words.contains("limits.probe_memory"),
                "{status} {words}"
            );
            refused += 1;
        }
    }
    let waiting = probes.len();
    assert!(refused > 0 && waiting > 20, "{refused} rejected, {waiting} waiting");
    assert!(exporter.own("glassbox_probe_memory_bytes").await > 8_388_608.0);
    held.let_go.send_replace(true);
    for (status, page) in probes.join_all().await {
        assert!(status == 200 && page.contains("\nprobe_success 1"), "{page}");
    }
    assert_eq!(exporter.own("glassbox_probe_memory_bytes").await, 0.0);
}

/// 200 fields with values of `bytes` bytes.
fn fields(bytes: usize) -> String {
    let fields: Vec<_> = (0..200)
        .map(|number| format!("X-{number:03}: {}\r\n", "v".repeat(bytes)))
        .collect();
    fields.concat()
}

/// A target that responds with 500 and 200 large fields.
async fn many_fields() -> Peer {
    let fields = fields(900);
    Peer::answering(format!(
        "HTTP/1.1 500 x\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n"
    ))
    .await
}

#[tokio::test]
async fn evidence_is_limited_in_total_and_per_finding() {
    const MOST: f64 = 1_048_576.0;
    let (hostile, refusing) = (
        many_fields().await,
        Peer::answering("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n").await,
    );
    let exporter = Exporter::start(&limited("history_bytes: 1MB", "")).await;
    let kept = async |target: &str| exporter.get(&format!("/evidence?target={target}")).await.status() != 404;
    let first = refusing.http();
    exporter.probe("m", &first).await;
    for number in 0..100 {
        exporter.probe("m", &format!("{}{number}", hostile.http())).await;
        assert!(exporter.own("glassbox_evidence_bytes").await <= MOST, "{number}");
    }
    assert!(
        exporter.own("glassbox_evidence_bytes").await > MOST / 2.0,
        "too few counted"
    );
    assert!(exporter.own("glassbox_evidence_dropped_total").await > 0.0);
    assert!(kept(&format!("{}99", hostile.http())).await);
    assert!(!kept(&first).await);
    // A reload raises the limit.
    std::fs::write(&exporter.config_file, limited("history_bytes: 8MB", "")).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
    exporter.probe("m", &first).await;
    for number in 0..100 {
        exporter.probe("m", &format!("{}{number}", hostile.http())).await;
    }
    assert!(kept(&first).await, "one target evicted the evidence of another");
}
