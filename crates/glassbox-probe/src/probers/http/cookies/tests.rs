//! The cookies that `blackbox_exporter` 0.28 sent, by what servers had set.

use super::Cookies;
use crate::target::HttpUrl;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use std::time::SystemTime;

/// The `Cookie` field of a request to `to` after a response from `from` set these cookies. `own` is the module's own
/// field.
fn sent_beside(own: &'static str, set: &[&str], from: &str, to: &str) -> String {
    let url = |text: &str| HttpUrl::parse(text).unwrap();
    let (from, to, now) = (url(from), url(to), SystemTime::now());
    let mut cookies = Cookies::with_own((!own.is_empty()).then(|| HeaderValue::from_str(own).unwrap()));
    let fields = set
        .iter()
        .map(|text| (SET_COOKIE, HeaderValue::from_str(text).unwrap()));
    cookies.take(&from, &from.authority(), &fields.collect(), now);
    let mut headers = HeaderMap::new();
    cookies.add_to(&to, &to.authority(), &mut headers, now);
    headers.get(COOKIE).map_or_else(String::new, |value| {
        str::from_utf8(value.as_bytes()).unwrap().to_owned()
    })
}

fn sent(set: &[&str], from: &str, to: &str) -> String {
    sent_beside("", set, from, to)
}

const HERE: &str = "http://x.sub.a.test/start/d/e";

