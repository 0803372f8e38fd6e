//! Parsers of untrusted input, without sockets: each parser with its seeds and the invariants for every input. The
//! tests feed mutants, `make fuzz` feeds the input of libFuzzer.

use super::page::Page;
use glassbox_exporter::config::{Config, Defaults};
use glassbox_exporter::exposition::{openmetrics, prometheus_text, protobuf};
use glassbox_exporter::negotiation::Format;
use glassbox_probe::check::read_response;
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::metrics::{self, Level, SSL_LAST_CHAIN_INFO, Value};
use glassbox_probe::target::{HttpUrl, Target};
use glassbox_probe::weights;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::gateways::{self, ObservedResponse};
use go_regexp::Regexp;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::path::Path;
use std::time::Duration;

/// One parser.
pub struct Parser {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub feed: fn(&[u8]),
}

/// All parsers.
pub const PARSERS: [Parser; 8] = [
    Parser {
        name: "configuration",
        seeds: configurations,
        feed: configuration,
    },
    Parser {
        name: "target",
        seeds: targets,
        feed: target,
    },
    Parser {
        name: "gateway",
        seeds: answers,
        feed: gateway,
    },
    Parser {
        name: "response",
        seeds: responses,
        feed: response,
    },
    Parser {
        name: "proxy_status",
        seeds: proxy_statuses,
        feed: proxy_status,
    },
    Parser {
        name: "labels",
        seeds: hostile_labels,
        feed: labels,
    },
    Parser {
        name: "regexp",
        seeds: patterns,
        feed: regexp,
    },
    Parser {
        name: "accept",
        seeds: accepts,
        feed: accept,
    },
];

/// Every file of a folder of the project.
fn fixtures(folder: &str) -> Vec<Vec<u8>> {
    // The package of `make fuzz` is in a subfolder.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|root| root.join(folder).is_dir());
    let folder = root.unwrap_or(package).join(folder);
    let mut files: Vec<_> = (std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn written(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

fn configurations() -> Vec<Vec<u8>> {
    [
        fixtures("tests/fixtures/config/good"),
        fixtures("tests/fixtures/config/bad"),
    ]
    .concat()
}

/// A valid file, when printed, is still valid. The error of an invalid file has a location within the file.
fn configuration(bytes: &[u8]) {
    let Ok(written) = std::str::from_utf8(bytes) else {
        return;
    };
    // Mutants must not read other files of this machine.
    if written.contains("_file") {
        return;
    }
    match Config::parse(written, Defaults::default()) {
        Ok(config) => {
            let _ = config.explain();
            for module in config.module_names() {
                let _ = config.module_yaml(module);
            }
            let shown = config.to_yaml();
            assert!(
                serde_yaml::from_str::<serde_json::Value>(&shown).is_ok(),
                "the printed configuration is not valid YAML:\n{shown}"
            );
        }
        Err(problem) => {
            let words = problem.to_string();
            assert!(!words.is_empty() && words.len() < 4096, "{words}");
        }
    }
}

fn targets() -> Vec<Vec<u8>> {
    written(&[
        "example.org",
        "https://user:word@example.org:8443/path?query=1#part",
        "[::1]:53",
        "[fe80::1%25eth0]:80",
        "10.0.0.7:http",
        "0x7f.1",
        "http://2130706433/",
        "http://[::ffff:127.0.0.1]/",
        "ws://example.org/chat",
        "app@10.0.0.7:8080;tls;sni=app.internal;host=example.org,db@[2001:db8::7]:80",
        "0123456789abcdef",
        "münchen.example",
        "http://ｅｘａｍｐｌｅ.org./",
    ])
}

/// A displayed target has no secrets and is one line.
fn target(bytes: &[u8]) {
    let written = String::from_utf8_lossy(bytes);
    let target = Target::new(&*written);
    let _ = target.host_port(None);
    // What is displayed is read back.
    if let Ok(parsed) = target.host_port(Some(443)) {
        assert_eq!(parsed.to_string().parse(), Ok(parsed), "{written}");
    }
    if let Ok(url) = target.http_url() {
        let shown = target.to_string();
        // A word that occurs elsewhere in the URL is not a secret.
        let is_secret = |word: &&str| word.len() > 8 && written.matches(word).count() == 1;
        let password = url.user().and_then(|user| user.password.clone()).unwrap_or_default();
        let password = String::from_utf8_lossy(&password);
        let word = Some(&*password).filter(is_secret);
        for shown in [shown, url.shown(), format!("{url:?}")] {
            assert!(!word.is_some_and(|word| shown.contains(word)), "{shown}");
        }
        // The request target is one line, and parsing it again does not change it.
        assert!(!url.target().iter().any(u8::is_ascii_control));
        let again = [b"http://a.example", &*url.target()].concat();
        let again = HttpUrl::parse(again).map(|again| again.target());
        assert_eq!(again.ok(), Some(url.target()));
    }
    let _ = Backend::read_all(&written);
    if let Ok(id) = written.parse::<EvidenceId>() {
        assert!(id.to_string().eq_ignore_ascii_case(&written));
    }
}

/// Real responses of gateways. The first line of each file is a description.
pub fn answers() -> Vec<Vec<u8>> {
    let answers = fixtures("crates/glassbox-verdict/fixtures/gateways")
        .into_iter()
        .map(|file| {
            let head = file.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            file[head..].to_vec()
        });
    answers.collect()
}

/// Leniently parsed fields of a header. The catalogue must also handle responses that the client would reject.
fn read(bytes: &[u8]) -> (u16, String, HeaderMap, String) {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(502);
    let phrase = words.next().unwrap_or_default().to_owned();
    let mut fields = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.trim().as_bytes()),
        ) {
            fields.append(name, value);
        }
    }
    (status, phrase, fields, body.to_owned())
}

