//! The pages in a real browser. This file sets up the exporter that `tests/browser/pages.test.mjs` checks.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::{free_port, project};
use hickory_proto::op::ResponseCode;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

/// One row of [`VERDICTS`].
struct Verdict {
    name: &'static str,
    module: &'static str,
    target: String,
    headline: &'static str,
    broken: &'static str,
    shows: &'static str,
}

/// Targets that fail in different ways, and the exporter that has probed them.
struct Scene {
    exporter: Exporter,
    verdicts: Vec<Verdict>,
    /// Targets of the module `shop` with markup in every part of the response.
    hostile: Vec<String>,
    _peers: Vec<Peer>,
    _dns: DnsServer,
    _authority: Authority,
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const NGINX_502: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                         <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// A response with markup in every field that a server controls.
fn hostile_answer() -> String {
    let markup = "<hostile data-hostile><img src=x onerror=window.hostile=1><script>window.hostile=1</script>\"'>";
    answer(
        &format!("502 {markup}"),
        &format!(
            "Server: {markup}\r\nVia: 1.1 {markup}\r\nX-Cache: {markup}\r\nX-Request-Id: javascript:window.hostile=1\r\nContent-Type: {markup}\r\n"
        ),
        markup,
    )
}

/// Number of probes of each target, so that the landing page has a history.
const PROBES: usize = 25;

/// A gateway whose upstream fails after half of the probes.
async fn breaking() -> Peer {
    let asked = Arc::new(AtomicUsize::new(0));
    Peer::start(move |mut stream| {
        let well = asked.fetch_add(1, Ordering::SeqCst) < PROBES / 2;
        async move {
            if well {
                return ok(stream).await;
            }
            read_head(&mut stream).await;
            let answer = answer("502 Bad Gateway", "Server: nginx\r\n", NGINX_502);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

impl Scene {
    async fn set() -> Self {
        let authority = Authority::new();
        let dns = DnsServer::start(|name, _| match name {
            "typo.example" => Says::Code(ResponseCode::NXDomain),
            _ => Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])]),
        })
        .await;
        let well = Peer::with_tls(authority.leaf("www.example").server(&[]), ok).await;
        let expired = Peer::with_tls(authority.expired("pay.example").server(&[]), ok).await;
        let gateway = breaking().await;
        let sick = "X-Powered-By: Express\r\nContent-Type: text/plain\r\n";
        let sick = Peer::answering(answer("500 Internal Server Error", sick, "oops")).await;
        let app = Peer::start(ok).await;
        let old = Peer::with_tls(authority.leaf("old.example").server(&[]), ok).await;
        let hostile = Peer::answering(hostile_answer()).await;
        let exporter = Exporter::start(&config(&authority, &dns, &app, &sick)).await;
        let verdicts = verdicts(&[
            ("WELL", well.address.port()),
            ("EXPIRED", expired.address.port()),
            ("NOBODY", free_port()),
            ("GATEWAY", gateway.address.port()),
            ("SICK", sick.address.port()),
            ("APP", app.address.port()),
            ("OLD", old.address.port()),
        ]);
        let hostile_target = format!("http://hostile.test:{}/?<hostile>", hostile.address.port());
        Self {
            exporter,
            verdicts,
            hostile: vec![hostile_target, "http://<hostile>/".to_owned()],
            _peers: vec![well, expired, gateway, sick, app, old, hostile],
            _dns: dns,
            _authority: authority,
        }
    }

    /// Probes all targets and returns the expected contents of the pages.
    async fn probed(&self) -> Value {
        let mut probes = Vec::new();
        for verdict in &self.verdicts {
            let mut seen = Vec::new();
            for _ in 0..PROBES {
                seen.push(self.exporter.probe(verdict.module, &verdict.target).await.evidence);
            }
            // The first failed probe: its diagnostics are not reused from an earlier one.
            let first = seen.iter().position(|evidence| !evidence["verdict"].is_null());
            let shown = &seen[first.unwrap_or_default()];
            probes.push(json!({
                "name": verdict.name,
                "id": shown["id"],
                "headline": verdict.headline,
                "broken": verdict.broken,
                "shows": verdict.shows,
            }));
        }
        let mut hostile = Vec::new();
        for target in &self.hostile {
            hostile.push(self.exporter.probe("shop", target).await.evidence["id"].clone());
        }
        json!({
            "base": self.exporter.url(""),
            "probes": probes,
            "hostile": hostile,
            "module": "web",
            "wellUrl": self.verdicts[0].target,
        })
    }
}

fn config(authority: &Authority, dns: &DnsServer, app: &Peer, sick: &Peer) -> String {
    let resolver = dns.as_key();
    let trust = format!("tls_config: {{ca_file: {}}}", authority.ca_file.display());
    let backend = |address: &str| format!("backends: [{{name: app, address: '{address}', reachable: true}}]");
    let module = |name: &str, keys: &str, http: &str| {
        format!("  {name}: {{prober: http, timeout: 2s, {keys}, http: {{preferred_ip_protocol: ip4, {http}}}}}\n")
    };
    [
        format!("controls: [{{address: '{}'}}]\nmodules:\n", app.address),
        module("web", &resolver, &trust),
        module(
            "shop",
            &format!("{resolver}, {}", backend(&app.address.to_string())),
            "",
        ),
        module(
            "api",
            &format!("{resolver}, {}", backend(&sick.address.to_string())),
            "",
        ),
        module("docs", &resolver, "fail_if_body_not_matches_regexp: [Welcome]"),
        module(
            "cached",
            &format!(
                "{resolver}, diagnostics: {{backends: always}}, {}",
                backend(&format!("127.0.0.1:{}", free_port()))
            ),
            "",
        ),
        module("lost", "resolver: ['127.0.0.1:1']", ""),
        module(
            "old",
            &resolver,
            &format!(
                "tls_config: {{ca_file: {}, max_version: TLS12}}",
                authority.ca_file.display()
            ),
        ),
        "  ping: {prober: icmp, timeout: 2s}\n  port: {prober: tcp, timeout: 2s}\n".to_owned(),
    ]
    .concat()
}

/// One verdict per row: name, module, target (words in capitals are ports of servers), heading, link that is marked as
/// broken, and text that only this page has.
const VERDICTS: &str = "
    healthy  | web    | https://www.example:WELL/             | All links are healthy                                 |                  | 200
    local    | lost   | http://www.example/                   | Broken: the exporter or its own network               | Exporter         | local.resolver_unreachable
    dns      | web    | http://typo.example/                  | Broken: DNS                                           | DNS              | dns.name_not_resolved
    tls      | web    | https://pay.example:EXPIRED/checkout  | Broken: TLS                                           | TLS              | tls.cert.date_invalid
    edge    | web    | http://www.example:NOBODY/            | Most likely broken: the edge                          | Edge            | tcp.refused
    upstream | shop   | http://shop.example:GATEWAY/cart      | Most likely broken: between the edge and app         | Upstream         | direct request to app: 200
    origin   | api    | http://api.example:SICK/orders        | Broken: the application                               | Origin           | origin.status
    content  | docs   | http://docs.example:APP/              | Broken: the response content                            | Content          | content.body
    unknown  | web    | http://legacy.example:SICK/report     | Failed: the broken link is unknown                    |                  | not decided
    tls12    | old    | https://old.example:OLD/              | All links are healthy                                 |                  | TLS 1.2
    ping     | ping   | 127.0.0.1                             | All links are healthy                                 |                  | icmp://
    port     | port   | 127.0.0.1:NOBODY                      | Most likely broken: the edge                          | Edge             | tcp.refused
    masked   | cached | http://static.example:APP/logo        | A successful response hides a broken link: between the edge and app | Upstream | direct request to app
";

fn verdicts(ports: &[(&str, u16)]) -> Vec<Verdict> {
    let rows = VERDICTS.lines().filter(|row| !row.is_empty());
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let [name, module, target, headline, broken, shows] = cells[..] else {
                panic!("expected six columns: {cells:?}");
            };
            let target = ports.iter().fold(target.to_owned(), |target, (word, port)| {
                target.replace(word, &port.to_string())
            });
            Verdict {
                name,
                module,
                target,
                headline,
                broken,
                shows,
            }
        })
        .collect()
}

/// `make test` installs the browser. `make pictures` keeps the screenshots.
#[tokio::test]
async fn the_pages_work_in_chromium() {
    let scene = Scene::set().await;
    let handed_over = scene.probed().await.to_string();
    let driven = tokio::process::Command::new("node")
        .args(["--test", "pages.test.mjs"])
        .current_dir(project("tests/browser"))
        .env("SCENE", handed_over)
        .output()
        .await
        .expect("node is required to run the browser; `make deps` installs it");
    let told = String::from_utf8_lossy(&driven.stdout);
    assert!(
        driven.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&driven.stderr)
    );
}
