//! Header fields of requests: `Host`, and a module's fields whose values may be read from files (`http_headers`, and
//! the headers of the websocket prober).

use super::credentials::SecretSource;
use crate::check::Refusal;
use http::{HeaderName, HeaderValue};
use std::time::Instant;

/// The message for a host that is not a valid `Host` field.
pub(super) const INVALID_HOST: &str = "The host is not a valid header value.";

/// Parses a value for the `Host` field.
///
/// # Errors
/// Fails if a header field cannot contain the host.
pub(super) fn host_field(host: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(host).map_err(|_| Refusal::of_target(INVALID_HOST))
}

/// The fields in their order. A field may have several values.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(HeaderName, SecretSource)>);

impl Fields {
    /// Whether there are no fields.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all fields. The values are marked as sensitive.
    ///
    /// # Errors
    /// Fails if a file cannot be read before `until`, or if its text is not a valid header value.
    pub(super) async fn all(&self, until: Instant) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let mut fields = Vec::new();
        for (name, source) in &self.0 {
            let text = source.text(until).await?;
            let mut value = HeaderValue::from_str(text.reveal()).map_err(|_| {
                Refusal::of_file(format!("The value of the header {name} contains a control character."))
            })?;
            value.set_sensitive(true);
            fields.push((name.clone(), value));
        }
        Ok(fields)
    }
}
