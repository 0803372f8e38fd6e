//! The page of a probe: it names the broken link first, and escapes all text from servers and callers.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::{Authority, self_signed};

/// Probes a target and returns the page of the probe.
async fn page(exporter: &Exporter, module: &str, target: &str) -> String {
    let probed = exporter.probe(module, target).await;
    let id = probed.evidence["id"].as_str().unwrap();
    let answer = exporter.get(&format!("/evidence/{id}")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    answer.text().await.unwrap()
}

const NGINX: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                     <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Asserts the heading of a verdict's page, and the marks of the links in the chain.
fn assert_shows(html: &str, target: &str, headline: &str, class: &str) {
    let heading = html.split("<h1").nth(1).unwrap().split("</h1>").next().unwrap();
    assert!(heading.ends_with(headline), "{target}: {heading}");
    for mark in ["broken", "suspect"] {
        let marked = html.contains(&format!("<li class=\"{mark}\">"));
        assert_eq!(marked, class == mark, "{target}: {mark} in {html}");
    }
    // The page has no inline styles or scripts.
    assert!(!html.contains(" style=") && !html.contains("<style"), "{target}");
    assert_eq!(html.contains("id=\"incident_report\""), class != "healthy", "{target}");
}

fn modules(authority: &Authority, good: &Peer, app: &Peer) -> String {
    format!(
        "modules:\n  m: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}\n  \
         backends: {{prober: http, backends: [{{name: app, address: '{}'}}]}}\n  \
         same: {{prober: http, backends: [{{name: app, address: '{}'}}]}}\n  \
         words: {{prober: http, http: {{fail_if_body_not_matches_regexp: [never]}}}}\n",
        authority.ca_file.display(),
        good.address,
        app.address
    )
}

#[tokio::test]
async fn the_page_of_each_verdict_names_its_link_first() {
    let authority = Authority::new();
    let good = Peer::start(ok).await;
    let stranger = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let gateway = Peer::answering(format!(
        "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: {}\r\n\r\n{NGINX}",
        NGINX.len()
    ))
    .await;
    let app =
        Peer::answering("HTTP/1.1 500 Internal Server Error\r\nX-Powered-By: Express\r\nContent-Length: 4\r\n\r\noops")
            .await;
    let config = modules(&authority, &good, &app);
    let exporter = Exporter::start(&config).await;
    for (module, target, headline, class) in [
        ("m", good.http(), "All links are healthy", "healthy"),
        (
            "m",
            "http://127.0.0.1:1/".to_owned(),
            "Most likely broken: the edge",
            "broken",
        ),
        ("m", stranger.https(), "Broken: TLS", "broken"),
        (
            "m",
            gateway.http(),
            "Most likely broken: between the gateway and its backend",
            "broken",
        ),
        (
            "backends",
            gateway.http(),
            "Most likely broken: between the edge and app",
            "broken",
        ),
        ("m", app.http(), "Failed: the broken link is unknown", "suspect"),
        ("same", app.http(), "Broken: the application", "broken"),
        ("words", good.http(), "Broken: the response content", "broken"),
    ] {
        assert_shows(&page(&exporter, module, &target).await, &target, headline, class);
    }
    // The diagram also shows that the backend responds to a direct request.
    let html = page(&exporter, "backends", &gateway.http()).await;
    let chain = html
        .split("<ol class=\"chain\"")
        .nth(1)
        .unwrap()
        .split("</ol>")
        .next()
        .unwrap();
    let application = chain.split("<li").last().unwrap();
    assert!(
        chain.contains("direct request to app: 200") && chain.contains("Origin"),
        "{application}"
    );
    assert!(
        html.contains("app at"),
        "the phases of the backend must be on the same axis: {html}"
    );
}

#[tokio::test]
async fn untrusted_text_is_escaped() {
    let hostile = Peer::answering(
        "HTTP/1.1 503 <script>alert(1)</script>\r\nServer: <img src=x onerror=alert(2)>\r\n\
         Via: \"><b>1</b>\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    let html = page(
        &exporter,
        "http_2xx",
        &format!("{}?<svg onload=alert(3)>", hostile.http()),
    )
    .await;
    for markup in ["<script>", "<img", "<b>1", "<svg onload"] {
        assert!(!html.contains(markup), "{markup} in {html}");
    }
    assert!(html.contains("&lt;img src=x onerror=alert(2)&gt;"), "{html}");
}

#[tokio::test]
async fn the_landing_page_lists_each_target_with_its_evidence() {
    let good = Peer::start(ok).await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    for _ in 0..3 {
        exporter.probe("http_2xx", &format!("{}fine", good.http())).await;
    }
    let broken = exporter.probe("http_2xx", "http://127.0.0.1:1/gone").await;
    let home = exporter.get("/").await.text().await.unwrap();
    let rows: Vec<_> = home.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 2, "{home}");
    // The failing target is first and links to its evidence.
    let id = broken.evidence["id"].as_str().unwrap();
    assert!(rows[0].contains(&format!("href=\"/evidence/{id}\"")), "{}", rows[0]);
    assert!(
        rows[0].contains("<strong>edge</strong>") && rows[0].contains("tcp.refused"),
        "{}",
        rows[0]
    );
    assert!(rows[0].contains("0.00 %"), "{}", rows[0]);
    // One mark for each probe, and the durations by phase.
    assert!(rows[1].contains("class=\"mark healthy\""), "{}", rows[1]);
    assert_eq!(rows[1].matches("h4V16h-4z").count(), 3, "{}", rows[1]);
    assert!(
        rows[1].contains("100 %") && rows[1].contains("processing"),
        "{}",
        rows[1]
    );
    for script in ["/copy.js", "/refresh.js"] {
        let script = exporter.get(script).await;
        assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    }

    let found = exporter.get("/?search=fine").await.text().await.unwrap();
    assert!(found.contains("/fine") && !found.contains("/gone"), "{found}");
    let none = exporter.get("/?search=%3Cb%3E").await.text().await.unwrap();
    assert!(
        none.contains("No target or module name contains <q>&lt;b&gt;</q>."),
        "{none}"
    );
}

