//! Reads and validates the configuration file and builds the modules, controls, policy and limits.

mod diagnostics;
mod error;
mod examine;
mod file;
mod file_values;
mod limits;
mod policy;
mod warnings;
mod web;

pub use error::ConfigError;
pub use examine::Examination;
pub use glassbox_probe::file::ConfigIssue;
pub use web::{Rate, WebConfig};

use file::{ConfigFile, ModuleFile};
use glassbox_probe::check::{NameServer, Resolver};
use glassbox_probe::controls::Controls;
use glassbox_probe::file::{Location, Spanned, at, units};
use glassbox_probe::limits::Limits;
use glassbox_probe::metrics::Level;
use glassbox_probe::policy::Policy;
use glassbox_probe::probers::{Module, PROBERS, Prober};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration that applies without a configuration file.
const DEFAULT: &str = include_str!("config/default.yml");

/// The running configuration.
#[derive(Debug)]
pub struct Config {
    modules: HashMap<String, Arc<Module>>,
    controls: Arc<Controls>,
    policy: Arc<Policy>,
    without_allowlist: usize,
    limits: Limits,
    warnings: Vec<ConfigIssue>,
    defaults: Defaults,
    written: ConfigFile,
}

/// A file's text in UTF-8, or in UTF-16 after a byte order mark (YAML 1.1 section 5.2).
fn in_utf8(bytes: Vec<u8>) -> io::Result<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes[..] {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into()),
    };
    let (units, rest) = bytes[2..].as_chunks::<2>();
    let text = String::from_utf16(&units.iter().map(|pair| unit(*pair)).collect::<Vec<_>>());
    match (text, rest) {
        (Ok(text), []) => Ok(text),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Defaults from the command line, for modules that do not set the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// The flag `--metrics.level`.
    pub metrics: Level,
}

impl Config {
    /// Reads and validates a file. As in `blackbox_exporter`, relative file names in it refer to the working directory.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid configuration.
    pub fn load(path: &Path, defaults: Defaults) -> Result<Self, ConfigError> {
        Self::load_or_default(Some(path), defaults)
    }

    /// Loads the file, or the embedded default if there is none.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid configuration.
    pub fn load_or_default(file: Option<&Path>, defaults: Defaults) -> Result<Self, ConfigError> {
        let (name, text) = Self::text(file)?;
        Self::parse(&text, defaults).map_err(|issue| ConfigError::invalid(&name, issue))
    }

    /// The text of the file, or of the embedded default if there is none, and its name for messages.
    ///
    /// # Errors
    /// If the file cannot be read or is neither UTF-8 nor UTF-16.
    pub fn text(file: Option<&Path>) -> Result<(PathBuf, String), ConfigError> {
        let Some(path) = file else {
            return Ok((PathBuf::from("the embedded default"), DEFAULT.to_owned()));
        };
        let read = std::fs::read(path).and_then(in_utf8);
        let text = read.map_err(|error| ConfigError::unreadable(path, &error))?;
        Ok((path.to_owned(), text))
    }

    /// Validates a configuration and builds it.
    ///
    /// # Errors
    /// The first issue, with its location.
    pub fn parse(text: &str, defaults: Defaults) -> Result<Self, ConfigIssue> {
        let written = ConfigFile::parse(text)?;
        let system = system_resolver()?;
        let mut modules = HashMap::new();
        let mut in_order: Vec<_> = written.modules().collect();
        in_order.sort_by_key(|(_, module)| module.location.line);
        for (name, module) in in_order {
            let module = build(name, module, &system, defaults)?;
            modules.insert(name.clone(), Arc::new(module));
        }
        let policy = policy::policy(&written)?;
        policy::check_strictness(&written, &policy)?;
        Ok(Self {
            modules,
            controls: Arc::new(diagnostics::controls(&written)?),
            policy: Arc::new(policy),
            without_allowlist: without_allowlist(&written),
            limits: limits::build(&written)?,
            warnings: warnings::of(&written),
            defaults,
            written,
        })
    }

    /// Adds a module that no file describes, such as one with the prober of a test.
    #[cfg(test)]
    pub(crate) fn with_module(mut self, module: Module) -> Self {
        self.modules.insert(module.name.to_string(), Arc::new(module));
        self
    }

