//! The data types of the configuration file, with the keys of `blackbox_exporter` and additional keys. Unknown keys are
//! rejected.

use super::issue::{ConfigIssue, Location};
pub(super) use super::read::Spanned;
use super::read::{ConfiguredBody, Read};
use super::tree::{self, Node, NodeKind, below};
use glassbox_probe::metrics::Level;
use glassbox_probe::probers::proxies::with_scheme;
use glassbox_probe::secret::{MASK, Secret};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Declares a block of optional keys. The keys after `unserved` are known but not supported. They are rejected, not
/// ignored.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* } unserved { $($unserved:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize)]
        #[allow(clippy::struct_field_names, reason = "the keys are those of blackbox_exporter")]
        pub(in crate::config) struct $name {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $(#[$meta])*
                pub $key: Option<$type>,
            )*
        }

        impl $name {
            /// The supported keys.
            pub(in crate::config) const KEYS: &[&str] = &[$(stringify!($key)),*];
            /// The keys that are known but not supported.
            const UNSERVED: &[&str] = &[$(stringify!($unserved)),*];
        }

        impl Fill for $name {
            fn fill(self, from: &Self) -> Self {
                Self { $($key: self.$key.fill(&from.$key),)* }
            }
        }

        impl Read for $name {
            fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
                let mut block = Self::default();
                for (key, value) in node.block(path)? {
                    let path = below(path, &key.name);
                    match key.name.as_str() {
                        name if Self::UNSERVED.contains(&name) => refuse_unserved(key.location, value, &path)?,
                        $(
                            name if name == keys::plain(stringify!($key)) => {
                                if !matches!(value.kind, NodeKind::Nothing) {
                                    block.$key = Some(Read::read(value, &path)?);
                                }
                            }
                        )*
                        _ => return Err(keys::unknown(key, &path, Self::KEYS)),
                    }
                }
                Ok(block)
            }
        }
    };
}

mod blocks;
mod defaults;
mod keys;
mod top_level;
mod web;

pub(in crate::config) use blocks::{
    ClientFile, DiagnosticsFile, DnsFile, FieldFile, GrpcFile, IcmpFile, LabelFile, OAuth2File, RecordRulesFile,
    StepFile, TcpFile, UnixFile, WebsocketFile,
};

pub(in crate::config) use defaults::Fill;
pub(in crate::config) use top_level::{ControlFile, LimitsFile, ListsFile, PolicyFile, Shorthand};
pub(in crate::config) use web::{RateFile, WebFile, WebTlsFile};

/// Rejects a key that is known but not supported, unless its value is null.
fn refuse_unserved(location: Location, value: &Node, path: &str) -> Result<(), ConfigIssue> {
    if matches!(value.kind, NodeKind::Nothing) {
        return Ok(());
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let words = match key.strip_suffix("_ref") {
        // blackbox_exporter accepts these keys, and then every probe of the module fails.
        Some(key) => format!("secret managers are not supported; use {key}_file or {key}"),
        None => format!("this version cannot configure the diagnostic {key}; remove the key"),
    };
    Err(location.issue(path, words))
}

/// The default module keys, by prober.
const DEFAULTS: &str = include_str!("defaults.yml");

/// The blocks and their keys, for a hint where a misplaced key belongs.
const BLOCKS: [(&str, &[&str]); 24] = [
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
    (
        "validate_answer_rrs, validate_authority_rrs or validate_additional_rrs",
        RecordRulesFile::KEYS,
    ),
    ("an entry of http_headers", FieldFile::KEYS),
    ("an entry of query_response", StepFile::KEYS),
    ("an entry of labels", LabelFile::KEYS),
    ("a module's diagnostics", DiagnosticsFile::KEYS),
    ("an entry of backends", BackendFile::KEYS),
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
        modules: BTreeMap<String, Spanned<ModuleFile>>,
        controls: Vec<Spanned<ControlFile>>,
        policy: Shorthand,
        limits: LimitsFile,
    } unserved {}
}

block! {
    /// A module.
    ModuleFile {
        prober: Spanned<String>,
        timeout: Spanned<String>,
        interval: Spanned<String>,
        http: HttpFile,
        tcp: TcpFile,
        dns: Spanned<DnsFile>,
        icmp: IcmpFile,
        grpc: GrpcFile,
        unix: UnixFile,
        websocket: WebsocketFile,
        metrics: Level,
        buckets: Vec<Spanned<f64>>,
        resolver: Vec<Spanned<String>>,
        backends: Vec<Spanned<BackendFile>>,
        addresses: Spanned<String>,
        diagnostics: DiagnosticsFile,
        allowed_targets: Vec<Spanned<String>>,
    } unserved {}
}

block! {
    /// A backend behind the edge.
    BackendFile {
        name: Spanned<String>,
        address: Spanned<String>,
        tls: bool,
        host: Spanned<String>,
        sni: Spanned<String>,
        reachable: bool,
    } unserved {}
}