/// The marks of a certain and of a likely verdict differ in more than colour.
#[tokio::test]
async fn a_likely_verdict_does_not_look_certain() {
    let good = Peer::start(ok).await;
    let exporter = Exporter::start(
        "modules: {http_2xx: {prober: http}, words: {prober: http, http: {fail_if_body_not_matches_regexp: [never]}}}",
    )
    .await;
    let likely = page(&exporter, "http_2xx", "http://127.0.0.1:1/").await;
    assert!(
        likely.contains("class=\"finding broken likely\"") && likely.contains("class=\"likely\">likely<"),
        "{likely}"
    );
    let certain = page(&exporter, "words", &good.http()).await;
    assert!(
        certain.contains("class=\"finding broken\"") && certain.contains("class=\"certain\">certain<"),
        "{certain}"
    );
    // The summary is a list of sentences.
    let summary = certain
        .split("<ul class=\"summary\">")
        .nth(1)
        .unwrap()
        .split("</ul>")
        .next()
        .unwrap();
    let sentences: Vec<_> = summary.split("<li>").skip(1).collect();
    assert!(
        sentences.len() > 2 && sentences[0].starts_with("From 127.0.0.1 at "),
        "{sentences:?}"
    );
}

/// Each redirect has its own rows in the waterfall.
#[tokio::test]
async fn redirects_are_separate_in_the_waterfall() {
    let good = Peer::start(ok).await;
    let location = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}there\r\nContent-Length: 0\r\n\r\n",
        good.http()
    );
    let first = Peer::answering(location).await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    let html = page(&exporter, "http_2xx", &first.http()).await;
    let waterfall = html
        .split("<table class=\"waterfall\">")
        .nth(1)
        .unwrap()
        .split("</table>")
        .next()
        .unwrap();
    for heading in [
        format!("First request: GET {}", first.http()),
        format!("Next request: GET {}there", good.http()),
    ] {
        assert!(waterfall.contains(&heading), "{heading}: {waterfall}");
    }
    assert_eq!(waterfall.matches("<tbody>").count(), 2, "{waterfall}");
}

