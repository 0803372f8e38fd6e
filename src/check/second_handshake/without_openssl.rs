//! Stands in for the second TLS library in builds without it: no handshake is repeated.

use super::{SecondHandshake, key_word, told};
use crate::check::StageError as _;
use crate::check::dial::Dialled;
use crate::check::inspection::ServerChoice;
use crate::check::secure::SecureError;
use crate::check::wire::Wire;
use crate::reason::Reason;

/// How to get what this build lacks.
const HOW_TO_GET_IT: &str =
    "This build of the exporter does not speak that: build it with `--features legacy-tls`, or use the image";

impl SecondHandshake<'_> {
    #[allow(clippy::unused_async, reason = "as with the second library")]
    pub(super) async fn with_second_library(&self, _: &mut Wire, _: Option<&Dialled>) -> Result<(), SecureError> {
        let (min, max) = self.tls.versions();
        let detail = format!(
            "The module is for {} to {}. {HOW_TO_GET_IT}",
            key_word(min),
            key_word(max)
        );
        Err(told(Reason::LocalTlsUnsupported, detail))
    }

    #[allow(clippy::unused_async, reason = "as with the second library")]
    pub(super) async fn repeat(
        &self,
        _: &mut Wire,
        _: &Dialled,
        chosen: ServerChoice,
        failed: &SecureError,
    ) -> Result<(), SecureError> {
        let detail = format!(
            "{} The server chose {}. {HOW_TO_GET_IT}",
            failed.detail(),
            chosen.words()
        );
        Err(told(Reason::LocalTlsUnsupported, detail))
    }
}
