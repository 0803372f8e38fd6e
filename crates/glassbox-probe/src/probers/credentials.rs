//! A module's credentials, as an `Authorization` header.

use super::named_files::NamedFile;
use crate::check::Refusal;
use crate::secret::Secret;
use crate::target::User;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use std::time::Instant;

/// Maximum size of a file with a secret, in bytes.
const LARGEST_FILE: u64 = 64 * 1024;

/// The source of a secret.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The text in the configuration.
    Text(Secret),
    /// A file.
    File(NamedFile),
}

/// A module's authentication.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Basic authentication (RFC 7617).
    Basic {
        /// The user name.
        username: SecretSource,
        /// The password.
        password: SecretSource,
    },
    /// A scheme and a token, such as a bearer token (RFC 6750).
    Token {
        /// The scheme.
        scheme: String,
        /// The token.
        token: SecretSource,
    },
}

impl SecretSource {
    /// Returns the secret.
    ///
    /// # Errors
    /// Fails if the file cannot be read before `until`.
    pub(super) async fn text(&self, until: Instant) -> Result<Secret, Refusal> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => Ok(Secret::new(file.text(LARGEST_FILE, until).await?.trim())),
        }
    }
}

impl Credentials {
    /// Returns the value of the header.
    ///
    /// # Errors
    /// Fails if a file cannot be read before `until`, or if its text is not a valid header value.
    pub(super) async fn header(&self, until: Instant) -> Result<HeaderValue, Refusal> {
        match self {
            Self::Basic { username, password } => {
                let (username, password) = (username.text(until).await?, password.text(until).await?);
                basic(format!("{}:{}", username.reveal(), password.reveal()).as_bytes())
            }
            Self::Token { scheme, token } => sensitive(format!("{scheme} {}", token.text(until).await?.reveal())),
        }
    }
}

/// Encodes `user:password` as the value of a Basic `Authorization` header.
pub(super) fn basic(pair: &[u8]) -> Result<HeaderValue, Refusal> {
    sensitive(format!("Basic {}", BASE64.encode(pair)))
}

fn sensitive(text: String) -> Result<HeaderValue, Refusal> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Refusal::of_file("The credentials contain a control character."))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Basic credentials from the URL (RFC 7617).
pub(super) fn userinfo(user: &User) -> Option<HeaderValue> {
    let password = user.password.as_deref().unwrap_or_default();
    basic(&[&user.name, &b":"[..], password].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::userinfo;
    use crate::target::HttpUrl;

    /// As sent by `blackbox_exporter`.
    #[test]
    fn userinfo_is_decoded_before_it_is_encoded() {
        for (url, credentials) in [
            ("http://us%40er:p%3Aw@a/", Some("Basic dXNAZXI6cDp3")),
            ("http://@a/", Some("Basic Og==")),
            ("http://u@a/", Some("Basic dTo=")),
            ("http://u:@a/", Some("Basic dTo=")),
            ("http://u:p:q@a/", Some("Basic dTpwOnE=")),
            ("http://u@v@a/", Some("Basic dUB2Og==")),
            ("http://a/", None),
        ] {
            let url = HttpUrl::parse(url).unwrap();
            let found = url.user().and_then(userinfo);
            assert_eq!(
                found.as_ref().map(|value| value.to_str().unwrap()),
                credentials,
                "{url}"
            );
        }
    }
}
