//! The configuration as it is written: the peer's keys and ours, strict about every one of them.

use super::problem::{Problem, at};
use crate::metrics::Level;
use crate::secret::{MASK, Secret};
use serde::de::IgnoredAny;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// A value that knows its place in the text.
pub(super) type At<T> = serde_yaml::Spanned<T>;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    #[serde(default)]
    modules: Option<BTreeMap<String, At<ModuleFile>>>,
}

/// A key that this version knows but does not serve yet: written, it is refused, never ignored.
pub(super) type Later = Option<At<IgnoredAny>>;

/// Declares a block of keys, all optional, and those that come later.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* } later { $($later:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $(#[$meta])*
                pub $key: Option<$type>,
            )*
            $(#[serde(default, skip_serializing)] $later: Later,)*
        }

        impl $name {
            /// Refuses the keys that this version does not serve yet.
            ///
            /// # Errors
            /// Names the first such key.
            #[allow(clippy::missing_const_for_fn, clippy::unnecessary_wraps, reason = "some blocks have no such key")]
            pub(super) fn refuse_what_comes_later(&self, path: &str) -> Result<(), Problem> {
                let _ = path;
                $(
                    if let Some(written) = &self.$later {
                        let words = "this version does not serve this key yet; leave it out, or keep the module on blackbox_exporter";
                        return Err(at(written, path, stringify!($later), words));
                    }
                )*
                Ok(())
            }
        }
    };
}

block! {
    /// A module.
    ModuleFile {
        prober: At<String>,
        timeout: At<String>,
        http: HttpFile,
        metrics: Level,
        buckets: At<Vec<f64>>,
        resolver: Vec<At<String>>,
    } later {
        tcp, dns, icmp, grpc, unix, websocket,
        interval, hops, drill, bypass_cache, reference_request, addresses, allowed_targets,
    }
}

block! {
    /// The keys of the http prober.
    HttpFile {
        valid_status_codes: Vec<At<i64>>,
        valid_http_versions: Vec<At<String>>,
        preferred_ip_protocol: String,
        ip_protocol_fallback: bool,
        no_follow_redirects: bool,
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
        body: Secret,
        body_size_limit: At<String>,
        compression: At<String>,
        enable_http2: bool,
        tls_config: At<TlsFile>,
        basic_auth: At<BasicAuthFile>,
        authorization: At<AuthorizationFile>,
        bearer_token: At<Secret>,
        bearer_token_file: At<String>,
    } later {
        http_headers, body_file, fail_if_body_json_matches_cel, fail_if_body_json_not_matches_cel,
        skip_resolve_phase_with_proxy, enable_http3, oauth2, proxy_url, no_proxy, proxy_from_environment,
        proxy_connect_header,
    }
}

block! {
    /// An assertion on a header.
    HeaderMatchFile {
        header: String,
        regexp: At<String>,
        allow_missing: bool,
    } later {}
}

block! {
    /// A client's TLS.
    TlsFile {
        ca: String,
        ca_file: At<String>,
        cert: String,
        cert_file: At<String>,
        key: Secret,
        key_file: At<String>,
        server_name: String,
        insecure_skip_verify: bool,
        min_version: At<String>,
        max_version: At<String>,
    } later { ca_ref, cert_ref, key_ref, }
}

block! {
    /// Basic credentials.
    BasicAuthFile {
        username: String,
        username_file: String,
        password: Secret,
        password_file: String,
    } later { username_ref, password_ref, }
}

block! {
    /// An `Authorization` header.
    AuthorizationFile {
        #[serde(rename = "type")]
        kind: At<String>,
        credentials: Secret,
        credentials_file: String,
    } later { credentials_ref, }
}

impl ConfigFile {
    /// Reads the YAML: unknown keys, duplicate keys and wrong types are refused.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut options = serde_yaml::Options::default();
        options.with_snippet = false;
        if text.trim().is_empty() {
            return Err(Problem {
                line: 1,
                column: 1,
                key: String::new(),
                words: "the file is empty; write at least \"modules: {}\"".to_owned(),
            });
        }
        serde_yaml::from_str_with_options(text, options).map_err(|error| problem_of(&error, text))
    }

    /// The modules by name.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&String, &At<ModuleFile>)> {
        self.modules.iter().flatten()
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

/// The library's error at its place, with the key that stands on that line.
fn problem_of(error: &serde_yaml::Error, text: &str) -> Problem {
    let (line, column) = error
        .location()
        .map_or((0, 0), |location| (location.line(), location.column()));
    let words = error
        .without_snippet()
        .render_with_options(serde_yaml::render_options! { snippets: serde_yaml::SnippetMode::Off });
    // The library ends its message with the place, which stands in front of ours.
    let words = words.split(" at line ").next().unwrap_or_default().trim_end();
    let words = words.strip_prefix("error: ").unwrap_or(words);
    let key = usize::try_from(line)
        .ok()
        .and_then(|line| text.lines().nth(line.checked_sub(1)?))
        .and_then(|line| line.split_once(':'))
        .map_or("", |(key, _)| key.trim_start_matches([' ', '-']).trim());
    Problem {
        line,
        column,
        key: key.to_owned(),
        words: words.to_owned(),
    }
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

#[allow(clippy::ref_option, reason = "serde hands in the field as it is")]
fn masked_headers<S: Serializer>(
    headers: &Option<BTreeMap<String, At<String>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(headers.as_ref().map(BTreeMap::len))?;
    for (name, value) in headers.iter().flatten() {
        let plain = PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        map.serialize_entry(name, if plain { value.value.as_str() } else { MASK })?;
    }
    map.end()
}
