//! The header fields of requests to another origin.

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT};

pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The fields that any client sends and that contain no secret. The list is closed, since a field such as
/// `Accept-Token` may contain one.
pub(super) fn crosses_origins(name: &HeaderName) -> bool {
    [USER_AGENT, ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name)
}

#[cfg(test)]
mod tests {
    use super::crosses_origins;
    use http::HeaderName;

    #[test]
    fn only_fields_that_every_client_sends_cross_origins() {
        for (name, crosses) in [
            ("accept", true),
            ("accept-language", true),
            ("user-agent", true),
            ("accept-token", false),
            ("acceptance-key", false),
            ("x-key", false),
        ] {
            assert_eq!(crosses_origins(&HeaderName::from_static(name)), crosses, "{name}");
        }
    }
}