fn recognise(status: u16, phrase: Option<&str>, headers: &HeaderMap, trailers: &HeaderMap, body: &str) {
    for waited in [0, 10, 60_000].map(Duration::from_millis) {
        let answer = ObservedResponse {
            status,
            phrase,
            headers,
            trailers,
            body,
            waited,
        };
        let _ = gateways::recognise(&answer);
        let _ = gateways::laundered(&answer);
        let _ = gateways::nearest(&answer);
    }
}

fn gateway(bytes: &[u8]) {
    let (status, phrase, fields, body) = read(bytes);
    recognise(status, Some(&phrase), &fields, &HeaderMap::new(), &body);
}

fn responses() -> Vec<Vec<u8>> {
    let odd = written(&[
        "HTTP/1.1 103 E\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nHTTP/1.1  200\nX : y\r\nX: a\r\n b\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\nX: y\r\nZ: w\r\n\r\nmore",
        "HTTP/1.0 204 No\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/2.0 099 \r\nTransfer-Encoding: gzip\r\n\r\nhello",
    ]);
    // Few of the gateway pages are enough: they are long and similar.
    [answers().into_iter().take(3).collect(), odd].concat()
}

/// The parsed response does not depend on the segmentation of the input, and its display is bounded.
fn response(bytes: &[u8]) {
    for is_head in [false, true] {
        let whole = read_response([bytes], is_head);
        // Single bytes would take too long. The unit tests of the reader cover them.
        let length = 1 + bytes.len() / 8;
        let pieces = read_response(bytes.chunks(length), is_head);
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            (Err(_), Err(_)) => {}
            _ => panic!("complete input: {whole:?}, in pieces of {length} bytes: {pieces:?}"),
        }
        let Ok(whole) = whole else { continue };
        assert!(whole.body.len() + whole.excess <= bytes.len());
        assert!(whole.deviations.line().is_none_or(|line| line.len() < 4096));
    }
}

fn proxy_statuses() -> Vec<Vec<u8>> {
    written(&[
        "edge.example; error=connection_timeout",
        "\"a proxy\"; error=http_response_incomplete; received-status=502; details=\"cut \\\"short\\\"\"",
        "a; next-backend=b, c; error=dns_error; rcode=\"NXDOMAIN\"; info-code=7",
        "envoy; error=tls_alert_received; alert-id=40; alert-message=\"handshake_failure\"",
        "x;error=?1;details=:cHJldGVuZA==:;a=1.5;b=@1659578233",
    ])
}

/// The value as a header, as a trailer, and twice.
fn proxy_status(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let name = HeaderName::from_static("proxy-status");
    let mut fields = HeaderMap::from_iter([(name.clone(), value.clone())]);
    recognise(502, None, &fields, &HeaderMap::new(), "");
    recognise(502, None, &HeaderMap::new(), &fields, "");
    fields.append(name, value);
    recognise(200, None, &fields, &HeaderMap::new(), "");
}

fn hostile_labels() -> Vec<Vec<u8>> {
    written(&[
        "CN=example.org|O=Example, Inc.|DNS:example.org",
        "a\"} 1\ninjected 1\n|# HELP x|\\n\\\"",
        "\u{202e}rtl|\u{feff}|\0",
    ])
}

/// Parsing the written text format returns the same values. The other formats can be written as well.
fn labels(bytes: &[u8]) {
    let written = String::from_utf8_lossy(bytes);
    let mut page = metrics::MetricPage::new(Level::Full);
    let values = written.split('|').chain(std::iter::repeat("")).map(str::to_owned);
    let labels: Vec<_> = SSL_LAST_CHAIN_INFO.labels.iter().copied().zip(values).collect();
    let shown = labels.iter().map(|(name, value)| (*name, value.clone().into()));
    page.push(&SSL_LAST_CHAIN_INFO, shown, Value::Number(1.0));
    let families = page.sorted();
    let exposition = prometheus_text::to_string(&families);
    let read = Page::parse(&exposition);
    let series: Vec<_> = read.starting(SSL_LAST_CHAIN_INFO.name).collect();
    let expected: Vec<_> = labels
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    let expected = format!("{}{{{}}}", SSL_LAST_CHAIN_INFO.name, expected.join(","));
    assert_eq!(series, [(expected.as_str(), 1.0)]);
    openmetrics::write(&families, &mut Vec::new()).unwrap();
    protobuf::write(&families, &mut Vec::new()).unwrap();
}

fn patterns() -> Vec<Vec<u8>> {
    written(&[
        r"^HTTP/1\.[01] (\d{3})",
        r"(?i)[[:alpha:]]+\pL\x{10FFFF}",
        r"(?P<name>a|b)*?c{2,30}",
        r"[^\d\s]$|\bword\B",
        r"\Qliteral\E(?s:.)",
    ])
}

fn regexp(bytes: &[u8]) {
    let (pattern, text) = bytes.split_at(bytes.len() - bytes.len() / 4);
    if let Ok(regexp) = Regexp::new(&String::from_utf8_lossy(pattern)) {
        let _ = regexp.is_match(text);
        let _ = regexp.captures(text).and_then(|captures| captures.group(0));
    }
}

fn accepts() -> Vec<Vec<u8>> {
    written(&[
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.4",
        "gzip, zstd;q=0.5, identity;q=0",
    ])
}

fn accept(bytes: &[u8]) {
    let field = String::from_utf8_lossy(bytes);
    let _ = Format::best(&field);
    let _ = weights::accepts(&field, "gzip");
}
