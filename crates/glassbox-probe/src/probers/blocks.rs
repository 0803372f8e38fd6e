//! Blocks of the configuration file that several probers have: their keys, and what is built from them.

pub mod address;
pub mod credentials;
pub mod header_fields;
pub mod oauth;
pub mod proxies;
pub mod steps;
pub mod tls;

use super::dns::RecordRulesFile;
use super::http::HeaderMatchFile;
use super::websocket::ClientFile;
use credentials::{AuthorizationFile, BasicAuthFile};
use header_fields::FieldFile;
use oauth::OAuth2File;
use steps::{LabelFile, StepFile};
use tls::TlsFile;

/// The keys of the blocks below those of the probers.
#[must_use]
pub fn keys_by_block() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("http_config", ClientFile::keys()),
        ("oauth2", OAuth2File::keys()),
        (
            "validate_answer_rrs, validate_authority_rrs or validate_additional_rrs",
            RecordRulesFile::keys(),
        ),
        ("an entry of http_headers", FieldFile::keys()),
        ("an entry of query_response", StepFile::keys()),
        ("an entry of labels", LabelFile::keys()),
        ("tls_config", TlsFile::keys()),
        ("basic_auth", BasicAuthFile::keys()),
        ("authorization", AuthorizationFile::keys()),
        (
            "fail_if_header_matches or fail_if_header_not_matches",
            HeaderMatchFile::keys(),
        ),
    ]
}
