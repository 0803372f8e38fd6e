//! Credentials of a module, as an `Authorization` field.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a file with a secret that are read.
const LARGEST_FILE: u64 = 64 * 1024;

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

/// Reads files where a file system that hangs stops nothing else, for as long as `time`.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    time: Duration,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(time, tokio::task::spawn_blocking(read)).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) => Err("Reading a file that the module names failed.".to_owned()),
        Err(_) => Err("Reading a file that the module names took all of the probe's time.".to_owned()),
    }
}

impl Source {
    pub(super) fn text(&self) -> Result<Secret, String> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text));
                match read {
                    Ok(_) => Ok(Secret::new(text.trim())),
                    Err(error) => Err(format!("{}: {error}.", path.display())),
                }
            }
        }
    }
}

impl Credentials {
    /// The field's value, within `time`. Files are read off the runtime: a file system that hangs must cost this probe
    /// only.
    ///
    /// # Errors
    /// When a file cannot be read in time, or its text cannot stand in a header.
    pub(super) async fn header_within(&self, time: Duration) -> Result<HeaderValue, String> {
        if !self.names_files() {
            return self.header();
        }
        let credentials = self.clone();
        off_the_runtime(time, move || credentials.header()).await
    }

    const fn names_files(&self) -> bool {
        match self {
            Self::Basic { username, password } => {
                matches!(username, Source::File(_)) || matches!(password, Source::File(_))
            }
            Self::Token { token, .. } => matches!(token, Source::File(_)),
        }
    }

    fn header(&self) -> Result<HeaderValue, String> {
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
