//! The configuration as it is written: the peer's keys and ours, strict about every one of them.

use super::keys::{plain, unknown};
use super::problem::{Place, Problem};
pub(super) use super::read::At;
use super::read::{Body, Read};
use super::tree::{self, Kind, Node, below};
use crate::metrics::Level;
use crate::probers::proxies::with_scheme;
use crate::secret::{MASK, Secret};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Declares a block of keys, all optional, and those that are known but not served: written, these are refused, never ignored.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* } unserved { $($unserved:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize)]
        #[allow(clippy::struct_field_names, reason = "keys are the peer's")]
        pub(in crate::config) struct $name {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $(#[$meta])*
                pub $key: Option<$type>,
            )*
        }

        impl $name {
            /// The keys that this version serves.
            pub(super) const KEYS: &[&str] = &[$(stringify!($key)),*];
            /// Those that it knows but does not serve.
            const UNSERVED: &[&str] = &[$(stringify!($unserved)),*];
        }

        impl Fill for $name {
            fn fill(self, from: &Self) -> Self {
                Self { $($key: self.$key.fill(&from.$key),)* }
            }
        }

        impl Read for $name {
            fn read(node: &Node, path: &str) -> Result<Self, Problem> {
                let mut block = Self::default();
                for (key, value) in node.block(path)? {
                    let path = below(path, &key.name);
                    match key.name.as_str() {
                        name if Self::UNSERVED.contains(&name) => refuse_unserved(key.place, value, &path)?,
                        $(
                            name if name == plain(stringify!($key)) => {
                                if !matches!(value.kind, Kind::Nothing) {
                                    block.$key = Some(Read::read(value, &path)?);
                                }
                            }
                        )*
                        _ => return Err(unknown(key, &path, Self::KEYS)),
                    }
                }
                Ok(block)
            }
        }
    };
}

mod blocks;
mod fill;
mod top;
mod web;

pub(in crate::config) use blocks::{
    ClientFile, DnsFile, FieldFile, GrpcFile, IcmpFile, LabelFile, OAuth2File, RecordRulesFile, StepFile, TcpFile,
    UnixFile, WebsocketFile,
};

pub(in crate::config) use fill::Fill;
pub(in crate::config) use top::{ControlFile, LimitsFile, ListsFile, PolicyFile, Shorthand};
pub(in crate::config) use web::{RateFile, WebFile, WebTlsFile};

/// Refuses a key that is known but not served, but where it asks for nothing.
fn refuse_unserved(place: Place, value: &Node, path: &str) -> Result<(), Problem> {
    if matches!(value.kind, Kind::Nothing) {
        return Ok(());
    }
    let key = path.rsplit('.').next().unwrap_or(path).trim_end_matches("_ref");
    Err(place.problem(
        path,
        // The peer takes them when it loads, and fails every probe.
        format!("no secret manager can be asked here; write {key}_file, or the value itself as {key}"),
    ))
}

/// What holds where a module does not say it, by prober.
const DEFAULTS: &str = include_str!("defaults.yml");

/// Where keys belong that somebody writes elsewhere.
pub(super) const BLOCKS: [(&str, &[&str]); 23] = [
    ("a module", ModuleFile::KEYS),
    ("http", HttpFile::KEYS),
    ("tcp", TcpFile::KEYS),
    ("unix", UnixFile::KEYS),
    ("dns", DnsFile::KEYS),
    ("icmp", IcmpFile::KEYS),
    ("grpc", GrpcFile::KEYS),
    ("websocket", WebsocketFile::KEYS),
    ("http_config", ClientFile::KEYS),
    ("oauth2", OAuth2File::KEYS),
    ("validate_answer_rrs and its like", RecordRulesFile::KEYS),
    ("an entry of http_headers", FieldFile::KEYS),
    ("an entry of query_response", StepFile::KEYS),
    ("an entry of labels", LabelFile::KEYS),
    ("an entry of hops", HopFile::KEYS),
    ("an entry of controls", ControlFile::KEYS),
    ("limits", LimitsFile::KEYS),
    ("policy", PolicyFile::KEYS),
    ("networks, ports or unix of policy", ListsFile::KEYS),
    ("tls_config", TlsFile::KEYS),
    ("basic_auth", BasicAuthFile::KEYS),
    ("authorization", AuthorizationFile::KEYS),
    (
        "fail_if_header_matches or fail_if_header_not_matches",
        HeaderMatchFile::KEYS,
    ),
];

