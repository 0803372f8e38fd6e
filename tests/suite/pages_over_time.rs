//! The part of the evidence page about time, and "probe again".

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok, read_head};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::AsyncWriteExt;

/// A server whose status a test changes.
async fn switched() -> (Peer, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let switch = status.clone();
    let peer = Peer::start(move |mut stream| {
        let status = switch.load(Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (peer, status)
}

const CONFIG: &str = "modules:\n  h: {prober: http}\n  t: {prober: tcp}\n";

fn id(evidence: &serde_json::Value) -> String {
    evidence["id"].as_str().unwrap().to_owned()
}

/// The part of the page about time.
async fn timeline(exporter: &Exporter, id: &str) -> String {
    let page = exporter.get(&format!("/evidence/{id}")).await.text().await.unwrap();
    let start = page.split("<section class=\"timeline\"").nth(1).unwrap();
    start.split("</section>").next().unwrap().to_owned()
}

/// The cells of a row, without markup.
fn cells(html: &str, class: &str, start: &str) -> Vec<String> {
    let table = html.split(class).nth(1).unwrap().split("</table>").next().unwrap();
    let rows = table.split("<tr").map(|row| row.split_once('>').unwrap_or_default().1);
    let cells = rows.map(|row| row.split("</t").map(text).collect::<Vec<_>>());
    let mut found = cells.filter(|cells| cells[0].starts_with(start));
    found.next().unwrap_or_else(|| panic!("no {start} in {table}"))
}

fn text(html: &str) -> String {
    let parts = html
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts.collect::<String>().trim_start_matches("d>").to_owned()
}

#[tokio::test]
async fn the_page_says_since_when_the_target_is_unhealthy_and_what_changed() {
    let (peer, status) = switched().await;
    let exporter = Exporter::start(CONFIG).await;
    let mut ids = Vec::new();
    for now in [200, 200, 503, 503, 500, 200] {
        status.store(now, Ordering::SeqCst);
        ids.push(id(&exporter.probe("h", &peer.http()).await.evidence));
    }
    let html = timeline(&exporter, &ids[3]).await;
    let link = |of: usize| format!("href=\"/evidence/{}\"", ids[of]);
    let since = html
        .split("Unhealthy since")
        .nth(1)
        .unwrap()
        .split("Last healthy probe")
        .next()
        .unwrap();
    assert!(since.contains(&link(2)) && since.contains(&link(5)), "{since}");
    assert!(
        since.contains("Healthy again at") && since.contains(", 3 probes."),
        "{since}"
    );
    assert!(!since.contains("at least"), "{since}");
    let last_healthy = html
        .split("Last healthy probe")
        .nth(1)
        .unwrap()
        .split("</dd>")
        .next()
        .unwrap();
    assert!(last_healthy.contains(&link(1)), "{last_healthy}");
    for (relation, to) in [("prev", 2), ("next", 4), ("last", 5)] {
        assert!(
            html.contains(&format!("{} rel=\"{relation}\"", link(to))),
            "{relation}: {html}"
        );
    }
    // Each bar is a link, except that of this probe.
    let bars = html
        .split("<ol class=\"bars\"")
        .nth(1)
        .unwrap()
        .split("</ol>")
        .next()
        .unwrap();
    assert_eq!(bars.matches("<li class=\"healthy\">").count(), 3, "{bars}");
    assert_eq!(
        (bars.matches("<a href=").count(), bars.matches("aria-current").count()),
        (5, 1),
        "{bars}"
    );
    assert_eq!(cells(&html, "fields changes", "Status")[1..3], ["200", "503"]);
    assert_eq!(
        cells(&html, "fields changes", "Address")[1..3],
        ["127.0.0.1", "unchanged"]
    );
    assert!(!html.contains(">Certificate<"), "{html}");
    let incident = html.split("fields incidents").nth(1).unwrap();
    assert!(
        incident.contains(&link(2)) && incident.contains("3 probes"),
        "{incident}"
    );
}

#[tokio::test]
async fn an_incident_that_continues_says_up_to_when_and_that_its_start_is_open() {
    let exporter = Exporter::start(CONFIG).await;
    let first = id(&exporter.probe("t", "127.0.0.1:1").await.evidence);
    // Probes with another hostname are of another target.
    exporter
        .probe_for("h", "http://127.0.0.1:1/", "&hostname=a.example")
        .await;
    let other = id(&exporter.probe("h", "http://127.0.0.1:1/").await.evidence);
    for id in [first, other] {
        let html = timeline(&exporter, &id).await;
        for words in [
            "at least ",
            "up to the latest probe at",
            ", at least 1 probe.",
            "none is known",
            "continues",
            "No other probe of this target is stored.",
        ] {
            assert!(html.contains(words), "{words}: {html}");
        }
    }
}

#[tokio::test]
async fn the_incident_outlives_the_list_of_probes_and_the_evidence() {
    let (peer, status) = switched().await;
    let exporter = Exporter::start_with(CONFIG, |settings| settings.history_limit = 3).await;
    let healthy = id(&exporter.probe("h", &peer.http()).await.evidence);
    status.store(503, Ordering::SeqCst);
    let mut last = String::new();
    for _ in 0..50 {
        last = id(&exporter.probe("h", &peer.http()).await.evidence);
    }
    let html = timeline(&exporter, &last).await;
    assert!(html.contains(", 50 probes.") && !html.contains("at least"), "{html}");
    // The evidence of the last healthy probe is gone, so the page does not link to it. Its facts are still known.
    assert!(!html.contains(&healthy), "{html}");
    assert_eq!(cells(&html, "fields changes", "Status")[1..3], ["200", "503"]);
    assert_eq!(
        html.matches("evidence not stored\"").count() + html.matches("evidence not stored)\"").count(),
        37,
        "{html}"
    );
}

#[tokio::test]
async fn a_probe_is_repeated_with_all_its_parameters() {
    let peer = Peer::start(ok).await;
    let backend = Peer::answering("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").await;
    let edge = Peer::answering("HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start(CONFIG).await;
    let more = format!(
        "&hostname=shop.example&backend=app@{};host=inner.example",
        backend.address
    );
    let more = more.replace(';', "%3B");
    let probed = exporter.probe_for("h", &format!("{}?a=b+c", edge.http()), &more).await;
    let path = format!("/evidence/{}/again", id(&probed.evidence));
    let page = timeline(&exporter, &id(&probed.evidence)).await;
    assert!(
        page.contains(&format!("action=\"{path}\"")) && page.contains("method=\"post\""),
        "{page}"
    );
    let again = exporter.post(&path).await;
    let place = again.url().path().to_owned();
    assert!(place.starts_with("/evidence/") && !place.ends_with("again"), "{place}");
    assert!(again.text().await.unwrap().contains(", at least 2 probes."));
    let json = exporter.get(&format!("{place}.json")).await.text().await.unwrap();
    let evidence: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_ne!(evidence["id"], probed.evidence["id"]);
    assert_eq!(evidence["hostname"], "shop.example");
    assert_eq!(evidence["target"]["name"], probed.evidence["target"]["name"]);
    assert_eq!(evidence["module"], "h");
    let asked = &evidence["investigation"]["backends"][0];
    assert_eq!(asked["address"], backend.address.to_string());
    drop(peer);
}

#[tokio::test]
async fn only_the_exporters_own_page_may_probe_again() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start(CONFIG).await;
    let path = format!(
        "/evidence/{}/again",
        id(&exporter.probe("h", &peer.http()).await.evidence)
    );
    let url = exporter.url(&path);
    let client = crate::support::http::client();
    let post = || client.post(&url);
    for (request, status, words) in [
        (client.get(&url), 405, "requires a POST"),
        (
            post().header("Sec-Fetch-Site", "cross-site"),
            403,
            "may not start probes",
        ),
        (
            post().header("Origin", "http://evil.example"),
            403,
            "may not start probes",
        ),
        (post().header("Host", "evil.example.org"), 403, "invalid Host"),
        (
            client.post(exporter.url("/evidence/0123456789abcdef/again")),
            404,
            "not stored",
        ),
        (client.post(exporter.url("/evidence/x/again")), 404, "not stored"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{words}");
        assert!(answer.text().await.unwrap().contains(words), "{words}");
    }
    assert_eq!(peer.connections(), 1);
    let own = post()
        .header("Sec-Fetch-Site", "same-origin")
        .header("Origin", exporter.url(""));
    assert_eq!(own.send().await.unwrap().status(), 200);
    assert_eq!(peer.connections(), 2);
}