/// Results of diagnostics that are reused say how old they are.
#[tokio::test]
async fn reused_diagnostics_say_their_age() {
    let edge = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let app = Peer::start(ok).await;
    let backend = format!("backends: [{{name: app, address: '{}'}}]", app.address);
    let exporter = Exporter::start(&format!("modules: {{m: {{prober: http, {backend}}}}}")).await;
    let words = "These results are from an earlier probe";
    let first = page(&exporter, "m", &edge.http()).await;
    assert!(first.contains("Diagnostics") && !first.contains(words), "{first}");
    let second = page(&exporter, "m", &edge.http()).await;
    assert!(second.contains(words), "{second}");
}

/// A probe from the form leads to its page.
#[tokio::test]
async fn the_form_opens_the_page_of_its_probe() {
    let good = Peer::start(ok).await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    let home = exporter.get("/").await.text().await.unwrap();
    assert!(home.contains("name=\"show\" value=\"evidence\""), "{home}");
    let answer = exporter
        .get(&format!("/probe?target={}&module=http_2xx&show=evidence", good.http()))
        .await;
    assert!(answer.url().path().starts_with("/evidence/"), "{}", answer.url());
    assert!(answer.text().await.unwrap().contains("All links are healthy"));
}

/// Required fields of each object in HAR 1.2 (section "HAR Data Structure" of the specification).
const DEMANDED: [(&str, &[&str]); 9] = [
    ("/log", &["version", "creator", "entries"]),
    ("/log/creator", &["name", "version"]),
    ("/log/pages/0", &["startedDateTime", "id", "title", "pageTimings"]),
    (
        "/log/entries/0",
        &["startedDateTime", "time", "request", "response", "cache", "timings"],
    ),
    (
        "/log/entries/0/request",
        &[
            "method",
            "url",
            "httpVersion",
            "cookies",
            "headers",
            "queryString",
            "headersSize",
            "bodySize",
        ],
    ),
    (
        "/log/entries/0/response",
        &[
            "status",
            "statusText",
            "httpVersion",
            "cookies",
            "headers",
            "content",
            "redirectURL",
            "headersSize",
            "bodySize",
        ],
    ),
    ("/log/entries/0/response/content", &["size", "mimeType"]),
    ("/log/entries/0/timings", &["send", "wait", "receive"]),
    ("/log/entries/0/response/headers/0", &["name", "value"]),
];

#[tokio::test]
async fn the_archive_is_valid_har_with_the_times_of_the_phases() {
    let authority = Authority::new();
    let peer = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let config = format!(
        "modules: {{m: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}}}",
        authority.ca_file.display()
    );
    let exporter = Exporter::start(&config).await;
    let probed = exporter.probe("m", &peer.https()).await;
    let id = probed.evidence["id"].as_str().unwrap();
    let text = exporter.get(&format!("/evidence/{id}.har")).await.text().await.unwrap();
    let archive: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (place, names) in DEMANDED {
        let object = archive
            .pointer(place)
            .unwrap_or_else(|| panic!("no {place}: {archive:#}"));
        for name in names {
            assert!(object.get(name).is_some(), "{place} has no {name}");
        }
    }
    let timings = probed.timings();
    let timing = |phase: &str| timings.iter().find(|(name, ..)| name == phase).unwrap().1 * 1000.0;
    let timings = &archive["log"]["entries"][0]["timings"];
    for (name, expected) in [
        ("dns", timing("resolve")),
        // In HAR, `connect` includes TLS, which is also in `ssl`.
        ("connect", timing("connect") + timing("tls")),
        ("ssl", timing("tls")),
        ("send", timing("request")),
        ("wait", timing("processing")),
        ("receive", timing("transfer")),
    ] {
        let told = timings[name].as_f64().unwrap();
        assert!((told - expected).abs() < 1e-6, "{name}: {told}, expected {expected}");
    }
}
