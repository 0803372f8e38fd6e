//! Header fields of a module that may stand in files: `http_headers`, and the headers of websocket.

use super::credentials::{Source, off_the_runtime};
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// The fields in order; a field may have several values.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(HeaderName, Source)>);

impl Fields {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, within `time`. Values are marked sensitive.
    ///
    /// # Errors
    /// When a file cannot be read in time, or its text cannot stand in a header.
    pub(super) async fn within(&self, time: Duration) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let names_files = self.0.iter().any(|(_, source)| matches!(source, Source::File(_)));
        if !names_files {
            return self.read();
        }
        let fields = self.clone();
        off_the_runtime(time, move || fields.read()).await
    }

    fn read(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let fields = self.0.iter().map(|(name, source)| {
            let text = source.text()?;
            let mut value = HeaderValue::from_str(text.reveal())
                .map_err(|_| format!("The value of the header {name} holds a control character."))?;
            value.set_sensitive(true);
            Ok((name.clone(), value))
        });
        fields.collect()
    }
}
