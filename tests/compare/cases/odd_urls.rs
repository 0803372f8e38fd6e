//! Rare notations of URLs, redirects, cookies and JSON. The length of the server's response encodes a hash of the
//! request, so the test compares the request target, `Host`, `Cookie` and `Authorization` byte by byte.

use super::Table;
use crate::support::peer::{Peer, read_head};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// Names for 127.0.0.1 that only these cases use.
pub const HOSTS: &[u8] =
    b"\n127.0.0.1 x.sub.site.test sub.site.test site.test other.test a.co.uk x+y.test a'b.test 12345 0xa9fea9ff \
                           xn--bcher-kva.test\n";

/// Paths and queries of targets, after `http://four.test:PORT`.
const PATHS: [&str; 61] = [
    "",
    "/",
    "/a|b",
    "/a^b",
    "/static/../secret",
    "/a/%2e%2e/b",
    "/a%2Fb",
    "//a//b",
    "/a;b;c",
    "/a\\b",
    "/a'b\"c",
    "/a'b",
    "/ü",
    "/%C3%BC",
    "/%c3%bc|",
    "/%zz",
    "/a%",
    "/?",
    "/??",
    "?",
    "?a=b",
    "/?a b",
    "/?a%20b",
    "/?ü",
    "/?\"<>",
    "/?a#b",
    "/#",
    "#f",
    "/a b",
    "/{x}",
    "/[x]",
    "/<x>",
    "/`x`",
    "/~x",
    "/*",
    "/a?b?c",
    "/%7Euser",
    "/%2e",
    "/.",
    "/..",
    "/a/./b",
    "/a,b",
    "/a+b",
    "/@x",
    "/:x",
    "/a=b&c",
    "/!$&'()*+,;=:@",
    "/%41",
    "/%e4",
    "/?%zz",
    "/?a;b",
    "/?|^",
    "/#a b",
    "/#%zz",
    "/%2f%2F",
    "/a ",
    "/?a ",
    "/ ",
    "#@other.test/",
    "/\u{a0}",
    "/a?b=http://x/../y",
];

/// Complete targets.
const TARGETS: [&str; 44] = [
    "four.test:PORT/x|y",
    "four.test:PORT",
    "four.test:PORT?x",
    "http:/four.test:PORT/",
    " http://four.test:PORT/",
    "http://four.test:PORT ",
    "http://@four.test:PORT/",
    "http://u@four.test:PORT/",
    "http://u:@four.test:PORT/",
    "http://:p@four.test:PORT/",
    "http://u:p:q@four.test:PORT/",
    "http://u%40:p%3a@four.test:PORT/",
    "http://u@v@four.test:PORT/",
    "http://u v@four.test:PORT/",
    "http://ü@four.test:PORT/",
    "http://u\\@four.test:PORT/",
    "http://u:p/q@four.test:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[127.0.0.1]:PORT/",
    "http://x[::1]:PORT/",
    "http://[::1]x:PORT/",
    "http://four.test:0PORT/",
    "http://FOUR.test:PORT/",
    "http://x+y.test:PORT/",
    "http://a'b.test:PORT/",
    "http://12345:PORT/",
    "http://0xa9fea9ff:PORT/",
    "http://%66our.test:PORT/",
    "http://four%2etest:PORT/",
    "http://0x7f000001:PORT/",
    "http://2130706433:PORT/",
    "http://127.1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://127.0.0.01:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://four test:PORT/",
    "http://four.test|x:PORT/",
    "http://four.test^x:PORT/",
    "http://four.test:http/",
    "http://four.test:-1/",
    "http://four.test:+PORT/",
    "http://four.test:PORT\\@other.test/",
    "*",
    "http://xn--bcher-kva.test:PORT/",
];

/// Targets that `glassbox_exporter` rejects before name resolution.
const NO_TARGETS: [&str; 8] = [
    "//four.test:PORT/x",
    "http:///four.test:PORT/x",
    "http:four.test:PORT/",
    "http://::1:PORT/",
    "http://four.test:PORT:PORT/",
    "http://",
    "http://?",
    "http://#",
];

