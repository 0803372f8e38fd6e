//! The WebSocket handshake (RFC 6455 section 4.1): the requested host, and the checks of the response.

use crate::target::HttpUrl;
use http::header::{
    CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use tungstenite::handshake::derive_accept_key;

/// Maximum length of the explanation in bytes. The explanation may quote the server.
const LONGEST_WORDS: usize = 200;

/// Removes the request's `Host` from the header fields. The caller's `hostname` takes precedence, then the
/// module's own host, then the target's host. Returns `None` if it is not a valid header value.
pub(super) fn host(headers: &mut HeaderMap, hostname: Option<&str>, url: &HttpUrl) -> Option<HeaderValue> {
    let own = headers.remove(HOST);
    let given = hostname.map(|name| HeaderValue::from_str(name).ok());
    let target = || HeaderValue::from_str(&url.authority()).ok();
    given.or(own.map(Some)).unwrap_or_else(target)
}

/// The extensions and subprotocols that the module offers in its header fields.
pub(super) struct OfferedProtocols {
    extensions: Vec<String>,
    protocols: Vec<String>,
}

impl OfferedProtocols {
    pub fn of(headers: &HeaderMap) -> Self {
        let names = |name| list(headers, name).map(extension_name).collect();
        Self {
            extensions: names(SEC_WEBSOCKET_EXTENSIONS),
            protocols: list(headers, SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect(),
        }
    }

    /// Why a response with status 101 is invalid; `None` if it is valid.
    pub fn objection(&self, key: &str, answer: &HeaderMap) -> Option<String> {
        let has_token = |name: HeaderName, token: &str| list(answer, name).any(|item| item.eq_ignore_ascii_case(token));
        if !has_token(UPGRADE, "websocket") {
            return Some(said("its Upgrade field is not websocket"));
        }
        if !has_token(CONNECTION, "upgrade") {
            return Some(said("its Connection field does not contain Upgrade"));
        }
        let accept = answer.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Some(said("Sec-WebSocket-Accept does not match the request's key"));
        }
        let extension = list(answer, SEC_WEBSOCKET_EXTENSIONS).map(extension_name);
        if let Some(unasked) = extension.into_iter().find(|name| !self.extensions.contains(name)) {
            let words = format!("it uses the extension {unasked:?}, which was not offered");
            return Some(said(&words));
        }
        let protocols: Vec<_> = list(answer, SEC_WEBSOCKET_PROTOCOL).collect();
        match protocols[..] {
            [] => None,
            [one] if self.protocols.iter().any(|asked| asked == one) => None,
            [one] => Some(said(&format!(
                "it chose the subprotocol {one:?}, which was not offered"
            ))),
            _ => Some(said("it chose more than one subprotocol")),
        }
    }
}

fn said(words: &str) -> String {
    let words = &words[..words.floor_char_boundary(LONGEST_WORDS)];
    format!("The server switched protocols, but the response is invalid: {words}.")
}

/// The items of a list field (RFC 9110 section 5.6.1).
fn list(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(','));
    items.map(str::trim).filter(|item| !item.is_empty())
}

/// The name of an extension without its parameters.
fn extension_name(item: &str) -> String {
    let name = item.split(';').next().unwrap_or_default();
    name.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{OfferedProtocols, host};
    use crate::target::HttpUrl;
    use http::{HeaderMap, HeaderName, HeaderValue};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// A valid response (RFC 6455 section 1.3) with other values of some fields.
    fn objects(asked: &[(&'static str, &'static str)], changed: &[(&'static str, &'static str)]) -> Option<String> {
        let mut answer = fields(&[
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ]);
        for (name, value) in changed {
            answer.remove(*name);
            if !value.is_empty() {
                answer.insert(*name, HeaderValue::from_static(value));
            }
        }
        OfferedProtocols::of(&fields(asked)).objection(KEY, &answer)
    }

    #[test]
    fn an_answer_is_judged_by_rfc_6455() {
        const PROTOCOL: &str = "sec-websocket-protocol";
        const EXTENSIONS: &str = "sec-websocket-extensions";
        let asked = &[
            (PROTOCOL, "chat, superchat"),
            (EXTENSIONS, "permessage-deflate; server_no_context_takeover"),
        ][..];
        for (asked, changed, is_right) in [
            (&[][..], &[][..], true),
            (&[], &[("upgrade", "WebSocket")], true),
            (&[], &[("connection", "keep-alive, upgrade")], true),
            (&[], &[("upgrade", "")], false),
            (&[], &[("upgrade", "h2c")], false),
            (&[], &[("connection", "")], false),
            (&[], &[("connection", "close")], false),
            (&[], &[("sec-websocket-accept", "")], false),
            (&[], &[("sec-websocket-accept", "AAAA")], false),
            (&[], &[(EXTENSIONS, "permessage-deflate")], false),
            (&[], &[(PROTOCOL, "chat")], false),
            (asked, &[], true),
            (asked, &[(PROTOCOL, "superchat")], true),
            (asked, &[(PROTOCOL, "Chat")], false),
            (asked, &[(PROTOCOL, "chat, superchat")], false),
            (
                asked,
                &[(EXTENSIONS, "Permessage-Deflate; client_max_window_bits=15")],
                true,
            ),
            (asked, &[(EXTENSIONS, "permessage-deflate, x-other")], false),
        ] {
            let objection = objects(asked, changed);
            assert_eq!(objection.is_none(), is_right, "{changed:?} {objection:?}");
        }
    }

    #[test]
    fn the_host_is_the_callers_then_the_modules_then_the_targets() {
        let url = HttpUrl::parse("ws://user:pass@a.test:8080/").unwrap();
        let of = |hostname, pairs| {
            let mut headers = fields(pairs);
            let host = host(&mut headers, hostname, &url);
            assert!(!headers.contains_key("host"));
            host.map(|host| host.to_str().unwrap().to_owned())
        };
        assert_eq!(of(None, &[]).as_deref(), Some("a.test:8080"));
        assert_eq!(of(None, &[("host", "b.test")]).as_deref(), Some("b.test"));
        assert_eq!(of(Some("c.test"), &[("host", "b.test")]).as_deref(), Some("c.test"));
        assert_eq!(of(Some("c\n"), &[]), None);
    }
}
