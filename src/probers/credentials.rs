//! Credentials of a module, as an `Authorization` field.

use super::named_files::{FileError, NamedFile};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use std::time::Instant;

/// Bytes that a file with a secret may have.
const LARGEST_FILE: u64 = 64 * 1024;

/// Where a secret stands.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// In the configuration.
    Text(Secret),
    /// In a file.
    File(NamedFile),
}

/// How a module authenticates.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// RFC 7617.
    Basic {
        /// The user.
        username: SecretSource,
        /// The password.
        password: SecretSource,
    },
    /// A scheme and a token, such as RFC 6750's.
    Token {
        /// The scheme.
        scheme: String,
        /// The token.
        token: SecretSource,
    },
}

impl SecretSource {
    /// The secret itself.
    ///
    /// # Errors
    /// When its file cannot be read until then.
    pub(super) async fn text(&self, until: Instant) -> Result<Secret, FileError> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => Ok(Secret::new(file.text(LARGEST_FILE, until).await?.trim())),
        }
    }
}

impl Credentials {
    /// The field's value.
    ///
    /// # Errors
    /// When a file cannot be read until then, or its text cannot stand in a header.
    pub(super) async fn header(&self, until: Instant) -> Result<HeaderValue, FileError> {
        let header = match self {
            Self::Basic { username, password } => {
                let (username, password) = (username.text(until).await?, password.text(until).await?);
                basic(format!("{}:{}", username.reveal(), password.reveal()).as_bytes())
            }
            Self::Token { scheme, token } => sensitive(format!("{scheme} {}", token.text(until).await?.reveal())),
        };
        Ok(header?)
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