/// `Location` values of redirects from `http://four.test:PORT/start/d/e?q=1`.
const LOCATIONS: [&[u8]; 60] = [
    b"/x",
    b"x",
    b"./x",
    b"../x",
    b"../../../x",
    b"..",
    b".",
    b"",
    b"?",
    b"?q",
    b"?q=a b",
    b"#f",
    b"/a|b",
    b"/a b",
    b"/\xc3\xbc",
    b"/\xfc",
    b"/?\xfc",
    b"/?\xc3\xbc",
    b"/%2e%2e/x",
    b"/a/%2e%2e/x",
    b"/a/../x",
    b"/a/./x",
    b"/a//b",
    b"///x",
    b"////x",
    b"//",
    b"..//x",
    b"..///x",
    b"../..///x",
    b"../../../..///x",
    b"../../..//..//x",
    b"/a\\b",
    b"\\x",
    b"http://127.0.0.1:PORT/x",
    b"HTTP://127.0.0.1:PORT/x",
    b"http://localhost:PORT/../x",
    b"http://localhost:PORT",
    b"http://localhost:PORT?q",
    b"http://LOCALHOST:PORT/",
    b"http://FOUR.test:PORT/y",
    b"http://b\xc3\xbccher.test:PORT/",
    b"http://b%C3%BCcher.test:PORT/",
    b"http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1:PORT/",
    b"http://u:p@four.test:PORT/",
    b"//u:p@four.test:PORT/",
    b"http://u:p@other.test:PORT/",
    b"http://127.1:PORT/",
    b"http://0x7f000001:PORT/",
    b"/a:b",
    b"/x#f",
    b"/x?",
    b"/x??",
    b"/x;y",
    b"/x'\"",
    b"*",
    b"?#",
    b"x/..",
    b"/a/b/../../..",
    b"/[x]",
    b"/{x}",
];

/// `Location` values that do not lead to an HTTP URL.
const NO_LOCATIONS: [&[u8]; 19] = [
    b"/%zz",
    b"//:PORT/",
    b"http:x",
    b"http:/x",
    b"http:///x",
    b"http://%31%32%37.0.0.1:PORT/",
    b"http://127.0.0.1:PORT\\@x/",
    b"ftp://127.0.0.1:PORT/",
    b"mailto:x",
    b"javascript:x",
    b"file:///etc/passwd",
    b"a:b",
    b"1a:b",
    b"/x%",
    b"http://[::1",
    b"http://::1/",
    b"http://127.0.0.1:x/",
    b"http://a b/",
    b"http://\xff:PORT/",
];