block! {
    /// The whole file.
    ConfigFile {
        modules: BTreeMap<String, At<ModuleFile>>,
        controls: Vec<At<ControlFile>>,
        policy: Shorthand,
        limits: LimitsFile,
    } unserved {}
}

block! {
    /// A module.
    ModuleFile {
        prober: At<String>,
        timeout: At<String>,
        interval: At<String>,
        http: HttpFile,
        tcp: TcpFile,
        dns: At<DnsFile>,
        icmp: IcmpFile,
        grpc: GrpcFile,
        unix: UnixFile,
        websocket: WebsocketFile,
        metrics: Level,
        buckets: Vec<At<f64>>,
        resolver: Vec<At<String>>,
        hops: Vec<At<HopFile>>,
        drill: At<String>,
        bypass_cache: At<String>,
        reference_request: bool,
        addresses: At<String>,
        allowed_targets: Vec<At<String>>,
    } unserved {}
}

block! {
    /// A machine behind the front.
    HopFile {
        name: At<String>,
        address: At<String>,
        tls: bool,
        host: At<String>,
        sni: At<String>,
        reachable: bool,
    } unserved {}
}

block! {
    /// The keys of the http prober.
    HttpFile {
        valid_status_codes: Vec<At<i64>>,
        valid_http_versions: Vec<At<String>>,
        preferred_ip_protocol: At<String>,
        ip_protocol_fallback: bool,
        no_follow_redirects: At<bool>,
        follow_redirects: bool,
        fail_if_ssl: bool,
        fail_if_not_ssl: bool,
        method: At<String>,
        #[serde(serialize_with = "masked_headers")]
        headers: BTreeMap<String, At<String>>,
        fail_if_body_matches_regexp: Vec<At<String>>,
        fail_if_body_not_matches_regexp: Vec<At<String>>,
        fail_if_header_matches: Vec<At<HeaderMatchFile>>,
        fail_if_header_not_matches: Vec<At<HeaderMatchFile>>,
        fail_if_slower_than: At<String>,
        http_headers: BTreeMap<String, At<FieldFile>>,
        body: Body,
        body_file: At<String>,
        fail_if_body_json_matches_cel: At<String>,
        fail_if_body_json_not_matches_cel: At<String>,
        body_size_limit: At<String>,
        compression: At<String>,
        enable_http2: bool,
        enable_http3: At<bool>,
        tls_config: At<TlsFile>,
        basic_auth: At<BasicAuthFile>,
        authorization: At<AuthorizationFile>,
        bearer_token: At<Secret>,
        bearer_token_file: At<String>,
        oauth2: At<OAuth2File>,
        #[serde(serialize_with = "masked_url")]
        proxy_url: At<Secret>,
        no_proxy: At<String>,
        proxy_from_environment: At<bool>,
        proxy_connect_header: At<BTreeMap<String, Vec<At<Secret>>>>,
        skip_resolve_phase_with_proxy: bool,
    } unserved {}
}

block! {
    /// An assertion on a header.
    HeaderMatchFile {
        header: At<String>,
        regexp: At<String>,
        allow_missing: bool,
    } unserved {}
}

block! {
    /// A client's TLS.
    TlsFile {
        ca: At<String>,
        ca_file: At<String>,
        cert: At<String>,
        cert_file: At<String>,
        key: At<Secret>,
        key_file: At<String>,
        server_name: String,
        insecure_skip_verify: bool,
        min_version: At<String>,
        max_version: At<String>,
    } unserved { ca_ref, cert_ref, key_ref, }
}

block! {
    /// Basic credentials.
    BasicAuthFile {
        username: String,
        username_file: At<String>,
        password: Secret,
        password_file: At<String>,
    } unserved { username_ref, password_ref, }
}

block! {
    /// An `Authorization` header.
    AuthorizationFile {
        r#type: At<String>,
        credentials: At<Secret>,
        credentials_file: At<String>,
    } unserved { credentials_ref, }
}

