//! Warnings about keys that have no effect or do not do what they appear to. As in `blackbox_exporter`, the
//! configuration is accepted. Each warning is logged once.

use super::credentials::filled;
use super::file::{ClientFile, ConfigFile, DnsFile, HttpFile, ModuleFile, Spanned, StepFile, TlsFile};
use super::issue::{ConfigIssue, Location};
use super::policy::secret_without_allowlist;
use super::read::at;
use super::tree::below;
use glassbox_probe::probers::dns::read_name;
use std::collections::BTreeMap;

/// The versions that a response can have.
const VERSIONS: [&str; 4] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"];

/// All warnings, in file order.
pub(super) fn of(file: &ConfigFile) -> Vec<ConfigIssue> {
    let mut found = Vec::new();
    for (name, module) in file.modules() {
        let mut warnings = Warnings {
            location: module.location,
            path: format!("modules.{name}"),
            found: &mut found,
        };
        warnings.module(&module.value);
    }
    found.sort_by_key(|issue| (issue.line, issue.column));
    found
}

/// A module's warnings.
struct Warnings<'a> {
    /// The module's location.
    location: Location,
    path: String,
    found: &'a mut Vec<ConfigIssue>,
}

impl Warnings<'_> {
    /// Adds a warning about a key without a location. It points at the module.
    fn key(&mut self, key: &str, words: &str) {
        self.found.push(self.location.issue(below(&self.path, key), words));
    }

    fn value<T>(&mut self, value: &Spanned<T>, block: &str, key: &str, words: &str) {
        let path = if block.is_empty() {
            self.path.clone()
        } else {
            below(&self.path, block)
        };
        self.found.push(at(value, &path, key, words));
    }

    fn module(&mut self, module: &ModuleFile) {
        let prober = module.prober.as_ref().map_or("", |prober| prober.value.as_str());
        self.unused_blocks(module, prober);
        if let Some(key) = secret_without_allowlist(module) {
            let words = "any client can have this secret sent to any target; set allowed_targets in the module";
            self.key(key, words);
        }
        match prober {
            "http" => self.http(module.http.as_ref()),
            "tcp" => {
                let tcp = module.tcp.as_ref();
                self.family(prober, tcp.and_then(|tcp| tcp.preferred_ip_protocol.as_ref()));
                self.tls(prober, tcp.and_then(|tcp| tcp.tls_config.as_ref()));
            }
            "unix" => self.tls(prober, module.unix.as_ref().and_then(|unix| unix.tls_config.as_ref())),
            "dns" => self.dns(module.dns.as_ref().map(|dns| &dns.value)),
            "icmp" => {
                let icmp = module.icmp.as_ref();
                self.family(prober, icmp.and_then(|icmp| icmp.preferred_ip_protocol.as_ref()));
            }
            "grpc" => {
                let Some(grpc) = &module.grpc else {
                    let words = "without this block ip_protocol_fallback is false, and only IPv6 is used, as in \
                                 blackbox_exporter; write grpc: {} for the usual defaults";
                    return self.key("grpc", words);
                };
                self.family(prober, grpc.preferred_ip_protocol.as_ref());
                self.tls(prober, grpc.tls_config.as_ref());
            }
            "websocket" => {
                let Some(websocket) = &module.websocket else { return };
                self.framing("websocket.headers", websocket.headers.as_ref());
                self.family(prober, websocket.preferred_ip_protocol.as_ref());
                if let Some(client) = &websocket.http_config {
                    self.client(client);
                }
                self.messages(websocket.query_response.as_deref().unwrap_or_default());
            }
            _ => {}
        }
    }

    fn unused_blocks(&mut self, module: &ModuleFile, prober: &str) {
        for (block, is_there) in [
            ("http", module.http.is_some()),
            ("tcp", module.tcp.is_some()),
            ("dns", module.dns.is_some()),
            ("icmp", module.icmp.is_some()),
            ("grpc", module.grpc.is_some()),
            ("unix", module.unix.is_some()),
            ("websocket", module.websocket.is_some()),
        ] {
            if is_there && block != prober {
                self.key(
                    block,
                    &format!("this block has no effect: the module's prober is {prober}"),
                );
            }
        }
    }

    /// Warns about a value that is neither ip4 nor ip6. It means ip4.
    fn family(&mut self, block: &str, preferred: Option<&Spanned<String>>) {
        if let Some(written) = preferred.filter(|word| !matches!(word.value.as_str(), "" | "ip4" | "ip6")) {
            let words = format!(
                "{:?} means ip4, as in blackbox_exporter; write ip4 or ip6",
                written.value
            );
            self.value(written, block, "preferred_ip_protocol", &words);
        }
    }

    fn tls(&mut self, block: &str, written: Option<&Spanned<TlsFile>>) {
        let Some(tls) = written else { return };
        let block = below(block, "tls_config");
        let is_old = |version: &&Spanned<String>| matches!(version.value.as_str(), "TLS10" | "TLS11");
        let lowest = filled(tls.value.min_version.as_ref());
        let highest = filled(tls.value.max_version.as_ref()).filter(is_old);
        if let (None, Some(highest)) = (lowest, highest) {
            let words =
                "no TLS version is enabled, as in blackbox_exporter: min_version defaults to TLS12; set it, too";
            self.value(highest, &block, "max_version", words);
        }
        if let Some(lowest) = lowest.filter(is_old).filter(|_| cfg!(not(feature = "legacy-tls"))) {
            let words = "this build does not support TLS below 1.2; build with --features legacy-tls, or use the image";
            self.value(lowest, &block, "min_version", words);
        }
    }

    /// Warns about header fields that frame the request body.
    fn framing<T>(&mut self, block: &str, fields: Option<&BTreeMap<String, Spanned<T>>>) {
        for (name, value) in fields.into_iter().flatten() {
            if ["content-length", "transfer-encoding", "trailer"].contains(&name.to_lowercase().as_str()) {
                let words = "this field is not sent: the exporter sets its own value";
                self.value(value, block, name, words);
            }
        }
    }

    fn http(&mut self, written: Option<&HttpFile>) {
        let Some(http) = written else { return };
        self.family("http", http.preferred_ip_protocol.as_ref());
        self.tls("http", http.tls_config.as_ref());
        if let Some(old) = &http.no_follow_redirects {
            let words = "deprecated: the inverse of follow_redirects, which it overrides";
            self.value(old, "http", "no_follow_redirects", words);
        }
        for version in http.valid_http_versions.iter().flatten() {
            if !VERSIONS.contains(&version.value.as_str()) {
                let words = format!(
                    "no response has the version {:?}; expected one of {}",
                    version.value,
                    VERSIONS.join(", ")
                );
                self.value(version, "http", "valid_http_versions", &words);
            }
        }
        for code in http.valid_status_codes.iter().flatten() {
            if !(100..=999).contains(&code.value) {
                let words = format!(
                    "no response has the status {}; expected a number from 100 to 999",
                    code.value
                );
                self.value(code, "http", "valid_status_codes", &words);
            }
        }
        self.framing("http.headers", http.headers.as_ref());
        self.framing("http.http_headers", http.http_headers.as_ref());
        let Some(http3) = http.enable_http3.as_ref().filter(|enabled| enabled.value) else {
            return;
        };
        let words = "this module changes http targets to https; use https targets";
        self.value(http3, "http", "enable_http3", words);
        if let Some(proxy) = http.proxy_url.as_ref().filter(|url| !url.value.reveal().is_empty()) {
            self.value(proxy, "http", "proxy_url", "HTTP/3 requests do not use a proxy");
        }
    }

    fn dns(&mut self, written: Option<&DnsFile>) {
        let Some(dns) = written else {
            let words = "without this block the query is for all records of the root; set dns.query_name";
            return self.key("dns", words);
        };
        if let Some(name) = dns.query_name.as_ref().filter(|name| !name.value.is_empty())
            && let Err(why) = read_name(&name.value)
        {
            let words = format!("every probe fails: {:?} is not a valid name: {why}", name.value);
            self.value(name, "dns", "query_name", &words);
        }
        self.family("dns", dns.preferred_ip_protocol.as_ref());
        self.tls("dns", dns.tls_config.as_ref());
        for (key, rules) in [
            ("validate_answer_rrs", &dns.validate_answer_rrs),
            ("validate_authority_rrs", &dns.validate_authority_rrs),
            ("validate_additional_rrs", &dns.validate_additional_rrs),
        ] {
            let patterns = rules
                .iter()
                .flat_map(|rules| rules.fail_if_all_match_regexp.iter().flatten());
            if let Some(first) = patterns.into_iter().next() {
                let words = "despite its name, this assertion fails unless all records match, as in blackbox_exporter";
                self.value(first, &format!("dns.{key}"), "fail_if_all_match_regexp", words);
            }
        }
    }

    /// Warns about the keys of `http_config` that have no effect in a websocket module, as in `blackbox_exporter`.
    fn client(&mut self, client: &ClientFile) {
        let block = "websocket.http_config";
        self.tls(block, client.tls_config.as_ref());
        let words = "this key has no effect in a websocket module, as in blackbox_exporter";
        let places = [
            (
                "follow_redirects",
                client.follow_redirects.as_ref().map(|at| at.location),
            ),
            ("enable_http2", client.enable_http2.as_ref().map(|at| at.location)),
            ("oauth2", client.oauth2.as_ref().map(|at| at.location)),
            ("proxy_url", client.proxy_url.as_ref().map(|at| at.location)),
            ("no_proxy", client.no_proxy.as_ref().map(|at| at.location)),
            (
                "proxy_from_environment",
                client.proxy_from_environment.as_ref().map(|at| at.location),
            ),
            (
                "proxy_connect_header",
                client.proxy_connect_header.as_ref().map(|at| at.location),
            ),
            ("http_headers", client.http_headers.as_ref().map(|_| self.location)),
        ];
        for (key, location) in places {
            if let Some(location) = location {
                let path = below(&below(&self.path, block), key);
                self.found.push(location.issue(path, words));
            }
        }
    }

    fn messages(&mut self, steps: &[Spanned<StepFile>]) {
        for step in steps {
            let does_nothing = [
                ("labels", step.value.labels.is_some()),
                ("expect_bytes", step.value.expect_bytes.is_some()),
                (
                    "starttls",
                    step.value.starttls.as_ref().is_some_and(|starttls| starttls.value),
                ),
            ];
            for (key, is_there) in does_nothing {
                if is_there {
                    let words = "this key has no effect in a websocket step, as in blackbox_exporter";
                    self.value(step, "websocket.query_response", key, words);
                }
            }
        }
    }
}