/// Cookies set by a redirect at `x.sub.site.test/start/d/e`, and its `Location`.
const COOKIES: [(&str, &str); 68] = [
    ("a=1; Path=/\nb=2; Path=/\nc=3; Path=/", "/n/x"),
    (
        "s=1; Path=/\ns=2; Path=/n\nt=3; Path=/n/\nu=4; Path=/n/x\nv=5; Path=/n/x/",
        "/n/x",
    ),
    ("s=1; Path=/\nt=9; Path=/\ns=2; Path=/", "/n"),
    ("s=1; Path=/\ns=2; Path=/; Max-Age=0", "/n"),
    ("s=1", "/n"),
    ("s=1", "/start2/d/z"),
    ("s=1", "/start/d/e/end"),
    ("s=1; Path=/; Domain=site.test", "/n"),
    ("s=1; Path=/; Domain=.site.test", "/n"),
    ("s=1; Path=/; Domain=SITE.test", "/n"),
    ("s=1; Path=/; Domain=test", "/n"),
    ("s=1; Path=/; Domain=other.test", "/n"),
    ("s=1; Path=/; Domain=x.sub.site.test.", "/n"),
    ("s=1; Path=/; Domain=..site.test", "/n"),
    ("s=1; Path=/; Domain=", "/n"),
    ("s=1; Path=/; Domain=site.test; Domain=", "/n"),
    ("s=1; Path=/; Domain=site.test", "http://sub.site.test:PORT/n"),
    ("s=1; Path=/", "http://sub.site.test:PORT/n"),
    ("s=1; Path=/; Domain=site.test", "http://site.test:PORT/n"),
    ("s=1; Path=/; Domain=site.test", "http://other.test:PORT/n"),
    ("same=1; Path=/", "http://X.sub.SITE.test:PORT/n"),
    ("s=1; Path=/; Secure", "/n"),
    ("s=1; Path=/n", "/%6e/x"),
    ("s=1; Path=/n", "/n%2Fx"),
    ("s=1; Path=/n", "/nx"),
    ("s=1; Path=/%6e", "/n"),
    ("s=1; Path=/; Max-Age=0", "/n"),
    ("s=1; Path=/; Max-Age=-1", "/n"),
    ("s=1; Path=/; Max-Age=10", "/n"),
    ("s=1; Path=/; Max-Age=x", "/n"),
    ("s=1; Path=/; Max-Age=010", "/n"),
    ("s=1; Path=/; Max-Age=+10", "/n"),
    ("s=1; Path=/; Max-Age=\"0\"", "/n"),
    ("s=1; Path=/; Max-Age=9999999999", "/n"),
    ("s=1; Path=/; Max-Age=99999999999999999999", "/n"),
    ("s=1; Path=/; Max-Age=10; Max-Age=0", "/n"),
    ("s=1; Path=/; Expires=Mon, 02 Jan 2006 15:04:05 GMT", "/n"),
    ("s=1; Path=/; Expires=Mon, 02-Jan-2006 15:04:05 GMT", "/n"),
    ("s=1; Path=/; Expires=Mon, 02-Jan-06 15:04:05 GMT", "/n"),
    ("s=1; Path=/; Expires=0", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Expires=x", "/n"),
    ("s=1; Path=/; Expires=Thu, 1 Jan 1970 00:00:00 GMT", "/n"),
    ("s=1; Path=/; Expires=thu, 01 jan 1970 00:00:00 GMT", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 +0000", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 +0100", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 PST", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00", "/n"),
    ("s=1; Path=/; Expires=Thu, 31 Feb 1970 00:00:00 GMT", "/n"),
    ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00.5 GMT", "/n"),
    ("s=\"1\"; Path=/", "/n"),
    ("s=\"\"; Path=/", "/n"),
    ("s=a b; Path=/", "/n"),
    ("s=a,b; Path=/", "/n"),
    ("s=; Path=/", "/n"),
    ("s; Path=/", "/n"),
    ("s=1=2; Path=/", "/n"),
    (" s = 1 ; Path=/", "/n"),
    ("s=a\"b; Path=/", "/n"),
    ("s=a\\b; Path=/", "/n"),
    ("s=ü; Path=/", "/n"),
    ("s t=1; Path=/", "/n"),
    ("s=1; path=/; PATH=/m", "/n"),
    ("s=1; Path=\"/\"", "/n"),
    ("m=9; Path=/", "/n"),
    ("m=0; Max-Age=0\nn=0; Max-Age=0\nk=0; Max-Age=0", "/n"),
    ("s=1; Path=/; Expires=Mon, 01 Jan 0001 00:00:00 GMT", "/n"),
    ("m=9; Path=/q\nk=1; Path=/; Max-Age=0", "/n"),
];

/// JSON bodies. The expressions check `body.a == 2.0` or the length of `body.s`.
const BODIES: [&[u8]; 50] = [
    b"{}",
    b"",
    b" ",
    b"null",
    b"\"x\"",
    b"{\"a\":2}",
    b"{\"a\":1,\"a\":2}",
    b"{\"a\":2}x",
    b"{\"a\":2} ",
    b"{\"a\":2}\0",
    b"\xef\xbb\xbf{\"a\":2}",
    b"{\"s\":\"\xff\"}",
    b"{\"s\":\"\xe2\x82\"}",
    b"{\"s\":\"\xe2\x82\xac\"}",
    b"{\"s\":\"\xed\xa0\x80\"}",
    b"{\"s\":\"\xf0\x9f\x98\"}",
    b"{\"s\":\"\\ud800\"}",
    b"{\"s\":\"\\ud800\\u0041\"}",
    b"{\"s\":\"\\ud83d\\ude00\"}",
    b"{\"s\":\"\\udc00\\ud800\"}",
    b"{\"s\":\"\\ud800\\ud83d\\ude00\"}",
    b"{\"s\":\"\\u0000\"}",
    b"{\"s\":\"\n\"}",
    b"{\"s\":\"\x7f\"}",
    b"{\"s\":\"\\x\"}",
    b"{\"s\":\"\\/\"}",
    b"{\"s\":\"\\uD8\"}",
    b"{\"a\":1e400}",
    b"{\"a\":2e0}",
    b"{\"a\":2E+0}",
    b"{\"a\":2.}",
    b"{\"a\":.5}",
    b"{\"a\":02}",
    b"{\"a\":+2}",
    b"{\"a\":NaN}",
    b"{\"a\":20000000000000000000000000000000000000e-37}",
    b"{\"a\":2.0000000000000000000000000000000001}",
    b"{'a':2}",
    b"{a:2}",
    b"{\"a\":2,}",
    b"{\"a\" 2}",
    b"{\"\\u0061\":2}",
    b"{\"\xff\":1,\"a\":2}",
    b"/* */{\"a\":2}",
    b"\t\r\n {\"a\":2}",
    b"\x0c{\"a\":2}",
    b"{\"A\":2}",
    b"[1,]",
    b"nullx",
    b"{\"a\":2,\"b\":1e}",
];

/// Paths with bytes that are not UTF-8, after `http://four.test:PORT`.
const BYTES: [&[u8]; 5] = [b"/\xff", b"/\xfc\xc3\xbc", b"/?\xff", b"/%ff\xff", b"/?\xc3("];

/// Values of `Host`.
const HOST_FIELDS: [&str; 14] = [
    "b\u{fc}cher.test",
    "B\u{dc}CHER.test:81",
    "b\u{fc}cher.test:8x",
    "\u{df}.test",
    "\u{2460}.test",
    "\u{c4}\u{d6}\u{3002}test",
    "a b",
    "a/b",
    "a@b",
    "a_b.test:",
    "a%41b",
    "[::1%eth0]",
    "[::1%25eth0]:80",
    "",
];

/// `Cookie` fields of the module, combined with cookies that a redirect sets.
const OWN_COOKIES: [(&str, &str); 7] = [
    ("headers: {Cookie: ''}", "s"),
    ("headers: {Cookie: ' '}", "s=1; Path=/"),
    ("headers: {Cookie: 'm=\"1 2\"; k'}", "m=9; Path=/"),
    ("headers: {Cookie: 'm=1; \u{fc}=2; =3; k=4'}", "m=9; Path=/"),
    ("headers: {Cookie: 'm=1'}", "m=9; Max-Age=0"),
    ("http_headers: {Cookie: {values: ['m=1', 'k=2']}}", "m=9; Path=/"),
    (
        "http_headers: {Cookie: {values: ['']}}, headers: {Cookie: 'm=1'}",
        "s=1; Path=/",
    ),
];

/// Expressions about timestamps and durations in [`TIMES_BODY`].
const TIMES: [&str; 26] = [
    "timestamp(body.t).getFullYear() == 2024 && timestamp(body.t).getMonth() == 1",
    "timestamp(body.t).getDate() == 29 && timestamp(body.t).getDayOfMonth() == 28",
    "timestamp(body.t).getDayOfWeek() == 4 && timestamp(body.t).getDayOfYear() == 59",
    "timestamp(body.t).getMilliseconds() == 123",
    "timestamp(body.t).getHours(\"+05:30\") == 5",
    "timestamp(body.t).getHours(\"America/New_York\") == 18",
    "timestamp(body.t).getHours(\"+24:00\") == 23",
    "timestamp(body.t).getHours(\"Mars/X\") == 23",
    "timestamp(body.e).getHours() == 18",
    "timestamp(body.t) - timestamp(body.e) == duration(\"5h30m\") + duration(\"123456789ns\")",
    "timestamp(body.n) == timestamp(3)",
    "timestamp(body.s) > timestamp(0)",
    "timestamp(\"2024-01-01 00:00:00Z\") > timestamp(0)",
    "timestamp(\"2024-01-01t00:00:00z\") > timestamp(0)",
    "timestamp(\"2016-12-31T23:59:60Z\") > timestamp(0)",
    "timestamp(\"2024-02-29T23:59:58\u{2212}05:00\") > timestamp(0)",
    "timestamp(253402300800) > timestamp(0)",
    "timestamp(\"9999-12-31T23:59:59Z\") + duration(\"1s\") > timestamp(0)",
    "duration(body.d).getMinutes() == 90 && string(duration(body.d)) == \"5400s\"",
    "duration(\"1\u{b5}s\") == duration(\"1000ns\")",
    "duration(\"0.3333333333333333333h\") == duration(\"20m\")",
    "duration(\"1e3s\") > duration(\"0s\")",
    "duration(\"--1h\") > duration(\"0s\")",
    "duration(\"1d\") > duration(\"0s\")",
    "duration(\"9223372036854775808ns\") > duration(\"0s\")",
    "duration(\"1.5h\") == duration(body.d)",
];

const TIMES_BODY: &str = "{\"t\":\"2024-02-29T23:59:58.123456789Z\",\"e\":\"2024-02-29T23:59:58+05:30\",\"d\":\"1h30m\",\
                          \"n\":3,\"s\":\"today\"}";

async fn fields(table: &mut Table) {
    let telling = Peer::start(|stream| tell(stream, None)).await;
    for bytes in BYTES {
        let target = [telling.http().trim_end_matches('/').as_bytes(), bytes].concat();
        let name = format!("bytes {}", bytes.escape_ascii());
        table.case_of_bytes("http", "odd_urls", (&name, target));
    }
    let host = [
        &b"http://a\xff.test:"[..],
        telling.address.port().to_string().as_bytes(),
        b"/",
    ]
    .concat();
    table.case_of_bytes("http", "odd_urls", ("nowhere: a host of bytes", host));
    for (number, host) in HOST_FIELDS.iter().enumerate() {
        let module = format!("odd_host_{number}");
        let keys = format!("preferred_ip_protocol: ip4, headers: {{Host: '{host}'}}");
        table.module("http", &module, &keys);
        table.case("http", &module, (&format!("Host {host}"), &telling.http()));
    }
    table.keep(telling);
    for (number, (own, set)) in OWN_COOKIES.iter().enumerate() {
        let module = format!("odd_own_cookies_{number}");
        table.module("http", &module, &format!("preferred_ip_protocol: ip4, {own}"));
        let head = format!("Set-Cookie: {set}\r\nLocation: /n").into_bytes();
        redirecting(table, &module, own, "four.test", head).await;
    }
    let body = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TIMES_BODY}",
        TIMES_BODY.len()
    );
    let peer = Peer::answering(body.into_bytes()).await;
    for (number, expression) in TIMES.iter().enumerate() {
        let module = format!("odd_times_{number}");
        let keys = format!("preferred_ip_protocol: ip4, fail_if_body_json_not_matches_cel: '{expression}'");
        table.module("http", &module, &keys);
        table.case("http", &module, (expression, &peer.http()));
    }
    table.keep(peer);
}

