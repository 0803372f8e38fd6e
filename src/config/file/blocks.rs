//! The blocks of the probers but http, as they are written.

use super::{At, AuthorizationFile, BasicAuthFile, Body, Fill, TlsFile, refuse_unserved};
use crate::config::keys::{plain, unknown};
use crate::config::problem::Problem;
use crate::config::read::Claims;
use crate::config::read::Read;
use crate::config::tree::{Kind, Node, below};
use crate::secret::Secret;
use serde::Serialize;
use std::collections::BTreeMap;

block! {
    /// The keys of the tcp prober.
    TcpFile {
        preferred_ip_protocol: At<String>,
        ip_protocol_fallback: bool,
        source_ip_address: At<String>,
        query_response: Vec<At<StepFile>>,
        tls: At<bool>,
        tls_config: At<TlsFile>,
    } unserved {}
}

block! {
    /// The keys of the unix prober.
    UnixFile {
        query_response: Vec<At<StepFile>>,
        tls: At<bool>,
        tls_config: At<TlsFile>,
    } unserved {}
}

block! {
    /// The keys of the dns prober.
    DnsFile {
        preferred_ip_protocol: At<String>,
        ip_protocol_fallback: bool,
        dns_over_tls: At<bool>,
        tls_config: At<TlsFile>,
        source_ip_address: At<String>,
        transport_protocol: At<String>,
        query_class: At<String>,
        query_name: At<String>,
        query_type: At<String>,
        recursion_desired: bool,
        valid_rcodes: Vec<At<String>>,
        validate_answer_rrs: RecordRulesFile,
        validate_authority_rrs: RecordRulesFile,
        validate_additional_rrs: RecordRulesFile,
    } unserved {}
}

block! {
    /// Assertions on the records of a section.
    RecordRulesFile {
        fail_if_matches_regexp: Vec<At<String>>,
        fail_if_all_match_regexp: Vec<At<String>>,
        fail_if_not_matches_regexp: Vec<At<String>>,
        fail_if_none_matches_regexp: Vec<At<String>>,
    } unserved {}
}

block! {
    /// The keys of the icmp prober.
    IcmpFile {
        preferred_ip_protocol: At<String>,
        ip_protocol_fallback: bool,
        source_ip_address: At<String>,
        payload_size: At<i64>,
        dont_fragment: bool,
        ttl: At<i64>,
    } unserved {}
}

block! {
    /// The keys of the grpc prober.
    GrpcFile {
        service: String,
        tls: bool,
        tls_config: At<TlsFile>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: At<String>,
        metadata: BTreeMap<String, Vec<At<Secret>>>,
    } unserved {}
}

block! {
    /// The keys of the websocket prober.
    WebsocketFile {
        http_config: ClientFile,
        headers: BTreeMap<String, At<FieldFile>>,
        query_response: Vec<At<StepFile>>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: At<String>,
    } unserved {}
}

block! {
    /// A client's keys, as prometheus' own library has them. Of a websocket some do nothing.
    ClientFile {
        basic_auth: At<BasicAuthFile>,
        authorization: At<AuthorizationFile>,
        bearer_token: At<Secret>,
        bearer_token_file: At<String>,
        tls_config: At<TlsFile>,
        follow_redirects: At<bool>,
        enable_http2: At<bool>,
        oauth2: At<OAuth2File>,
        #[serde(serialize_with = "super::masked_url")]
        proxy_url: At<Secret>,
        no_proxy: At<String>,
        proxy_from_environment: At<bool>,
        proxy_connect_header: At<BTreeMap<String, Vec<At<Secret>>>>,
        http_headers: BTreeMap<String, At<FieldFile>>,
    } unserved {}
}

block! {
    /// How tokens are got.
    OAuth2File {
        client_id: At<String>,
        client_secret: Secret,
        client_secret_file: At<String>,
        client_certificate_key_id: String,
        client_certificate_key: Secret,
        client_certificate_key_file: At<String>,
        signature_algorithm: At<String>,
        iss: String,
        audience: String,
        claims: Claims,
        scopes: Vec<String>,
        #[serde(serialize_with = "super::masked_query")]
        token_url: At<String>,
        endpoint_params: BTreeMap<String, Secret>,
        grant_type: At<String>,
        tls_config: At<TlsFile>,
        #[serde(serialize_with = "super::masked_url")]
        proxy_url: At<Secret>,
        no_proxy: At<String>,
        proxy_from_environment: At<bool>,
        proxy_connect_header: At<BTreeMap<String, Vec<At<Secret>>>>,
    } unserved { client_secret_ref, client_certificate_key_ref, }
}

block! {
    /// The values of a header field.
    FieldFile {
        values: Vec<At<String>>,
        secrets: Vec<At<Secret>>,
        files: Vec<At<String>>,
    } unserved {}
}

block! {
    /// One step of a dialogue.
    StepFile {
        expect: At<String>,
        expect_bytes: At<Body>,
        labels: Vec<At<LabelFile>>,
        send: Body,
        starttls: At<bool>,
    } unserved {}
}

block! {
    /// A label made of what matched.
    LabelFile {
        name: At<String>,
        value: String,
    } unserved {}
}