block! {
    /// The http prober's keys.
    HttpFile {
        valid_status_codes: Vec<Spanned<i64>>,
        valid_http_versions: Vec<Spanned<String>>,
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        no_follow_redirects: Spanned<bool>,
        follow_redirects: bool,
        fail_if_ssl: bool,
        fail_if_not_ssl: bool,
        method: Spanned<String>,
        #[serde(serialize_with = "masked_headers")]
        headers: BTreeMap<String, Spanned<String>>,
        fail_if_body_matches_regexp: Vec<Spanned<String>>,
        fail_if_body_not_matches_regexp: Vec<Spanned<String>>,
        fail_if_header_matches: Vec<Spanned<HeaderMatchFile>>,
        fail_if_header_not_matches: Vec<Spanned<HeaderMatchFile>>,
        fail_if_slower_than: Spanned<String>,
        http_headers: BTreeMap<String, Spanned<FieldFile>>,
        body: ConfiguredBody,
        body_file: Spanned<String>,
        fail_if_body_json_matches_cel: Spanned<String>,
        fail_if_body_json_not_matches_cel: Spanned<String>,
        body_size_limit: Spanned<String>,
        compression: Spanned<String>,
        enable_http2: bool,
        enable_http3: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
        basic_auth: Spanned<BasicAuthFile>,
        authorization: Spanned<AuthorizationFile>,
        bearer_token: Spanned<Secret>,
        bearer_token_file: Spanned<String>,
        oauth2: Spanned<OAuth2File>,
        #[serde(serialize_with = "masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
        skip_resolve_phase_with_proxy: bool,
    } unserved {}
}

block! {
    /// An assertion on a header.
    HeaderMatchFile {
        header: Spanned<String>,
        regexp: Spanned<String>,
        allow_missing: bool,
    } unserved {}
}

block! {
    /// A client's TLS settings.
    TlsFile {
        ca: Spanned<String>,
        ca_file: Spanned<String>,
        cert: Spanned<String>,
        cert_file: Spanned<String>,
        key: Spanned<Secret>,
        key_file: Spanned<String>,
        server_name: String,
        insecure_skip_verify: bool,
        min_version: Spanned<String>,
        max_version: Spanned<String>,
    } unserved { ca_ref, cert_ref, key_ref, }
}

block! {
    /// Basic authentication credentials.
    BasicAuthFile {
        username: String,
        username_file: Spanned<String>,
        password: Secret,
        password_file: Spanned<String>,
    } unserved { username_ref, password_ref, }
}

block! {
    /// The contents of an `Authorization` header.
    AuthorizationFile {
        r#type: Spanned<String>,
        credentials: Spanned<Secret>,
        credentials_file: Spanned<String>,
    } unserved { credentials_ref, }
}

impl ConfigFile {
    /// Parses the YAML. Unknown keys, duplicate keys and wrong types are errors.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigIssue> {
        Self::of(&Self::tree(text)?)
    }

    /// Parses the YAML without a check of the keys.
    pub(super) fn tree(text: &str) -> Result<Node, ConfigIssue> {
        if is_empty(text) {
            return Err(Location::START.issue("", "the file is empty: expected at least \"modules: {}\""));
        }
        tree::parse(text)
    }

    /// Reads the whole file.
    pub(super) fn of(file: &Node) -> Result<Self, ConfigIssue> {
        match &file.kind {
            NodeKind::Block(_) | NodeKind::Nothing => Self::read(file, ""),
            other => {
                let words = format!("expected a mapping that begins with \"modules:\", got {}", other.name());
                Err(file.location.issue("", words))
            }
        }
    }

    /// The modules by name.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&String, &Spanned<ModuleFile>)> {
        self.modules.iter().flatten()
    }

    /// A copy with the defaults filled in. `metrics` is the value of the flag `--metrics.level`.
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

    /// The whole file as YAML, secrets masked.
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
    serde_yaml::to_string(value).unwrap_or_else(|error| format!("# serialization failed: {error}\n"))
}

/// Whether the file contains only comments. `blackbox_exporter` treats such a file as empty.
fn is_empty(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_start);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// A URL with the password masked, in the notation of `blackbox_exporter`.
#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn masked_url<S: Serializer>(url: &Option<Spanned<Secret>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url
        .as_ref()
        .map(|written| match url::Url::parse(&with_scheme(written.value.reveal())) {
            _ if written.value.reveal().is_empty() => String::new(),
            Ok(url) if url.username().is_empty() && url.password().is_none() => written.value.reveal().to_owned(),
            Ok(mut url) => url
                .set_password(Some("xxxxx"))
                .map_or(MASK.to_owned(), |()| url.to_string()),
            // An invalid URL may contain a password, too.
            Err(_) => MASK.to_owned(),
        });
    shown.serialize(serializer)
}

/// A URL with the query masked, because it may contain a key.
#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn masked_query<S: Serializer>(url: &Option<Spanned<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url.as_ref().map(|written| match written.value.split_once('?') {
        _ if written.value.contains('@') => MASK.to_owned(),
        Some((location, _)) => format!("{location}?{MASK}"),
        None => written.value.clone(),
    });
    shown.serialize(serializer)
}

/// Header fields whose values are not secret.
const PLAIN_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "host",
    "origin",
    "user-agent",
];

/// Whether the value of a header field is not secret.
pub(in crate::config) fn is_plain_header(name: &str) -> bool {
    PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
fn masked_headers<S: Serializer>(
    headers: &Option<BTreeMap<String, Spanned<String>>>,
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