pub async fn add(table: &mut Table) {
    let four = "preferred_ip_protocol: ip4";
    table.module("http", "odd_urls", four);
    let telling = Peer::start(|stream| tell(stream, None)).await;
    let port = telling.address.port().to_string();
    for path in PATHS {
        let target = format!("http://four.test:{port}{path}");
        table.case("http", "odd_urls", (&format!("path {path}"), &target));
    }
    for target in TARGETS {
        table.case("http", "odd_urls", (target, &target.replace("PORT", &port)));
    }
    for target in NO_TARGETS {
        let name = format!("nowhere: {target}");
        table.case("http", "odd_urls", (&name, &target.replace("PORT", &port)));
    }
    table.keep(telling);
    let locations = LOCATIONS.map(|location| ("to", location)).into_iter();
    for (name, location) in locations.chain(NO_LOCATIONS.map(|location| ("to nowhere:", location))) {
        let head = [b"Location: ", location].concat();
        let name = format!("{name} {}", location.escape_ascii());
        redirecting(table, "odd_urls", &name, "four.test", head).await;
    }
    let long = [b"Location: /", &b"b".repeat(60_000)[..]].concat();
    redirecting(table, "odd_urls", "to a long one", "four.test", long).await;
    table.module(
        "http",
        "odd_cookies",
        &format!("{four}, headers: {{Cookie: 'm=1; n=2; k=3'}}"),
    );
    for (cookies, location) in COOKIES {
        let fields = cookies.split('\n').map(|cookie| format!("Set-Cookie: {cookie}\r\n"));
        let fields = fields.collect::<Vec<_>>().concat();
        let head = format!("{fields}Location: {location}").into_bytes();
        redirecting(table, "odd_cookies", cookies, "x.sub.site.test", head).await;
    }
    for (name, host) in [
        ("public suffix", "a.co.uk"),
        ("address", "127.0.0.1"),
        ("localhost", "localhost"),
    ] {
        let domain = if host == "a.co.uk" { "co.uk" } else { host };
        let head = format!(
            "Set-Cookie: s=1; Path=/; Domain={domain}\r\nSet-Cookie: t=1; Path=/; Secure\r\nSet-Cookie: u=1; Path=/; \
             Domain=.{domain}\r\nLocation: /n"
        );
        redirecting(table, "odd_cookies", name, host, head.into_bytes()).await;
    }
    json(table).await;
    fields(table).await;
}