    /// A module by its name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Arc<Module>> {
        self.modules.get(name)
    }

    /// The controls, which detect failures of the exporter's own network.
    #[must_use]
    pub const fn controls(&self) -> &Arc<Controls> {
        &self.controls
    }

    /// The addresses and ports that probes may connect to.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Number of modules that send a secret and have no `allowed_targets`.
    #[must_use]
    pub const fn without_allowlist(&self) -> usize {
        self.without_allowlist
    }

    /// Limits on probes, connections and memory.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The names of the modules, sorted.
    #[must_use]
    pub fn module_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.modules.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The configuration as YAML, secrets masked.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.written.to_yaml()
    }

    /// The configuration as YAML with the defaults filled in, secrets masked.
    #[must_use]
    pub fn explain(&self) -> String {
        self.written.with_defaults(self.defaults.metrics).to_yaml()
    }

    /// Warnings about keys that have no effect or do not do what they appear to.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigIssue] {
        &self.warnings
    }

    /// One module as YAML, secrets masked.
    #[must_use]
    pub fn module_yaml(&self, name: &str) -> String {
        self.written.module_yaml(name)
    }
}

fn build(
    name: &str,
    module: &Spanned<ModuleFile>,
    system: &Arc<Resolver>,
    defaults: Defaults,
) -> Result<Module, ConfigIssue> {
    let path = format!("modules.{name}");
    let file = &module.value;
    let resolver = resolver(file, &path)?.unwrap_or_else(|| system.clone());
    let prober = prober(module, resolver, &path)?;
    Ok(Module {
        name: name.into(),
        timeout: units::timeout(file.timeout.as_ref(), &path)?,
        interval: units::interval(file.interval.as_ref(), &path)?,
        metrics: file.metrics.unwrap_or(defaults.metrics),
        buckets: buckets(file, &path)?,
        diagnostics: diagnostics::build(file, &path)?,
        allowlist: policy::allowlist(file, &path)?,
        prober,
    })
}

/// The resolver of the modules without the key `resolver`.
fn system_resolver() -> Result<Arc<Resolver>, ConfigIssue> {
    let unread = |error| {
        let words = format!("cannot read the hosts file or resolv.conf: {error}");
        Location::START.issue("", words)
    };
    Resolver::system().map(Arc::new).map_err(unread)
}

fn without_allowlist(file: &ConfigFile) -> usize {
    let modules = file.modules();
    modules
        .filter(|(_, module)| policy::secret_without_allowlist(&module.value).is_some())
        .count()
}

/// Builds a module's prober.
fn prober(module: &Spanned<ModuleFile>, resolver: Arc<Resolver>, path: &str) -> Result<Arc<dyn Prober>, ConfigIssue> {
    let Some(name) = &module.value.prober else {
        return Err(at(module, path, "prober", unknown_prober("")));
    };
    let built = module.value.blocks.build(&name.value, resolver, path);
    built.unwrap_or_else(|| Err(at(name, path, "prober", unknown_prober(&name.value))))
}

fn unknown_prober(name: &str) -> String {
    let known = PROBERS.join(", ");
    match name {
        "" => format!("missing prober: expected one of {known}"),
        _ => format!("prober {name:?} is not valid: expected one of {known}"),
    }
}

fn resolver(file: &ModuleFile, path: &str) -> Result<Option<Arc<Resolver>>, ConfigIssue> {
    let Some(servers) = &file.resolver else {
        return Ok(None);
    };
    let servers: Vec<NameServer> = servers
        .iter()
        .map(|server| {
            server
                .value
                .parse()
                .map_err(|error| at(server, path, "resolver", error))
        })
        .collect::<Result<_, _>>()?;
    if servers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Resolver::with_servers(&servers))))
}

/// Maximum number of bucket bounds per module. Each bound adds one series per phase.
const MOST_BUCKETS: usize = 32;

/// The bucket bounds in seconds: finite, above 0 and ascending. An empty list leaves only the count and the sum.
fn buckets(file: &ModuleFile, path: &str) -> Result<Option<Arc<[f64]>>, ConfigIssue> {
    let Some(written) = &file.buckets else {
        return Ok(None);
    };
    let mut last = 0.0;
    for bound in written {
        if !bound.value.is_finite() || bound.value <= last {
            let issue = format!(
                "invalid bucket bound {}: expected seconds above 0 in ascending order",
                bound.value
            );
            return Err(at(bound, path, "buckets", issue));
        }
        last = bound.value;
    }
    if let Some(first_too_many) = written.get(MOST_BUCKETS) {
        let issue = format!("too many bucket bounds: maximum {MOST_BUCKETS}");
        return Err(at(first_too_many, path, "buckets", issue));
    }
    Ok(Some(written.iter().map(|bound| bound.value).collect()))
}
