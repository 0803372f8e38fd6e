//! The keys of the probers except http, and of the diagnostics.

use super::keys;
use super::{AuthorizationFile, BasicAuthFile, ConfiguredBody, Fill, Spanned, TlsFile, refuse_unserved};
use crate::config::issue::ConfigIssue;
use crate::config::read::Claims;
use crate::config::read::Read;
use crate::config::tree::{Node, NodeKind, below};
use glassbox_probe::secret::Secret;
use serde::Serialize;
use std::collections::BTreeMap;

block! {
    /// The keys of the tcp prober.
    TcpFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        source_ip_address: Spanned<String>,
        query_response: Vec<Spanned<StepFile>>,
        tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
    } unserved {}
}

block! {
    /// The keys of the unix prober.
    UnixFile {
        query_response: Vec<Spanned<StepFile>>,
        tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
    } unserved {}
}

block! {
    /// The keys of the dns prober.
    DnsFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        dns_over_tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
        source_ip_address: Spanned<String>,
        transport_protocol: Spanned<String>,
        query_class: Spanned<String>,
        query_name: Spanned<String>,
        query_type: Spanned<String>,
        recursion_desired: bool,
        valid_rcodes: Vec<Spanned<String>>,
        validate_answer_rrs: RecordRulesFile,
        validate_authority_rrs: RecordRulesFile,
        validate_additional_rrs: RecordRulesFile,
    } unserved {}
}

block! {
    /// Assertions on the records of a section.
    RecordRulesFile {
        fail_if_matches_regexp: Vec<Spanned<String>>,
        fail_if_all_match_regexp: Vec<Spanned<String>>,
        fail_if_not_matches_regexp: Vec<Spanned<String>>,
        fail_if_none_matches_regexp: Vec<Spanned<String>>,
    } unserved {}
}

block! {
    /// The keys of the icmp prober.
    IcmpFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        source_ip_address: Spanned<String>,
        payload_size: Spanned<i64>,
        dont_fragment: bool,
        ttl: Spanned<i64>,
    } unserved {}
}

block! {
    /// The keys of the grpc prober.
    GrpcFile {
        service: String,
        tls: bool,
        tls_config: Spanned<TlsFile>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: Spanned<String>,
        metadata: BTreeMap<String, Vec<Spanned<Secret>>>,
    } unserved {}
}

block! {
    /// The keys of the websocket prober.
    WebsocketFile {
        http_config: ClientFile,
        headers: BTreeMap<String, Spanned<FieldFile>>,
        query_response: Vec<Spanned<StepFile>>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: Spanned<String>,
    } unserved {}
}

block! {
    /// The client keys of the Prometheus common library. Some have no effect in a websocket module.
    ClientFile {
        basic_auth: Spanned<BasicAuthFile>,
        authorization: Spanned<AuthorizationFile>,
        bearer_token: Spanned<Secret>,
        bearer_token_file: Spanned<String>,
        tls_config: Spanned<TlsFile>,
        follow_redirects: Spanned<bool>,
        enable_http2: Spanned<bool>,
        oauth2: Spanned<OAuth2File>,
        #[serde(serialize_with = "super::masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
        http_headers: BTreeMap<String, Spanned<FieldFile>>,
    } unserved {}
}

block! {
    /// The keys of OAuth 2.0.
    OAuth2File {
        client_id: Spanned<String>,
        client_secret: Secret,
        client_secret_file: Spanned<String>,
        client_certificate_key_id: String,
        client_certificate_key: Secret,
        client_certificate_key_file: Spanned<String>,
        signature_algorithm: Spanned<String>,
        iss: String,
        audience: String,
        claims: Claims,
        scopes: Vec<String>,
        #[serde(serialize_with = "super::masked_query")]
        token_url: Spanned<String>,
        endpoint_params: BTreeMap<String, Secret>,
        grant_type: Spanned<String>,
        tls_config: Spanned<TlsFile>,
        #[serde(serialize_with = "super::masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
    } unserved { client_secret_ref, client_certificate_key_ref, }
}

block! {
    /// The values of a header field.
    FieldFile {
        values: Vec<Spanned<Secret>>,
        secrets: Vec<Spanned<Secret>>,
        files: Vec<Spanned<String>>,
    } unserved {}
}

block! {
    /// A step of `query_response`.
    StepFile {
        expect: Spanned<String>,
        expect_bytes: Spanned<ConfiguredBody>,
        labels: Vec<Spanned<LabelFile>>,
        send: ConfiguredBody,
        starttls: Spanned<bool>,
    } unserved {}
}

block! {
    /// A label whose value contains groups of the match.
    LabelFile {
        name: Spanned<String>,
        value: String,
    } unserved {}
}

block! {
    /// A module's diagnostics. The unserved keys are not implemented yet.
    DiagnosticsFile {
        backends: Spanned<String>,
        cache_bypass: Spanned<String>,
        reference_request: bool,
        budget: Spanned<String>,
    } unserved {
        members, conformance, idle_timeout, idle_timeout_max, idle_timeout_edge, changes, http1_retry, handshake, network_path,
        path_mtu, dns,
    }
}