/// Adds a server that redirects once.
async fn redirecting(table: &mut Table, module: &str, name: &str, host: &str, head: Vec<u8>) {
    let peer = Peer::start(move |stream| tell(stream, Some(head.clone()))).await;
    let target = format!("http://{host}:{}/start/d/e?q=1", peer.address.port());
    table.case("http", module, (name, &target));
    table.keep(peer);
}

async fn json(table: &mut Table) {
    for (module, expression) in [
        ("odd_json", "body.a == 2.0"),
        ("odd_json_1", "size(body.s) == 1"),
        ("odd_json_2", "size(body.s) == 2"),
        ("odd_json_any", "true || body == 1.0"),
    ] {
        let keys = format!("preferred_ip_protocol: ip4, fail_if_body_json_not_matches_cel: '{expression}'");
        table.module("http", module, &keys);
    }
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    let bodies = BODIES
        .iter()
        .map(|body| (body.escape_ascii().to_string(), body.to_vec()));
    let bodies = bodies.chain([2_000, 10_001].map(|depth| (format!("{depth} deep"), deep(depth))));
    for (name, body) in bodies.collect::<Vec<_>>() {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        let peer = Peer::answering([head, body].concat()).await;
        for module in ["odd_json", "odd_json_1", "odd_json_2", "odd_json_any"] {
            table.case("http", module, (&name, &peer.http()));
        }
        table.keep(peer);
    }
}

