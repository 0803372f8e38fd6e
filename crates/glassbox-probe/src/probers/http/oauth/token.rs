//! The response of a token server, and the token in it.

use crate::check::Refusal;
use crate::secrets::Secrets;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time before its expiry from which a token is no longer used.
const LEEWAY: Duration = Duration::from_secs(10);

/// Lifetime of a token without `expires_in`.
const UNTIL_TOLD: Duration = Duration::from_hours(1);

/// Maximum length of the token server's error code that is shown, in bytes.
const LONGEST_WORDS: usize = 128;

/// A token and its expiry.
#[derive(Debug)]
pub struct Token {
    pub(super) field: HeaderValue,
    pub(super) until: Instant,
}

/// The response of a token server (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// Some servers send the number as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

/// Whether the token server granted a token.
pub(super) const fn is_valid(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// The granted token, from JSON or, as some servers send it, from a form.
fn granted(body: &[u8]) -> Option<TokenResponse> {
    let granted = serde_json::from_slice(body).ok().or_else(|| {
        let fields: HashMap<_, _> = url::form_urlencoded::parse(body).into_owned().collect();
        Some(TokenResponse {
            access_token: fields.get("access_token")?.clone(),
            token_type: fields.get("token_type").cloned(),
            expires_in: fields.get("expires_in").cloned().map(Seconds::Text),
        })
    });
    granted.filter(|granted: &TokenResponse| !granted.access_token.is_empty())
}

/// Parses the response of the token server.
pub(super) fn read(status: u16, body: &[u8], secrets: &Secrets) -> Result<Token, Refusal> {
    if !is_valid(status) {
        let error = error_of(body, secrets);
        return Err(Refusal::of_credentials(format!(
            "The token server returned {status}{error}."
        )));
    }
    let granted = granted(body)
        .ok_or_else(|| Refusal::of_credentials("The token server's response contains no access_token."))?;
    let scheme = match granted.token_type.as_deref() {
        None => "Bearer",
        Some(kind) if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(kind) => kind,
    };
    let field = HeaderValue::try_from(format!("{scheme} {}", granted.access_token));
    let mut field = field.map_err(|_| Refusal::of_credentials("The token is not a valid header value."))?;
    field.set_sensitive(true);
    let seconds = match granted.expires_in {
        None => None,
        Some(Seconds::Number(seconds)) => Some(seconds),
        Some(Seconds::Text(text)) => text.parse().ok(),
    };
    let good_for = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token {
        field,
        until: Instant::now() + good_for.map_or(UNTIL_TOLD, |time| time.min(UNTIL_TOLD * 24).saturating_sub(LEEWAY)),
    })
}

/// The server's error code (RFC 6749 section 5.2). Some servers send a sentence that repeats part of the request.
fn error_of(body: &[u8], secrets: &Secrets) -> String {
    let error = serde_json::from_slice::<Value>(body).ok();
    let Some(code) = error.as_ref().and_then(|error| error["error"].as_str()) else {
        return String::new();
    };
    let shown = secrets.shown(code);
    format!(": {:?}", &shown[..shown.floor_char_boundary(LONGEST_WORDS)])
}

#[cfg(test)]
mod tests {
    use super::{Secrets, Token};
    use std::time::{Duration, Instant};

    fn read(status: u16, body: &[u8]) -> Result<Token, String> {
        super::read(status, body, &Secrets::default()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_token_is_good_until_shortly_before_it_expires() {
        let now = Instant::now();
        let token = read(
            200,
            br#"{"access_token": "abc", "token_type": "bearer", "expires_in": 60}"#,
        )
        .unwrap();
        assert_eq!(token.field, "Bearer abc");
        assert!(token.until > now + Duration::from_secs(40) && token.until < now + Duration::from_secs(55));
        let token = read(
            200,
            br#"{"access_token": "abc", "token_type": "MAC", "expires_in": "3600"}"#,
        )
        .unwrap();
        assert_eq!(token.field, "MAC abc");
        assert!(token.until > now + Duration::from_mins(59));
        assert!(!format!("{token:?}").contains("abc"));
        // A token that is about to expire is used only once.
        assert!(read(200, br#"{"access_token": "abc", "expires_in": 5}"#).unwrap().until <= Instant::now());
    }

    #[test]
    fn what_is_no_grant_is_told_in_the_servers_words() {
        let said = |status, body: &str| read(status, body.as_bytes()).unwrap_err();
        assert_eq!(
            said(400, r#"{"error": "invalid_scope", "error_description": "secret"}"#),
            "The token server returned 400: \"invalid_scope\"."
        );
        assert_eq!(said(502, "<html>"), "The token server returned 502.");
        assert_eq!(said(200, "{}"), "The token server's response contains no access_token.");
    }
}
