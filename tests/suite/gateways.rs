//! Real gateways in front of deliberately broken servers: the verdicts with and without the upstream as a backend of
//! the probe.

mod nginx_haproxy_apache;
mod own_pages;

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok, read_head, reset};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port};
use nginx_haproxy_apache::{Apache, Haproxy, Nginx};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Behavior of a gateway at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handles {
    /// Forwards over plain HTTP.
    Plain,
    /// Forwards over TLS with verification.
    Tls,
    /// Forwards, and caches successful responses.
    Cached,
    /// Denies every request by its own policy.
    Denies,
    /// Has no route for the request.
    NoRoute,
    /// Forwards, with an upstream timeout of 30 s.
    Waits,
}

/// One port of a gateway.
struct Port {
    listen: u16,
    to: u16,
    handles: Handles,
}

/// A gateway that the tests start.
trait Product {
    /// Name in the catalogue.
    const NAME: &'static str;

    /// Writes the configuration to a folder and returns the command that starts the gateway in the foreground, as one
    /// process or with children that exit with it.
    fn command(folder: &std::path::Path, ca_file: &std::path::Path, ports: &[Port]) -> Command;
}

/// A fault and its expected verdicts.
struct Fault {
    name: &'static str,
    handles: Handles,
    /// Upstream port in the gateway's configuration, and real port of the upstream.
    to: u16,
    backend: u16,
    /// Link, reason (or one of several) and side of the verdict with the backend.
    with: (&'static str, &'static str, &'static str),
    /// Link of the verdict without the backend, and a reason that must be among the candidates if the product's page
    /// reveals it.
    without: (&'static str, Option<&'static str>),
}

/// The upstream servers, which run during the test.
struct Origins {
    faults: Vec<Fault>,
    _peers: Vec<Peer>,
    ca_file: PathBuf,
    _authority: Authority,
}

const UP: &str = "upstream";

impl Origins {
    #[allow(clippy::too_many_lines, reason = "the table has one row per fault")]
    async fn start() -> Self {
        let authority = Authority::new();
        let healthy = Peer::start(ok).await;
        let closes = Peer::start(|stream: TcpStream| async move { drop(stream) }).await;
        let closes_after = Peer::start(|mut stream: TcpStream| async move {
            read_head(&mut stream).await;
        })
        .await;
        let resets = Peer::start(|mut stream: TcpStream| async move {
            read_head(&mut stream).await;
            reset(&stream);
        })
        .await;
        let silent = Peer::start(|mut stream: TcpStream| async move {
            read_head(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let stalls = Peer::start(|mut stream: TcpStream| async move {
            read_head(&mut stream).await;
            let part = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\npart";
            stream.write_all(part).await.ok();
            std::future::pending::<()>().await;
        })
        .await;
        let garbage = Peer::answering(b"\x00\x01\x02 this is not HTTP\r\n\r\n".to_vec()).await;
        let truncated = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\npart").await;
        let long = "a".repeat(96 * 1024);
        let large = Peer::answering(format!(
            "HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
        let json = "{\"error\":\"KeyError: cart\"}";
        let app500 = Peer::answering(format!(
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        ))
        .await;
        let page = "<title>Shop</title><h1>We will be right back</h1><p>The shop is being updated.</p>";
        let app503 = Peer::answering(format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ))
        .await;
        let page = "<title>Shop</title><h1>We could not find that page</h1>";
        let app404 = Peer::answering(format!(
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ))
        .await;
        let expired = Peer::with_tls(authority.expired("127.0.0.1").server(&[]), ok).await;
        let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
        let nobody = free_port();
        let healthy_at = healthy.address.port();
        let fault = |name, peer: &Peer, with, without| Fault {
            name,
            handles: Handles::Plain,
            to: peer.address.port(),
            backend: peer.address.port(),
            with,
            without,
        };
        let own = |name, handles, reason| Fault {
            name,
            handles,
            to: healthy_at,
            backend: healthy_at,
            with: ("edge", reason, "none"),
            without: ("edge", Some(reason)),
        };
        let over_tls = |fault: Fault| Fault {
            handles: Handles::Tls,
            ..fault
        };
        let (refused, ended, late, cut, certificate, stalled) = (
            "upstream.connection_refused",
            "upstream.connection_terminated",
            "upstream.http_response_timeout",
            "upstream.http_response_incomplete",
            "upstream.tls_certificate_error",
            "upstream.connection_read_timeout",
        );
        let broken = |reason| (UP, reason, "origin");
        let status = ("origin", "origin.status", "none");
        let faults = vec![
            Fault {
                to: nobody,
                backend: nobody,
                ..fault("refused", &healthy, broken(refused), (UP, Some(refused)))
            },
            Fault {
                to: nobody,
                ..fault(
                    "connection refused",
                    &healthy,
                    (UP, refused, "gateway"),
                    (UP, Some(refused)),
                )
            },
            fault("closes at once", &closes, broken(ended), (UP, Some(ended))),
            fault(
                "closes after the request",
                &closes_after,
                broken(ended),
                (UP, Some(ended)),
            ),
            fault("resets after the request", &resets, broken(ended), (UP, Some(ended))),
            fault("never answers", &silent, broken(late), (UP, Some(late))),
            fault("garbage", &garbage, broken("upstream.http_protocol_error"), (UP, None)),
            fault("truncated body", &truncated, broken(cut), (UP, Some(cut))),
            fault("stalled body", &stalls, broken(stalled), (UP, Some(stalled))),
            fault(
                "head too large",
                &large,
                broken("upstream.http_response_header_section_size"),
                (UP, None),
            ),
            fault(
                "the application's JSON 500",
                &app500,
                status,
                ("origin", Some("origin.status")),
            ),
            fault(
                "the application's 503 page",
                &app503,
                status,
                ("origin", Some("origin.status")),
            ),
            fault(
                "the application's 404",
                &app404,
                status,
                ("origin", Some("origin.status")),
            ),
            own("denied", Handles::Denies, "edge.denied"),
            own("no route", Handles::NoRoute, "edge.not_found"),
            over_tls(fault(
                "expired certificate",
                &expired,
                broken(certificate),
                (UP, Some(certificate)),
            )),
            over_tls(fault(
                "plain text for TLS",
                &healthy,
                broken("upstream.tls_protocol_error"),
                (UP, None),
            )),
            fault(
                "TLS for plain text",
                &secured,
                broken("upstream.tls_required"),
                (UP, None),
            ),
            fault("healthy", &healthy, ("none", "none", "none"), ("none", None)),
        ];
        Self {
            faults,
            ca_file: authority.ca_file.clone(),
            _authority: authority,
            _peers: vec![
                healthy,
                closes,
                closes_after,
                resets,
                silent,
                stalls,
                garbage,
                truncated,
                large,
                app500,
                app503,
                app404,
                expired,
                secured,
            ],
        }
    }
}

/// A running gateway with a port for each fault.
struct Running {
    ports: Vec<Port>,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start<P: Product>(ca_file: &std::path::Path, ports: Vec<Port>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = P::command(folder.path(), ca_file, &ports);
        let mut process = Process::start(&mut command);
        for port in &ports {
            process.listens(port.listen).await;
        }
        Self {
            ports,
            _process: process,
            _folder: folder,
        }
    }
}

fn module(ca_file: &std::path::Path) -> String {
    format!(
        "policy: open\nmodules:\n  m:\n    prober: http\n    timeout: 15s\n    diagnostics: {{reference_request: true}}\n    http:\n      \
         tls_config: {{ca_file: {}}}\n",
        ca_file.display()
    )
}

/// Probes every fault except those in `but`, with and without the backend.
async fn blame<P: Product>(but: &[&str]) {
    let origins = Origins::start().await;
    let faults: Vec<_> = origins
        .faults
        .iter()
        .filter(|fault| !but.contains(&fault.name))
        .collect();
    assert!(faults.len() > 12, "{} faults", faults.len());
    let ports = faults.iter().map(|fault| Port {
        listen: free_port(),
        to: fault.to,
        handles: fault.handles,
    });
    let running = Running::start::<P>(&origins.ca_file, ports.collect()).await;
    let exporter = &Exporter::start(&module(&origins.ca_file)).await;
    let asked = faults.iter().zip(&running.ports).map(|(fault, port)| async move {
        let target = format!("http://127.0.0.1:{}/", port.listen);
        let tls = if fault.handles == Handles::Tls { "%3Btls" } else { "" };
        let backend = format!("&backend=app@127.0.0.1:{}{tls}", fault.backend);
        let with = exporter.probe_for("m", &target, &backend).await;
        let without = exporter.probe_for("m", &target, "").await;
        (with, without)
    });
    let mut wrong = String::new();
    for (fault, (with, without)) in faults.iter().zip(futures_util::future::join_all(asked).await) {
        let problem = with_backend(fault, &with).or_else(|| without_backend(fault, &without));
        if let Some((what, probed)) = problem {
            writeln!(
                wrong,
                "{}, {}: {what}\n{:#}",
                P::NAME,
                fault.name,
                probed.evidence["verdict"]
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn word(probed: &Probed, name: &str) -> String {
    probed.evidence["verdict"][name].as_str().unwrap_or("none").to_owned()
}

fn reasons(probed: &Probed) -> Vec<String> {
    let list = probed.evidence["verdict"]["reasons"].as_array();
    let words = list.into_iter().flatten().filter_map(|reason| reason.as_str());
    words.map(str::to_owned).collect()
}

type Problem<'a> = Option<(String, &'a Probed)>;

fn with_backend<'a>(fault: &Fault, probed: &'a Probed) -> Problem<'a> {
    let (link, reason, side) = fault.with;
    let (said, found) = ((word(probed, "link"), word(probed, "side")), reasons(probed));
    let named = reason == "none" || found.iter().any(|known| known == reason);
    // If the upstream itself showed the fault, only one reason is left.
    let exact = side != "origin" || found.len() == 1;
    let well = link != "none" || (probed.page.value("probe_success"), probed.page.value("probe_masked")) == (1.0, 0.0);
    let right = (said.0.as_str(), said.1.as_str()) == (link, side) && named && exact && well;
    (!right).then(|| (format!("with the backend it is not {:?}", fault.with), probed))
}

fn without_backend<'a>(fault: &Fault, probed: &'a Probed) -> Problem<'a> {
    let (link, reason) = fault.without;
    let named = reason.is_none_or(|reason| reasons(probed).iter().any(|known| known == reason));
    let right = word(probed, "link") == link && named && word(probed, "side") == "none";
    (!right).then(|| (format!("without it is not {:?}", fault.without), probed))
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_verdicts_name_the_right_link() {
    blame::<Nginx>(&[]).await;
}

/// Its responses for "no route" and "no server" are identical.
#[tokio::test(flavor = "multi_thread")]
async fn haproxy_verdicts_name_the_right_link() {
    blame::<Haproxy>(&["no route"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_verdicts_name_the_right_link() {
    blame::<Apache>(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_response_masks_a_dead_backend() {
    let answers = Arc::new(AtomicUsize::new(0));
    let left = answers.clone();
    let origin = Peer::start(move |mut stream: TcpStream| {
        let first = left.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            read_head(&mut stream).await;
            if first {
                let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.ok();
            }
        }
    })
    .await;
    let authority = Authority::new();
    let port = Port {
        listen: free_port(),
        to: origin.address.port(),
        handles: Handles::Cached,
    };
    let running = Running::start::<Nginx>(&authority.ca_file, vec![port]).await;
    let exporter = Exporter::start(&module(&authority.ca_file)).await;
    let target = format!("http://127.0.0.1:{}/", running.ports[0].listen);
    eventually("cached", async || {
        exporter.probe("m", &target).await.page.value("probe_success") == 1.0
    })
    .await;
    let probed = exporter
        .probe_for("m", &target, &format!("&backend=app@{}", origin.address))
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_masked"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.evidence["verdict"]["masked"], true);
    assert_eq!(word(&probed, "rule"), "success-with-broken-backend");
    assert_eq!(
        (word(&probed, "link").as_str(), word(&probed, "side").as_str()),
        (UP, "origin")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_30_s_for_its_origin_gets_a_verdict_within_10_s() {
    let hung = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let authority = Authority::new();
    let port = Port {
        listen: free_port(),
        to: hung.address.port(),
        handles: Handles::Waits,
    };
    let running = Running::start::<Nginx>(&authority.ca_file, vec![port]).await;
    let exporter = Exporter::start(&module(&authority.ca_file).replace("    timeout: 5s\n", "")).await;
    let query = format!(
        "http://127.0.0.1:{}/&backend=app@{}",
        running.ports[0].listen, hung.address
    );
    let client = crate::support::http::client();
    let answer = client
        .get(exporter.url(&format!("/probe?module=m&target={query}")))
        .header("X-Prometheus-Scrape-Timeout-Seconds", "10")
        .timeout(std::time::Duration::from_secs(10))
        .send()
        .await
        .expect("no response within the scrape timeout");
    let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
    let evidence = exporter
        .get(&format!("/evidence/{id}.json"))
        .await
        .text()
        .await
        .unwrap();
    let evidence: serde_json::Value = serde_json::from_str(&evidence).unwrap();
    let verdict = &evidence["verdict"];
    assert_eq!(verdict["link"], UP, "{verdict:#}");
    assert_eq!(verdict["side"], "origin");
    assert_eq!(verdict["reason"], "upstream.http_response_timeout");
}
