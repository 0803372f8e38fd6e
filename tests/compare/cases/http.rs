//! http: responses of servers, requests and assertions of modules, name resolution, TLS and proxies.

use super::{Case, Table};
use crate::support::peer::{Peer, ok, read_head, reset};
use crate::support::pki::self_signed;
use crate::support::process::free_port;
use crate::support::proxy::Proxy;
use crate::support::quic::{QuicServer, echo};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tokio::io::AsyncWriteExt as _;

/// Responses that servers send immediately.
async fn answers(table: &mut Table) -> Vec<(&'static str, String)> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(b"some text, and more of that text").unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zipped = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        gzip.len()
    )
    .into_bytes();
    zipped.extend(gzip);
    let mut targets = Vec::new();
    for (name, answer) in [
        (
            "plain",
            b"HTTP/1.1 200 OK\r\nLast-Modified: Mon, 02 Mar 2020 10:00:00 GMT\r\nServer: x\r\nContent-Length: 9\r\n\r\nsome text".to_vec(),
        ),
        ("json", b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"status\": \"up\", \"count\": 2}".to_vec()),
        ("gzip", zipped),
        (
            "chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n text\r\n0\r\n\r\n".to_vec(),
        ),
        ("until_end", b"HTTP/1.1 200 OK\r\n\r\nsome text".to_vec()),
        ("http10", b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nsome".to_vec()),
        ("no_content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        ("not_found", b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec()),
        (
            "bad_gateway",
            b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 11\r\n\r\nBad Gateway".to_vec(),
        ),
        ("odd_status", b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("early_hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsome".to_vec()),
        ("loop", b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("redirect_without_location", b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nsome".to_vec()),
        ("not_modified", b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        ("truncated", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nsome text".to_vec()),
        ("cut_chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nsome".to_vec()),
        ("closed", Vec::new()),
        ("no_http", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("broken_head", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".to_vec()),
    ] {
        let peer = Peer::answering(answer).await;
        targets.push((name, peer.http()));
        table.keep(peer);
    }
    // Redirects the first request and responds to the second one.
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let answer: &[u8] = if head.windows(6).any(|part| part == b"/there") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome text"
        } else {
            b"HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    })
    .await;
    targets.push(("redirect", peer.http()));
    table.keep(peer);
    targets
}

/// Requests and assertions of modules.
const MODULES: [(&str, &str); 29] = [
    ("default", "preferred_ip_protocol: ip4"),
    ("no_keys", ""),
    ("valid_status", "valid_status_codes: [200, 404, 502]"),
    ("head", "method: HEAD"),
    (
        "post",
        "method: POST, body: 'a=b', headers: {Content-Type: application/x-www-form-urlencoded}",
    ),
    ("no_redirects", "follow_redirects: false"),
    (
        "no_redirects_valid",
        "no_follow_redirects: true, valid_status_codes: [301, 302]",
    ),
    ("fail_if_ssl", "fail_if_ssl: true"),
    ("fail_if_not_ssl", "fail_if_not_ssl: true"),
    (
        "body_matches",
        "fail_if_body_matches_regexp: ['some (text|words)', 'never']",
    ),
    (
        "body_not_matches",
        "fail_if_body_not_matches_regexp: ['^some', 'text$']",
    ),
    (
        "body_of_any_status",
        "valid_status_codes: [200, 301, 302, 404, 502], fail_if_body_not_matches_regexp: [some]",
    ),
    (
        "header_matches",
        "fail_if_header_matches: [{header: Server, regexp: '^x$', allow_missing: true}]",
    ),
    (
        "header_not_matches",
        "fail_if_header_not_matches: [{header: content-length, regexp: '^[0-9]$'}]",
    ),
    (
        "header_may_miss",
        "fail_if_header_not_matches: [{header: X-None, regexp: a, allow_missing: true}]",
    ),
    ("small_body", "body_size_limit: 5B"),
    (
        "small_body_matched",
        "body_size_limit: 5B, fail_if_body_not_matches_regexp: ['^some']",
    ),
    ("gzip", "compression: gzip"),
    (
        "gzip_matched",
        "compression: gzip, headers: {Accept-Encoding: gzip}, fail_if_body_not_matches_regexp: ['more of']",
    ),
    ("cel", "fail_if_body_json_matches_cel: \"body.status == 'down'\""),
    ("cel_not", "fail_if_body_json_not_matches_cel: 'body.count > 1.5'"),
    (
        "cel_of_nothing",
        "fail_if_body_json_not_matches_cel: 'body.missing.deep == 1.0'",
    ),
    ("version", "valid_http_versions: [HTTP/1.1, HTTP/2.0]"),
    ("version_1_0", "valid_http_versions: [HTTP/1.0]"),
    ("basic_auth", "basic_auth: {username: me, password: secret}"),
    ("bearer", "bearer_token: secret"),
    ("authorization", "authorization: {type: Token, credentials: secret}"),
    (
        "fields",
        "http_headers: {X-A: {values: [a, b], secrets: [c]}}, headers: {Host: shop.test, User-Agent: us}",
    ),
    ("ip6_first", "preferred_ip_protocol: ip6"),
];

pub async fn add(table: &mut Table) {
    let targets = answers(table).await;
    table.cross("http", &MODULES, &targets);
    names(table).await;
    tls(table).await;
    proxies(table).await;
    tokens(table).await;
    hostnames(table).await;
    http3(table);
    let reset = Peer::start(|mut stream| async move {
        read_head(&mut stream).await;
        reset(&stream);
    })
    .await;
    let silent = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let stuck = Peer::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    for module in ["default", "body_matches", "body_not_matches", "head"] {
        for (name, url) in [
            ("refused", format!("http://127.0.0.1:{}/", free_port())),
            ("reset", reset.http()),
            ("silent", silent.http()),
            ("stuck", stuck.http()),
        ] {
            table.case("http", module, (name, &url));
        }
    }
    table.keep((reset, silent, stuck));
}

/// Names and addresses.
async fn names(table: &mut Table) {
    let peer = Peer::start(ok).await;
    let port = peer.address.port();
    let ip4 = "preferred_ip_protocol: ip4";
    table.cross(
        "http",
        &[
            ("names_ip4", ip4),
            (
                "names_ip4_only",
                "preferred_ip_protocol: ip4, ip_protocol_fallback: false",
            ),
            (
                "names_ip6_only",
                "preferred_ip_protocol: ip6, ip_protocol_fallback: false",
            ),
            ("names_any", ""),
            ("names_misspelt", "preferred_ip_protocol: ipv4"),
        ],
        &[
            ("name", format!("http://four.test:{port}/")),
            ("both", format!("http://both.test:{port}/")),
            ("without_scheme", format!("four.test:{port}/path?x=1")),
            ("address", peer.address.to_string()),
            ("userinfo", format!("http://user:pass@four.test:{port}/")),
            ("unknown", "http://unknown.test/".to_owned()),
            ("servfail", "http://fails.test/".to_owned()),
            ("no_data", "http://empty.test/".to_owned()),
            ("no_url", "http://a b/".to_owned()),
            ("no_scheme", "ftp://four.test/".to_owned()),
        ],
    );
    table.keep(peer);
}

async fn tls(table: &mut Table) {
    let trust = table.trust();
    let server = |name: &str, alpn: &[&str]| table.authority.leaf(name).server(alpn);
    let good = Peer::with_tls(server("127.0.0.1", &[]), ok).await;
    let named = Peer::with_tls(server("good.test", &[]), ok).await;
    let own = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let expired = Peer::with_tls(table.authority.expired("127.0.0.1").server(&[]), ok).await;
    let strict = table
        .authority
        .leaf("127.0.0.1")
        .server_for_clients_of(&table.authority);
    let strict = Peer::with_tls(strict, ok).await;
    let plain = Peer::start(ok).await;
    let refusing = Peer::start(|stream| async move { drop(stream) }).await;
    let (cert, key) = table.authority.files("client.test");
    let with = |more: &str| format!("preferred_ip_protocol: ip4, tls_config: {{{trust}{more}}}");
    let (trusting, skipping) = (
        with(""),
        "preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}",
    );
    let (renamed, newest) = (with(", server_name: good.test"), with(", min_version: TLS13"));
    let older = with(", max_version: TLS12");
    let client = with(&format!(", cert_file: {}, key_file: {}", cert.display(), key.display()));
    let forbidden = format!("{trusting}, fail_if_ssl: true");
    let demanded = format!("{trusting}, fail_if_not_ssl: true");
    let http1 = format!("{trusting}, enable_http2: false");
    let missing = "preferred_ip_protocol: ip4, tls_config: {ca_file: /nonexistent/ca.pem}";
    table.cross(
        "http",
        &[
            ("tls", &trusting),
            ("tls_skip", skipping),
            ("tls_system", "preferred_ip_protocol: ip4"),
            ("tls_name", &renamed),
            ("tls_13", &newest),
            ("tls_12", &older),
            ("tls_client", &client),
            ("tls_forbidden", &forbidden),
            ("tls_demanded", &demanded),
            ("tls_http1", &http1),
            ("tls_missing_ca", missing),
        ],
        &[
            ("good", good.https()),
            ("by_name", format!("https://good.test:{}/", named.address.port())),
            ("other_name", format!("https://good.test:{}/", good.address.port())),
            ("self_signed", own.https()),
            ("expired", expired.https()),
            ("client_certificate", strict.https()),
            ("plain_behind_https", plain.https()),
            ("closed_in_handshake", refusing.https()),
            ("plain", plain.http()),
        ],
    );
    table.keep((good, named, own, expired, strict, plain, refusing));
}

async fn proxies(table: &mut Table) {
    let plain = Peer::start(ok).await;
    let secured = Peer::with_tls(table.authority.leaf("127.0.0.1").server(&[]), ok).await;
    let to_plain = Proxy::http(plain.address).await;
    let to_secured = Proxy::http(secured.address).await;
    let socks = Proxy::socks5(plain.address).await;
    let refusing = Peer::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
    let nobody = free_port();
    let trust = format!("preferred_ip_protocol: ip4, tls_config: {{{}}}", table.trust());
    for (name, keys, url) in [
        (
            "plain",
            format!("proxy_url: 'http://{}'", to_plain.address()),
            plain.http(),
        ),
        (
            "secured",
            format!("proxy_url: 'http://us:er@{}'", to_secured.address()),
            secured.https(),
        ),
        (
            "name_left",
            format!(
                "proxy_url: 'http://{}', skip_resolve_phase_with_proxy: true",
                to_plain.address()
            ),
            "http://unknown.test/".to_owned(),
        ),
        (
            "socks",
            format!("proxy_url: 'socks5://user:password@{}'", socks.address()),
            plain.http(),
        ),
        (
            "refused_connect",
            format!("proxy_url: '{}'", refusing.http()),
            secured.https(),
        ),
        (
            "refused_relay",
            format!("proxy_url: '{}'", refusing.http()),
            plain.http(),
        ),
        (
            "not_there",
            format!("proxy_url: 'http://127.0.0.1:{nobody}'"),
            plain.http(),
        ),
        (
            "not_for_us",
            format!("proxy_url: 'http://127.0.0.1:{nobody}', no_proxy: other.test"),
            plain.http(),
        ),
    ] {
        let module = format!("proxy_{name}");
        table.module("http", &module, &format!("{trust}, {keys}"));
        table.case("http", &module, ("target", &url));
    }
    table.keep((plain, secured, to_plain, to_secured, socks, refusing));
}

async fn tokens(table: &mut Table) {
    let target = Peer::start(ok).await;
    let granting = Peer::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n\
         {\"access_token\":\"t\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
    )
    .await;
    let refusing = Peer::answering("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
    for (name, server) in [("granted", &granting), ("refused", &refusing)] {
        let module = format!("oauth2_{name}");
        let keys = format!(
            "preferred_ip_protocol: ip4, oauth2: {{client_id: us, client_secret: secret, token_url: '{}'}}",
            server.http()
        );
        table.module("http", &module, &keys);
        table.case("http", &module, ("target", &target.http()));
    }
    table.keep((target, granting, refusing));
}

fn http3(table: &mut Table) {
    let trust = table.trust();
    let server = |name: &str| QuicServer::start(table.authority.leaf(name).server(&["h3"]), echo);
    let (good, named) = (server("127.0.0.1"), server("good.test"));
    let own = QuicServer::start(self_signed("127.0.0.1").server(&["h3"]), echo);
    let keys = |more: &str| {
        format!("preferred_ip_protocol: ip4, enable_http2: false, enable_http3: true, tls_config: {{{trust}}}{more}")
    };
    let modules = [
        ("http3", keys("")),
        ("http3_version", keys(", valid_http_versions: [HTTP/3.0]")),
        (
            "http3_post",
            keys(", method: POST, body: some text, fail_if_body_not_matches_regexp: [^some]"),
        ),
    ];
    let modules: Vec<_> = modules.iter().map(|(name, keys)| (*name, keys.as_str())).collect();
    let targets = [
        ("good", good.url()),
        ("by_name", format!("https://good.test:{}/", named.address.port())),
        ("from_http", format!("http://{}/", good.address)),
        ("self_signed", own.url()),
        ("unknown", "https://unknown.test/".to_owned()),
    ];
    table.cross("http", &modules, &targets);
    table.keep((good, named, own));
}

/// Cases for the parameter `hostname`.
async fn hostnames(table: &mut Table) {
    let trust = format!("preferred_ip_protocol: ip4, tls_config: {{{}}}", table.trust());
    let peer = Peer::with_tls(table.authority.leaf("good.test").server(&[]), ok).await;
    table.module("http", "hostname", &trust);
    for (name, hostname) in [("right", "good.test"), ("wrong", "other.test")] {
        table.cases.push(Case {
            name: format!("http/hostname/{name}"),
            module: "http_hostname".to_owned(),
            target: peer.https().into_bytes(),
            hostname: Some(hostname.to_owned()),
        });
    }
    table.keep(peer);
}
