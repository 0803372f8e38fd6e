//! Header fields of a module that may stand in files: `http_headers`, and the headers of websocket.

use super::credentials::SecretSource;
use super::named_files::FileError;
use http::{HeaderName, HeaderValue};
use std::time::Instant;

/// The fields in order; a field may have several values.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(HeaderName, SecretSource)>);

impl Fields {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them. Values are marked sensitive.
    ///
    /// # Errors
    /// When a file cannot be read until then, or its text cannot stand in a header.
    pub(super) async fn all(&self, until: Instant) -> Result<Vec<(HeaderName, HeaderValue)>, FileError> {
        let mut fields = Vec::new();
        for (name, source) in &self.0 {
            let text = source.text(until).await?;
            let mut value = HeaderValue::from_str(text.reveal())
                .map_err(|_| format!("The value of the header {name} holds a control character."))?;
            value.set_sensitive(true);
            fields.push((name.clone(), value));
        }
        Ok(fields)
    }
}
