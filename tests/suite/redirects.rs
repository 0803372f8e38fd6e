//! Redirects: which are followed, how they change the request, and what is never sent to another origin.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, read_head};
use crate::support::pki::Authority;
use crate::support::process::free_port;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The values of a header field, as received.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let values = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header field, which must not occur twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "duplicate {name} in {self:?}");
        values.first().copied()
    }

    /// The names of all header fields, in lower case and sorted.
    pub fn header_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort_unstable();
        names
    }

    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let head = read_head(stream).await;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let mut request = Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        };
        let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body).await.unwrap();
        request
    }
}

/// An HTTP server that records every request, and redirects if the path of the request contains a redirect (see
/// [`to`]).
pub struct Site {
    peer: Peer,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Site {
    pub async fn start() -> Self {
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = requests.clone();
        let peer = Peer::start(move |stream| answer(stream, kept.clone())).await;
        Self { peer, requests }
    }

    async fn start_tls(authority: &Authority) -> Self {
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = requests.clone();
        let server = authority.leaf("127.0.0.1").server(&["http/1.1"]);
        let peer = Peer::with_tls(server, move |stream| answer(stream, kept.clone())).await;
        Self { peer, requests }
    }

    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.peer.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, requests: Arc<Mutex<Vec<Request>>>) {
    let request = Request::read(&mut stream).await;
    let asked = request.path.strip_prefix("/to/");
    let answer = match asked.and_then(|rest| rest.split_once("?location=")) {
        Some((status, location)) => {
            let pair = format!("location={location}");
            let location = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap().1;
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
        }
        None => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
    };
    requests.lock().unwrap().push(request);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The path for which a [`Site`] responds with this status and Location.
pub fn to(status: u16, location: &str) -> String {
    let location: String = url::form_urlencoded::byte_serialize(location.as_bytes()).collect();
    format!("/to/{status}?location={location}")
}

/// A module with everything that must not be sent to another origin.
const LOADED: &str = "
  loaded:
    prober: http
    http:
      headers:
        Host: virtual.test
        X-Api-Key: key-of-the-module
        Cookie: cookie-of-the-module
        Accept: text/plain
        Accept-Language: en
        User-Agent: agent-of-the-module
      authorization:
        credentials: token-of-the-module
";

const POSTING: &str = "
  posting:
    prober: http
    http:
      method: POST
      headers:
        Content-Type: application/json
        Content-Language: en
        X-Api-Key: key-of-the-module
      body: '{\"a\":1}'
";

async fn exporter(modules: &str) -> Exporter {
    Exporter::start(&format!("modules:\n{modules}")).await
}

/// The secrets of [`LOADED`] in a request. `None` for a missing one.
fn secrets(request: &Request) -> [Option<String>; 3] {
    ["authorization", "x-api-key", "cookie"].map(|name| request.header(name).map(str::to_owned))
}

fn assert_carries_all(request: &Request, host: &str) {
    let expected = [
        "Bearer token-of-the-module",
        "key-of-the-module",
        "cookie-of-the-module",
    ];
    assert_eq!(secrets(request), expected.map(|value| Some(value.to_owned())));
    assert_eq!(request.header("host"), Some(host));
}

/// Asserts that a request to another origin has only generic fields, nothing of the module, and only the origin of the
/// previous URL.
fn assert_carries_nothing(request: &Request, host: &str) {
    assert_eq!(
        request.header_names(),
        [
            "accept",
            "accept-language",
            "connection",
            "host",
            "referer",
            "user-agent"
        ]
    );
    let referer = request.header("referer").unwrap();
    assert_eq!(referer.matches('/').count(), 3, "{referer}");
    assert!(referer.starts_with("http://") && referer.ends_with('/'), "{referer}");
    assert_eq!(request.header("host"), Some(host));
    assert_eq!(request.header("user-agent"), Some("agent-of-the-module"));
}

fn assert_succeeded(probed: &Probed) {
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

fn assert_failed(probed: &Probed, reason: &str) {
    assert_eq!(probed.page.value("probe_success"), 0.0);
    assert_eq!(probed.evidence["verdict"]["reason"], reason, "{:#}", probed.evidence);
}

fn redirects(probed: &Probed) -> f64 {
    probed.page.value("probe_http_redirects")
}

fn status(probed: &Probed) -> f64 {
    probed.page.value("probe_http_status_code")
}

fn exchanges(probed: &Probed) -> &Vec<Value> {
    probed.evidence["target"]["exchanges"].as_array().unwrap()
}

#[tokio::test]
async fn a_post_that_is_redirected_by_301_302_or_303_becomes_a_get_without_a_body() {
    let exporter = exporter(POSTING).await;
    for code in [301, 302, 303] {
        let site = Site::start().await;
        let probed = exporter.probe("posting", &site.url(&to(code, "/end"))).await;
        assert_succeeded(&probed);
        let requests = site.requests();
        assert_eq!(
            (requests[0].method.as_str(), requests[0].body.len()),
            ("POST", 7),
            "{code}"
        );
        assert_eq!(
            (requests[1].method.as_str(), requests[1].body.len()),
            ("GET", 0),
            "{code}"
        );
        assert_eq!(requests[1].path, "/end");
        assert_eq!(requests[1].header("x-api-key"), Some("key-of-the-module"), "{code}");
    }
}

#[tokio::test]
async fn a_get_after_a_post_has_no_content_headers() {
    let exporter = exporter(POSTING).await;
    let site = Site::start().await;
    exporter.probe("posting", &site.url(&to(303, "/end"))).await;
    // RFC 9110 section 15.4: content-specific header fields are removed if the method changes.
    for name in [
        "content-length",
        "content-type",
        "content-language",
        "transfer-encoding",
    ] {
        assert_eq!(site.requests()[1].header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_post_that_is_redirected_by_307_or_308_on_its_origin_keeps_method_and_body() {
    let exporter = exporter(POSTING).await;
    for code in [307, 308] {
        let site = Site::start().await;
        let probed = exporter.probe("posting", &site.url(&to(code, "/end"))).await;
        assert_succeeded(&probed);
        let last = &site.requests()[1];
        assert_eq!(
            (last.method.as_str(), last.body.as_slice()),
            ("POST", &b"{\"a\":1}"[..]),
            "{code}"
        );
        assert_eq!(last.header("content-type"), Some("application/json"), "{code}");
        assert_eq!(last.header("x-api-key"), Some("key-of-the-module"), "{code}");
    }
}

#[tokio::test]
async fn a_head_stays_a_head_after_every_redirect() {
    let exporter = exporter("  head: {prober: http, http: {method: HEAD}}").await;
    for code in [301, 302, 303, 307, 308] {
        let site = Site::start().await;
        let probed = exporter.probe("head", &site.url(&to(code, "/end"))).await;
        assert_succeeded(&probed);
        let methods: Vec<_> = site.requests().into_iter().map(|request| request.method).collect();
        assert_eq!(methods, ["HEAD", "HEAD"], "{code}");
    }
}

#[tokio::test]
async fn a_location_may_have_any_url_form() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    for (location, end) in [
        ("/end", "/end"),
        ("end", "/to/end"),
        ("../end", "/end"),
        ("?end=1", "/to/302?end=1"),
        ("/end#fragment", "/end"),
        ("//HOST/end", "/end"),
        ("http://HOST/end", "/end"),
        ("HTTP://HOST/a/../end", "/end"),
        ("http://HOST", "/"),
        ("/with space", "/with%20space"),
    ] {
        let site = Site::start().await;
        let location = location.replace("HOST", &site.address().to_string());
        let probed = exporter.probe("http_2xx", &site.url(&to(302, &location))).await;
        assert_succeeded(&probed);
        assert_eq!(redirects(&probed), 1.0, "{location}");
        assert_eq!(site.requests()[1].path, end, "{location}");
    }
}

#[tokio::test]
async fn other_statuses_and_redirects_without_location_are_final() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    for code in [300, 304, 305, 306] {
        let site = Site::start().await;
        let probed = exporter.probe("http_2xx", &site.url(&to(code, "/end"))).await;
        assert_failed(&probed, "http.status");
        assert_eq!((status(&probed), redirects(&probed)), (f64::from(code), 0.0));
        assert_eq!(site.requests().len(), 1, "{code}");
    }
    for head in ["HTTP/1.1 302 Found\r\n", "HTTP/1.1 302 Found\r\nLocation: \r\n"] {
        let peer = Peer::answering(format!("{head}Content-Length: 0\r\n\r\n")).await;
        let probed = exporter.probe("http_2xx", &peer.http()).await;
        assert_failed(&probed, "http.status");
        assert_eq!((status(&probed), redirects(&probed)), (302.0, 0.0));
    }
}

/// A site that always redirects to itself.
async fn endless() -> Site {
    let requests = Arc::<Mutex<Vec<Request>>>::default();
    let kept = requests.clone();
    let peer = Peer::start(move |mut stream| {
        let kept = kept.clone();
        async move {
            let request = Request::read(&mut stream).await;
            kept.lock().unwrap().push(request);
            let _ = stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 4\r\n\r\nmore")
                .await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    Site { peer, requests }
}

#[tokio::test]
async fn ten_redirects_are_followed() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    let site = Site::start().await;
    let chain = (0..10).fold("/end".to_owned(), |next, _| to(302, &next));
    let probed = exporter.probe("http_2xx", &site.url(&chain)).await;
    assert_succeeded(&probed);
    assert_eq!((status(&probed), redirects(&probed)), (200.0, 10.0));
    assert_eq!(site.requests().len(), 11);
    assert_eq!(exchanges(&probed).len(), 11);
}

#[tokio::test]
async fn the_eleventh_redirect_is_not_followed_and_its_status_is_the_last() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    let site = endless().await;
    let probed = exporter.probe("http_2xx", &site.url("/")).await;
    assert_failed(&probed, "http.response.redirect_loop");
    assert_eq!((status(&probed), redirects(&probed)), (302.0, 11.0));
    assert_eq!(site.requests().len(), 11);
    assert_eq!(exchanges(&probed).len(), 11);
    assert_eq!(probed.page.value("probe_http_responses_total{code=\"302\"}"), 1.0);
}

#[tokio::test]
async fn an_endless_redirect_succeeds_if_its_status_is_valid() {
    let exporter = exporter("  moved: {prober: http, http: {valid_status_codes: [302]}}").await;
    let site = endless().await;
    let probed = exporter.probe("moved", &site.url("/")).await;
    assert_succeeded(&probed);
    assert_eq!((status(&probed), redirects(&probed)), (302.0, 11.0));
}

#[tokio::test]
async fn without_following_redirects_the_first_response_counts() {
    let modules = "
  stays: {prober: http, http: {follow_redirects: false}}
  stays_by_the_old_key: {prober: http, http: {no_follow_redirects: true}}
  wants_it: {prober: http, http: {follow_redirects: false, valid_status_codes: [301], fail_if_body_not_matches_regexp: [moved]}}
";
    let exporter = exporter(modules).await;
    let moved = "HTTP/1.1 301 Moved\r\nLocation: /end\r\nContent-Length: 5\r\n\r\nmoved";
    for module in ["stays", "stays_by_the_old_key"] {
        let peer = Peer::answering(moved).await;
        let probed = exporter.probe(module, &peer.http()).await;
        assert_failed(&probed, "http.status");
        assert_eq!((status(&probed), redirects(&probed)), (301.0, 1.0), "{module}");
        assert_eq!(peer.connections(), 1, "{module}");
    }
    let peer = Peer::answering(moved).await;
    let probed = exporter.probe("wants_it", &peer.http()).await;
    assert_succeeded(&probed);
    assert_eq!((status(&probed), redirects(&probed)), (301.0, 1.0));
}

#[tokio::test]
async fn a_location_without_an_http_url_fails_the_probe() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    for location in [
        "http://[::1",
        "http://",
        "ftp://127.0.0.1/end",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://host:99999/",
    ] {
        let site = Site::start().await;
        let probed = exporter.probe("http_2xx", &site.url(&to(302, location))).await;
        assert_failed(&probed, "http.response.bad_redirect");
        assert_eq!((status(&probed), redirects(&probed)), (302.0, 1.0), "{location}");
        assert_eq!(site.requests().len(), 1, "{location}");
    }
}

/// The server chose the host, so the caller's target is not at fault.
#[tokio::test]
async fn a_location_with_an_impossible_host_is_the_servers_fault() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    let long = format!("http://{}.example/", "a".repeat(64));
    for location in [
        "http://[fe80::1%25nope]/",
        "https://a_b..example/",
        "http://a..example/",
        long.as_str(),
    ] {
        let site = Site::start().await;
        let probed = exporter.probe("http_2xx", &site.url(&to(302, location))).await;
        assert_failed(&probed, "http.response.bad_redirect");
        assert_eq!(probed.evidence["verdict"]["link"], "origin", "{location}");
        assert_eq!(probed.evidence["verdict"]["certainty"], "likely", "{location}");
    }
    // The same host as a target is the caller's mistake.
    let probed = exporter.probe("http_2xx", &long).await;
    assert_failed(&probed, "local.target_invalid");
}

#[tokio::test]
async fn credentials_module_headers_and_virtual_host_stay_on_the_same_origin() {
    let exporter = exporter(LOADED).await;
    for code in [301, 302, 303, 307, 308] {
        let site = Site::start().await;
        let absolute = to(code, &site.url("/end"));
        let probed = exporter.probe("loaded", &site.url(&to(code, &absolute))).await;
        assert_succeeded(&probed);
        let requests = site.requests();
        assert_eq!(requests.len(), 3, "{code}");
        for request in &requests {
            assert_carries_all(request, "virtual.test");
        }
    }
}

#[tokio::test]
async fn nothing_of_the_module_goes_to_another_port() {
    let exporter = exporter(LOADED).await;
    for code in [301, 302, 303, 307, 308] {
        let (edge, other) = (Site::start().await, Site::start().await);
        let probed = exporter.probe("loaded", &edge.url(&to(code, &other.url("/end")))).await;
        assert_succeeded(&probed);
        assert_carries_all(&edge.request(), "virtual.test");
        assert_carries_nothing(&other.request(), &other.address().to_string());
    }
}

/// An exporter with the module [`LOADED`], but without its virtual host and with this name server.
async fn exporter_that_asks(dns: &DnsServer) -> Exporter {
    let resolver = format!("    prober: http\n    {}\n", dns.as_key());
    let modules = LOADED.replace("    prober: http\n", &resolver);
    exporter(&modules.replace("        Host: virtual.test\n", "")).await
}

/// A name server with two names for this host.
async fn two_names() -> DnsServer {
    DnsServer::start(|name, _| match name.to_ascii_lowercase().as_str() {
        "one.test" | "two.test" => Says::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        _ => Says::NoData,
    })
    .await
}

#[tokio::test]
async fn nothing_of_the_module_goes_to_another_name_of_the_same_machine() {
    let dns = two_names().await;
    let exporter = exporter_that_asks(&dns).await;
    let site = Site::start().await;
    let port = site.address().port();
    for (from, other) in [
        ("one.test", "two.test"),
        ("one.test", "127.0.0.1"),
        ("127.0.0.1", "one.test"),
        ("one.test", "ONE.test."),
    ] {
        site.requests.lock().unwrap().clear();
        let end = format!("http://{other}:{port}/end");
        let probed = exporter
            .probe("loaded", &format!("http://{from}:{port}{}", to(302, &end)))
            .await;
        let requests = site.requests();
        assert_carries_all(&requests[0], &format!("{from}:{port}"));
        assert_succeeded(&probed);
        assert_carries_nothing(&requests[1], &format!("{other}:{port}"));
    }
}

#[tokio::test]
async fn a_name_is_the_same_origin_in_either_case() {
    let dns = two_names().await;
    let exporter = exporter_that_asks(&dns).await;
    let site = Site::start().await;
    let port = site.address().port();
    let end = format!("http://ONE.test:{port}/end");
    let probed = exporter
        .probe("loaded", &format!("http://one.test:{port}{}", to(302, &end)))
        .await;
    assert_succeeded(&probed);
    // The host is written as in the redirect, as in Go.
    assert_carries_all(&site.requests()[1], &format!("ONE.test:{port}"));
}

#[tokio::test]
async fn nothing_of_the_module_goes_from_http_to_https() {
    let authority = Authority::new();
    let tls = format!("      tls_config:\n        ca_file: {}\n", authority.ca_file.display());
    let exporter = exporter(&format!("{}{tls}", LOADED.trim_end_matches(' '))).await;
    let (edge, secure) = (Site::start().await, Site::start_tls(&authority).await);
    let end = format!("https://{}/end", secure.address());
    let probed = exporter.probe("loaded", &edge.url(&to(302, &end))).await;
    assert_succeeded(&probed);
    assert_eq!(probed.page.value("probe_http_ssl"), 1.0);
    assert_carries_nothing(&secure.request(), &secure.address().to_string());
}

#[tokio::test]
async fn the_modules_fields_do_not_return_with_a_redirect_back() {
    let exporter = exporter(LOADED).await;
    let (edge, other) = (Site::start().await, Site::start().await);
    let back = other.url(&to(302, &edge.url("/end")));
    let probed = exporter.probe("loaded", &edge.url(&to(302, &back))).await;
    assert_succeeded(&probed);
    assert_eq!(redirects(&probed), 2.0);
    let requests = edge.requests();
    assert_carries_all(&requests[0], "virtual.test");
    assert_carries_nothing(&requests[1], &edge.address().to_string());
    assert_carries_nothing(&other.request(), &other.address().to_string());
}

#[tokio::test]
async fn userinfo_stays_on_its_origin_and_does_not_return() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    let (edge, other) = (Site::start().await, Site::start().await);
    let back = other.url(&to(302, &edge.url("/end")));
    let target = edge
        .url(&to(302, &to(302, &back)))
        .replace("http://", "http://user:word@");
    let probed = exporter.probe("http_2xx", &target).await;
    assert_succeeded(&probed);
    let basic = Some("Basic dXNlcjp3b3Jk");
    let requests = edge.requests();
    let sent: Vec<_> = requests.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [basic, basic, None]);
    assert_eq!(other.request().header("authorization"), None);
    assert!(!probed.evidence.to_string().contains("word"), "{:#}", probed.evidence);
}

#[tokio::test]
async fn a_body_is_never_carried_to_another_origin() {
    let exporter = exporter(POSTING).await;
    for code in [307, 308] {
        let (edge, other) = (Site::start().await, Site::start().await);
        let probed = exporter
            .probe("posting", &edge.url(&to(code, &other.url("/end"))))
            .await;
        assert_failed(&probed, "http.response.bad_redirect");
        assert_eq!((status(&probed), redirects(&probed)), (f64::from(code), 1.0));
        assert_eq!(other.requests().len(), 0, "{code}");
        assert_eq!(edge.requests().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_post_that_becomes_a_get_goes_to_another_origin_without_its_body() {
    let exporter = exporter(POSTING).await;
    let (edge, other) = (Site::start().await, Site::start().await);
    let probed = exporter.probe("posting", &edge.url(&to(303, &other.url("/end")))).await;
    assert_succeeded(&probed);
    let request = other.request();
    assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0));
    assert_eq!(request.header_names(), ["connection", "host", "referer", "user-agent"]);
}

#[tokio::test]
async fn assertions_apply_to_the_last_response_only() {
    let modules = "
  plain: {prober: http, http: {fail_if_not_ssl: true}}
  clean: {prober: http, http: {fail_if_header_matches: [{header: Location, regexp: '.', allow_missing: true}]}}
  body: {prober: http, http: {fail_if_body_matches_regexp: [more], fail_if_body_not_matches_regexp: [hello]}}
";
    let exporter = exporter(modules).await;
    let site = Site::start().await;
    let target = site.url(&to(302, "/end"));
    assert_failed(&exporter.probe("plain", &target).await, "content.tls_required");
    assert_succeeded(&exporter.probe("clean", &target).await);
    assert_succeeded(&exporter.probe("body", &target).await);
}

#[tokio::test]
async fn each_redirect_is_an_exchange_and_the_gauges_are_sums() {
    let exporter = exporter("  full: {prober: http, metrics: full}").await;
    let (edge, other) = (Site::start().await, Site::start().await);
    let middle = other.url(&to(308, "/end"));
    let probed = exporter.probe("full", &edge.url(&to(302, &middle))).await;
    assert_succeeded(&probed);

    let seen: Vec<_> = exchanges(&probed)
        .iter()
        .map(|exchange| {
            (
                exchange["url"].as_str().unwrap().to_owned(),
                exchange["peer"].as_str().unwrap().to_owned(),
                exchange["reply"]["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let (at_edge, at_other) = (edge.address().to_string(), other.address().to_string());
    assert_eq!(
        seen,
        [
            (edge.url("/to/302?…"), at_edge, 302),
            (other.url("/to/308?…"), at_other.clone(), 308),
            (other.url("/end"), at_other, 200),
        ]
    );

    let total = |phases: &[&str]| -> f64 {
        let timings = probed.timings();
        let timings = timings.iter().filter(|(phase, ..)| phases.contains(&phase.as_str()));
        timings.map(|(_, seconds, _)| seconds).sum()
    };
    for (phase, timings) in [
        ("resolve", &["resolve"][..]),
        ("connect", &["connect"]),
        ("tls", &["tls"]),
        ("processing", &["request", "processing"]),
        ("transfer", &["transfer"]),
    ] {
        let gauge = probed
            .page
            .value(&format!("probe_http_duration_seconds{{phase=\"{phase}\"}}"));
        assert!(
            (gauge - total(timings)).abs() < 1e-9,
            "{phase}: {gauge}, expected {}",
            total(timings)
        );
        if phase != "tls" {
            // One observation per phase and probe, for any number of exchanges.
            assert!(probed.has_observed(phase), "{phase}");
        }
    }
    assert_eq!(probed.page.value("probe_attempts_total"), 1.0);
    assert_eq!(probed.page.value("probe_http_responses_total{code=\"200\"}"), 1.0);
    assert_eq!(probed.page.value("probe_http_responses_total{code=\"302\"}"), 0.0);
}

#[tokio::test]
async fn a_redirect_to_a_refusing_server_fails_with_both_exchanges() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    let site = Site::start().await;
    let nowhere = format!("http://127.0.0.1:{}/end", free_port());
    let probed = exporter.probe("http_2xx", &site.url(&to(302, &nowhere))).await;
    assert_failed(&probed, "tcp.refused");
    assert_eq!(redirects(&probed), 1.0);
    let exchanges = exchanges(&probed);
    assert_eq!(exchanges.len(), 2);
    assert_eq!(exchanges[0]["reply"]["status"], 302);
    assert_eq!(exchanges[1]["url"], nowhere);
    assert_eq!(exchanges[1]["reply"], Value::Null);
}

/// The Referer after a redirect is the full URL within an origin, and only the origin otherwise.
#[tokio::test]
async fn the_referer_is_complete_within_an_origin_only() {
    let exporter =
        exporter("  http_2xx: {prober: http}\n  own: {prober: http, http: {headers: {Referer: mine}}}").await;
    let (edge, other) = (Site::start().await, Site::start().await);
    let path = to(302, &to(302, &other.url("/end")));
    let target = edge.url(&path).replace("http://", "http://user:word@");
    assert_succeeded(&exporter.probe("http_2xx", &target).await);
    let requests = edge.requests();
    assert_eq!(requests[0].header("referer"), None);
    assert_eq!(requests[1].header("referer"), Some(edge.url(&path).as_str()));
    assert_eq!(other.request().header("referer"), Some(edge.url("/").as_str()));
    edge.requests.lock().unwrap().clear();
    assert_succeeded(&exporter.probe("own", &edge.url(&to(302, "/end"))).await);
    assert_eq!(edge.requests()[1].header("referer"), Some("mine"));
}

/// A Location is used as written, and bytes that must be encoded are encoded as in Go.
/// `tests/compare/cases/odd_urls.rs` has more cases.
#[tokio::test]
async fn a_location_is_followed_as_it_is_written() {
    let exporter = exporter("  http_2xx: {prober: http}").await;
    // Almost as long as the maximum response header.
    let long = format!("/{}", "a".repeat(60_000));
    for (location, target) in [
        (&b"/a|b"[..], "/a%7Cb"),
        (b"/a/%2e%2e/b", "/a/%2e%2e/b"),
        (b"/a/../b", "/b"),
        (b"/\xfc", "/%FC"),
        (b"/a\\b", "/a%5Cb"),
        (b"//", "/start"),
        (b"?", "/start?"),
        (long.as_bytes(), &long),
    ] {
        let head = [
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ",
            location,
            b"\r\n\r\n",
        ]
        .concat();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = asked.clone();
        let peer = Peer::start(move |mut stream| {
            let (head, kept) = (head.clone(), kept.clone());
            async move {
                let path = Request::read(&mut stream).await.path;
                let is_first = kept.lock().unwrap().is_empty();
                kept.lock().unwrap().push(path);
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let answer = if is_first { &head[..] } else { ok };
                stream.write_all(answer).await.unwrap();
            }
        })
        .await;
        let probed = exporter
            .probe("http_2xx", &(peer.http().trim_end_matches('/').to_owned() + "/start"))
            .await;
        assert_succeeded(&probed);
        assert_eq!(
            *asked.lock().unwrap(),
            ["/start", target],
            "{}",
            location.escape_ascii()
        );
    }
}

/// An address of an excluded family is a configuration error in the target, but a server error in a redirect.
#[tokio::test]
async fn a_redirect_to_an_excluded_address_family_is_invalid() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://[::1]:1/\r\nContent-Length: 0\r\n\r\n";
    let target = Peer::answering(answer).await;
    let keys = "preferred_ip_protocol: ip4, ip_protocol_fallback: false";
    let exporter = Exporter::start(&format!("modules: {{m: {{prober: http, http: {{{keys}}}}}}}")).await;
    let probed = exporter.probe("m", &target.http()).await;
    assert_failed(&probed, "http.response.bad_redirect");
    assert_eq!(probed.evidence["verdict"]["link"], "origin");
    let probed = exporter.probe("m", "http://[::1]:1/").await;
    assert_failed(&probed, "local.target_invalid");
}
