//! Modules and the targets that they probe.

mod certificates;
mod dns;
mod grpc;
mod http;
mod icmp;
mod legacy_tls;
mod odd_http;
mod odd_http2;
mod odd_probers;
pub mod odd_urls;
pub mod resolver;
mod tcp;
mod unix;

use crate::support::pki::Authority;
use std::any::Any;
use std::collections::BTreeMap;

/// One module and one target.
pub struct Case {
    /// `prober/module/target`.
    pub name: String,
    pub module: String,
    pub target: Vec<u8>,
    /// Value of the parameter `hostname`.
    pub hostname: Option<String>,
}

/// Collects the cases.
pub struct Table {
    authority: Authority,
    modules: BTreeMap<String, String>,
    cases: Vec<Case>,
    /// Servers that must run during the probes.
    alive: Vec<Box<dyn Any + Send>>,
}

impl Table {
    /// Adds a module: name of the prober, name of the module, keys of the prober's block.
    fn module(&mut self, prober: &str, name: &str, keys: &str) {
        self.module_within(prober, name, "3s", keys);
    }

    /// Adds a module with a specific timeout.
    fn module_within(&mut self, prober: &str, name: &str, timeout: &str, keys: &str) {
        let text = format!("{{prober: {prober}, timeout: {timeout}, {prober}: {{{keys}}}}}");
        let before = self.modules.insert(format!("{prober}_{name}"), text);
        assert!(before.is_none(), "module {prober}_{name} is defined twice");
    }

    fn case(&mut self, prober: &str, module: &str, (target, url): (&str, &str)) {
        let module_name = format!("{prober}_{module}");
        assert!(self.modules.contains_key(&module_name), "no module {module_name}");
        self.cases.push(Case {
            name: format!("{prober}/{module}/{target}"),
            module: module_name,
            target: url.as_bytes().to_vec(),
            hostname: None,
        });
    }

    /// Adds a case with a target that is not UTF-8.
    fn case_of_bytes(&mut self, prober: &str, module: &str, (name, target): (&str, Vec<u8>)) {
        self.case(prober, module, (name, ""));
        if let Some(case) = self.cases.last_mut() {
            case.target = target;
        }
    }

    /// Adds a case for each combination of module and target.
    fn cross(&mut self, prober: &str, modules: &[(&str, &str)], targets: &[(&str, String)]) {
        for (name, keys) in modules {
            self.module(prober, name, keys);
            for (target, url) in targets {
                self.case(prober, name, (target, url));
            }
        }
    }

    fn keep(&mut self, alive: impl Any + Send) {
        self.alive.push(Box::new(alive));
    }

    /// The `ca_file` key that trusts the test CA.
    fn trust(&self) -> String {
        format!("ca_file: {}", self.authority.ca_file.display())
    }
}

/// The cases, their modules, and the servers that must stay alive during the probes.
pub async fn all() -> (Vec<Case>, BTreeMap<String, String>, impl Any) {
    let mut table = Table {
        authority: Authority::new(),
        modules: BTreeMap::new(),
        cases: Vec::new(),
        alive: Vec::new(),
    };
    http::add(&mut table).await;
    certificates::add(&mut table).await;
    legacy_tls::add(&mut table).await;
    tcp::add(&mut table).await;
    unix::add(&mut table);
    dns::add(&mut table).await;
    icmp::add(&mut table);
    grpc::add(&mut table).await;
    resolver::add(&mut table).await;
    odd_http::add(&mut table).await;
    odd_probers::add(&mut table).await;
    odd_http2::add(&mut table).await;
    odd_urls::add(&mut table).await;
    (table.cases, table.modules, (table.authority, table.alive))
}