/// Responds with a body whose length is a hash of the request. If `redirects` is given, a request for `/start` is
/// redirected.
async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, redirects: Option<Vec<u8>>) {
    let head = read_head(&mut stream).await;
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let answer = match redirects {
        Some(fields) if first.starts_with(b"GET /start/") => {
            // Only `Host` contains the server's port.
            let host = lines
                .clone()
                .find(|line| line.starts_with(b"Host: "))
                .unwrap_or_default();
            let port: Vec<u8> = host
                .rsplit(|byte| *byte == b':')
                .next()
                .unwrap_or_default()
                .trim_ascii()
                .to_vec();
            let fields = replaced(&fields, &port);
            [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n", &fields[..], b"\r\n\r\n"].concat()
        }
        _ => {
            let compared = |line: &&[u8]| {
                [&b"Host:"[..], b"Cookie:", b"Authorization:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            };
            let mut kept: Vec<&[u8]> = lines.filter(compared).collect();
            kept.sort_unstable();
            kept.push(first);
            let hash = kept.concat().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let body = "x".repeat(usize::try_from(hash % 30_000).unwrap());
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
    };
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

fn replaced(fields: &[u8], port: &[u8]) -> Vec<u8> {
    match fields.windows(4).position(|part| part == b"PORT") {
        Some(at) => [&fields[..at], port, &fields[at + 4..]].concat(),
        None => fields.to_vec(),
    }
}
