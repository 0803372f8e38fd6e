//! Credentials of a module, as an `Authorization` field.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use std::path::PathBuf;

/// Where a secret stands. A file is read at every probe, as with the peer, so that a rotated one is used.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the configuration.
    Text(Secret),
    /// In a file.
    File(PathBuf),
}

/// How a module authenticates.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// RFC 7617.
    Basic {
        /// The user.
        username: Source,
        /// The password.
        password: Source,
    },
    /// A scheme and a token, such as RFC 6750's.
    Token {
        /// The scheme.
        scheme: String,
        /// The token.
        token: Source,
    },
}

impl Source {
    fn text(&self) -> Result<Secret, String> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim())),
                Err(error) => Err(format!("{}: {error}.", path.display())),
            },
        }
    }
}

impl Credentials {
    /// The field's value.
    ///
    /// # Errors
    /// When a file cannot be read, or its text cannot stand in a header.
    pub(super) fn header(&self) -> Result<HeaderValue, String> {
        match self {
            Self::Basic { username, password } => {
                let pair = format!("{}:{}", username.text()?.reveal(), password.text()?.reveal());
                basic(pair.as_bytes())
            }
            Self::Token { scheme, token } => sensitive(format!("{scheme} {}", token.text()?.reveal())),
        }
    }
}

/// `user:password` as a Basic field.
pub(super) fn basic(pair: &[u8]) -> Result<HeaderValue, String> {
    sensitive(format!("Basic {}", BASE64.encode(pair)))
}

fn sensitive(text: String) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| "The credentials hold a control character.".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
