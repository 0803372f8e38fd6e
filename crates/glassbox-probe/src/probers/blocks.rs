//! Blocks of the configuration file that several probers have: their keys, and what is built from them.

pub mod address;
pub mod credentials;
pub mod header_fields;
pub mod oauth;
pub mod proxies;
pub mod steps;
pub mod tls;

use credentials::{AuthorizationFile, BasicAuthFile};
use header_fields::FieldFile;
use oauth::OAuth2File;
use steps::{LabelFile, StepFile};
use tls::TlsFile;

/// The keys of each block.
pub(super) fn keys_by_block() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("oauth2", OAuth2File::keys()),
        ("an entry of http_headers", FieldFile::keys()),
        ("an entry of query_response", StepFile::keys()),
        ("an entry of labels", LabelFile::keys()),
        ("tls_config", TlsFile::keys()),
        ("basic_auth", BasicAuthFile::keys()),
        ("authorization", AuthorizationFile::keys()),
    ]
}