impl ConfigFile {
    /// Reads the YAML: unknown keys, duplicate keys and wrong types are refused.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        Self::of(&Self::tree(text)?)
    }

    /// What the text says, whatever that is.
    pub(super) fn tree(text: &str) -> Result<Node, Problem> {
        if is_empty(text) {
            return Err(Place::START.problem("", "the file is empty; write at least \"modules: {}\""));
        }
        tree::parse(text)
    }

    /// Reads the whole file.
    pub(super) fn of(file: &Node) -> Result<Self, Problem> {
        match &file.kind {
            Kind::Block(_) | Kind::Nothing => Self::read(file, ""),
            other => {
                let words = format!("the file must begin with \"modules:\"; it is {}", other.name());
                Err(file.place.problem("", words))
            }
        }
    }

    /// The modules by name.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&String, &At<ModuleFile>)> {
        self.modules.iter().flatten()
    }

    /// The same with what holds where a module does not say it; `metrics` is what the flag says.
    pub(super) fn with_defaults(&self, metrics: Level) -> Self {
        let known = Self::parse(DEFAULTS).unwrap_or_default();
        let mut filled = self.clone();
        for module in filled.modules.iter_mut().flat_map(BTreeMap::values_mut) {
            let prober = module.value.prober.as_ref().map_or("", |prober| prober.value.as_str());
            let Some(defaults) = known
                .modules()
                .find(|(name, _)| *name == prober)
                .map(|(_, defaults)| defaults)
            else {
                continue;
            };
            let mut defaults = defaults.value.clone();
            defaults.metrics = Some(metrics);
            if let (None, Some(grpc)) = (&module.value.grpc, &mut defaults.grpc) {
                grpc.ip_protocol_fallback = Some(false);
            }
            module.value = module.value.clone().fill(&defaults);
        }
        filled
    }

    /// All of it as YAML, secrets masked.
    pub(super) fn to_yaml(&self) -> String {
        yaml(self)
    }

    /// One module as YAML, secrets masked.
    pub(super) fn module_yaml(&self, name: &str) -> String {
        self.modules()
            .find(|(known, _)| *known == name)
            .map_or_else(String::new, |(_, module)| yaml(&module.value))
    }
}

fn yaml(value: &impl Serialize) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

/// Whether there are but comments, which the peer takes for the end of the file.
fn is_empty(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_start);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// A URL with what may be a password masked, as the peer shows it.
#[allow(clippy::ref_option, reason = "serde hands in the field as it is")]
pub(super) fn masked_url<S: Serializer>(url: &Option<At<Secret>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url
        .as_ref()
        .map(|written| match url::Url::parse(&with_scheme(written.value.reveal())) {
            _ if written.value.reveal().is_empty() => String::new(),
            Ok(url) if url.username().is_empty() && url.password().is_none() => written.value.reveal().to_owned(),
            Ok(mut url) => url
                .set_password(Some("xxxxx"))
                .map_or(MASK.to_owned(), |()| url.to_string()),
            // Whatever it is, it may hold one.
            Err(_) => MASK.to_owned(),
        });
    shown.serialize(serializer)
}

/// A URL with what may hold a key masked.
#[allow(clippy::ref_option, reason = "serde hands in the field as it is")]
pub(super) fn masked_query<S: Serializer>(url: &Option<At<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url.as_ref().map(|written| match written.value.split_once('?') {
        _ if written.value.contains('@') => MASK.to_owned(),
        Some((place, _)) => format!("{place}?{MASK}"),
        None => written.value.clone(),
    });
    shown.serialize(serializer)
}

/// Header fields whose values are no secret.
const PLAIN_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "host",
    "origin",
    "user-agent",
];

/// Whether what the field says is no secret.
pub(in crate::config) fn is_plain_header(name: &str) -> bool {
    PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

#[allow(clippy::ref_option, reason = "serde hands in the field as it is")]
fn masked_headers<S: Serializer>(
    headers: &Option<BTreeMap<String, At<String>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(headers.as_ref().map(BTreeMap::len))?;
    for (name, value) in headers.iter().flatten() {
        let shown = if is_plain_header(name) {
            value.value.as_str()
        } else {
            MASK
        };
        map.serialize_entry(name, shown)?;
    }
    map.end()
}