/// Recorded from `blackbox_exporter` 0.28.
#[test]
fn cookies_go_in_gos_order() {
    let to = "http://x.sub.a.test/n/x";
    for (set, right) in [
        (&["a=1; Path=/", "b=2; Path=/", "c=3; Path=/"][..], "a=1; b=2; c=3"),
        (
            &[
                "s=1; Path=/",
                "s=2; Path=/n",
                "t=3; Path=/n/",
                "u=4; Path=/n/x",
                "v=5; Path=/n/x/",
                "w=6; Path=/m",
            ],
            "u=4; t=3; s=2; s=1",
        ),
        (&["s=1; Path=/", "t=9; Path=/", "s=2; Path=/"], "s=2; t=9"),
        (&["s=1; Path=/", "s=2; Path=/; Max-Age=0"], ""),
    ] {
        assert_eq!(sent(set, HERE, to), right, "{set:?}");
    }
    let many: Vec<String> = (0..60).map(|number| format!("c{number}={number}; Path=/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(sent(&many, HERE, to).split("; ").count(), 60);
}

#[test]
fn a_cookie_goes_where_it_belongs() {
    for (set, from, to, right) in [
        ("s=1", HERE, "http://x.sub.a.test/n/x", ""),
        ("s=1", HERE, "http://x.sub.a.test/start/d/z", "s=1"),
        ("s=1", HERE, "http://x.sub.a.test:81/start/d", "s=1"),
        ("s=1", HERE, "http://x.sub.a.test/start/do", ""),
        ("s=1; Path=/n", HERE, "http://x.sub.a.test/%6e/x", "s=1"),
        ("s=1; Path=/n", HERE, "http://x.sub.a.test/n%2Fx", "s=1"),
        ("s=1; Path=/", HERE, "http://X.SUB.a.test./", "s=1"),
        ("s=1; Path=/", HERE, "http://sub.a.test/", ""),
        ("s=1; Path=/; Domain=.A.test", HERE, "http://a.test/", "s=1"),
        ("s=1; Path=/; Domain=a.test", HERE, "http://b.a.test/", "s=1"),
        ("s=1; Path=/; Domain=a.test", HERE, "http://ba.test/", ""),
        ("s=1; Path=/; Domain=test", HERE, "http://b.test/", ""),
        ("s=1; Path=/; Domain=b.test", HERE, "http://b.test/", ""),
        ("s=1; Path=/; Domain=x.sub.a.test.", HERE, HERE, ""),
        ("s=1; Path=/; Domain=..a.test", HERE, HERE, ""),
        ("s=1; Path=/; Domain=co.uk", "http://a.co.uk/", "http://b.co.uk/", ""),
        (
            "s=1; Path=/; Domain=127.0.0.1",
            "http://127.0.0.1/",
            "http://127.0.0.1:81/",
            "s=1",
        ),
        (
            "s=1; Path=/; Domain=.127.0.0.1",
            "http://127.0.0.1/",
            "http://127.0.0.1/",
            "",
        ),
        (
            "s=1; Path=/; Domain=localhost",
            "http://localhost/",
            "http://localhost/",
            "s=1",
        ),
        (
            "s=1; Path=/; Domain=localhost",
            "http://localhost/",
            "http://a.localhost/",
            "",
        ),
        ("s=1; Path=/; Secure", HERE, "http://x.sub.a.test/", ""),
        ("s=1; Path=/; Secure", HERE, "https://x.sub.a.test/", "s=1"),
        ("s=1; Path=/; Secure", "http://localhost/", "http://localhost/", "s=1"),
        ("s=1; Path=/; Secure", "http://[::1]/", "http://[::1]:81/", "s=1"),
        (
            "s=1; Path=/",
            "http://xn--bcher-kva.test/",
            "http://bücher.test/",
            "s=1",
        ),
    ] {
        assert_eq!(sent(&[set], from, to), right, "{set} from {from} to {to}");
    }
}

#[test]
fn a_field_is_read_as_go_reads_it() {
    for (set, right) in [
        ("s=\"1\"; Path=/", "s=\"1\""),
        ("s=\"\"; Path=/", "s=\"\""),
        ("s=a b; Path=/", "s=\"a b\""),
        ("s=a,b; Path=/", "s=\"a,b\""),
        ("s=; Path=/", "s="),
        ("s=1=2; Path=/", "s=1=2"),
        (" s = 1 ; Path=/", "s=\" 1\""),
        ("s; Path=/", ""),
        ("=1; Path=/", ""),
        ("s t=1; Path=/", ""),
        ("s=\"; Path=/", ""),
        ("s=a\"b; Path=/", ""),
        ("s=a\\b; Path=/", ""),
        ("s=ü; Path=/", ""),
        ("s=1; path=/; PATH=/m", ""),
        ("s=1; Path=\"/\"", ""),
        ("s=1;Path=/;; HttpOnly; SameSite=Strict; Partitioned", "s=1"),
        ("s=1; Path=/; Domain=b.test; Domain=", "s=1"),
        ("__Host-s=1; Path=/", "__Host-s=1"),
        (";", ""),
        ("s=1; Path=/; Max-Age=-1", ""),
        ("s=1; Path=/; Max-Age=010", "s=1"),
        ("s=1; Path=/; Max-Age=+10", "s=1"),
        ("s=1; Path=/; Max-Age=\"0\"", "s=1"),
        ("s=1; Path=/; Max-Age=9999999999", ""),
        ("s=1; Path=/; Max-Age=99999999999999999999", "s=1"),
        ("s=1; Path=/; Expires=Mon, 02 Jan 2006 15:04:05 GMT", ""),
        ("s=1; Path=/; Expires=Mon, 02 Jan 2096 15:04:05 GMT", "s=1"),
        ("s=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10", "s=1"),
        ("s=1; Path=/; Expires=0", "s=1"),
    ] {
        assert_eq!(sent(&[set], HERE, "http://x.sub.a.test/n/x"), right, "{set}");
    }
    let long = format!("s={}; Path=/", "v".repeat(5000));
    assert_eq!(sent(&[&long], HERE, HERE).len(), 5002);
}

#[test]
fn the_modules_own_cookies_yield_to_those_of_answers() {
    let own = "m=1; n=2; k=3";
    for (set, right) in [
        (&["z=9; Path=/"][..], "m=1; n=2; k=3; z=9"),
        (&["m=9; Path=/"], "k=3; n=2; m=9"),
        (&["n=9; Path=/q"], "k=3; m=1"),
        (&["m=9; Path=/; Max-Age=0", "k=1; Path=/"], "n=2; k=1"),
        (&["m=1; Max-Age=0", "n=1; Max-Age=0", "k=1; Max-Age=0"], ""),
        (&[], "m=1; n=2; k=3"),
    ] {
        assert_eq!(sent_beside(own, set, HERE, "http://x.sub.a.test/n"), right, "{set:?}");
    }
    for (own, set, right) in [
        ("m=\"1 2\"; k", "m=9; Path=/", "k=; m=9"),
        ("m=1; \u{fc}=2; =3; k=4", "m=9; Path=/", "k=4; m=9"),
        ("m=\u{fc}; k=3", "m=9; Path=/", "m=\u{fc}; k=3; m=9"),
        (" ", "m=9; Path=/", " ; m=9"),
    ] {
        assert_eq!(sent_beside(own, &[set], HERE, "http://x.sub.a.test/n"), right, "{own}");
    }
}

/// Recorded from `blackbox_exporter` 0.28.
#[test]
fn an_empty_field_stays_and_further_fields_are_left_alone() {
    let (url, now) = (HttpUrl::parse(HERE).unwrap(), SystemTime::now());
    let sent = |own: Option<&'static str>, set: &'static str| {
        let mut cookies = Cookies::with_own(own.map(HeaderValue::from_static));
        let set = [(SET_COOKIE, HeaderValue::from_static(set))].into_iter().collect();
        cookies.take(&url, &url.authority(), &set, now);
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static(""));
        headers.append(COOKIE, HeaderValue::from_static("x=1"));
        cookies.add_to(&url, &url.authority(), &mut headers, now);
        let values = headers.get_all(COOKIE).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(None, "s"), ["", "x=1"]);
    assert_eq!(sent(None, "s=2; Path=/"), ["s=2", "", "x=1"]);
    assert_eq!(sent(Some(""), "s"), ["", "", "x=1"]);
    assert_eq!(sent(Some("m=1"), "m=0; Max-Age=0"), ["", "", "x=1"]);
}
