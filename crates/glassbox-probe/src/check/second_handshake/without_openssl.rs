//! Replaces the second TLS library in builds without it. No handshake is repeated.

use super::{SecondHandshake, key_word, told};
use crate::check::StageError as _;
use crate::check::dial::Dialled;
use crate::check::secure_error::SecureError;
use crate::check::tls_inspection::ServerChoice;
use crate::check::wire::Wire;
use glassbox_verdict::reason::Reason;

/// How to get the missing TLS support.
const HOW_TO_GET_IT: &str =
    "This build of the exporter does not support this: build it with `--features legacy-tls`, or use the image";

impl SecondHandshake<'_> {
    #[allow(clippy::unused_async, reason = "same signature as with the second TLS library")]
    pub(super) async fn with_second_library(&self, _: &mut Wire, _: Option<&Dialled>) -> Result<(), SecureError> {
        let (min, max) = self.tls.versions();
        let detail = format!(
            "The module allows {} to {}. {HOW_TO_GET_IT}",
            key_word(min),
            key_word(max)
        );
        Err(told(Reason::LocalTlsUnsupported, detail))
    }

    #[allow(clippy::unused_async, reason = "same signature as with the second TLS library")]
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
