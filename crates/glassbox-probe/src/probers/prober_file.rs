//! What the configuration file has of each prober: its keys, their defaults, what is built from them, and warnings.

use super::Prober;
use super::blocks::tls::TlsFile;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Fill, Location, Read, Spanned, at, below, filled};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The place of a block, and its keys.
pub type KeysOfBlock = (&'static str, Vec<&'static str>);

/// The block of a prober in a module.
pub trait ProberFile: Clone + Default + Fill + Read + Serialize {
    /// The keys of a module with this prober and their defaults, in YAML.
    const DEFAULTS: &'static str;

    /// Validates the keys and builds the prober. `path` is the dotted path of the block.
    ///
    /// # Errors
    /// If a value is invalid, or contradicts another one.
    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue>;

    /// The keys of the blocks that only this prober has, by their place, for a hint where a misplaced key belongs.
    #[must_use]
    fn nested_keys() -> Vec<KeysOfBlock> {
        Vec::new()
    }

    /// Adds warnings about keys that have no effect or do not do what they appear to.
    fn warn(_written: Option<&Spanned<Self>>, _warnings: &mut Warnings<'_>) {}

    /// The key of a secret that the prober sends to every target of the module, relative to the module.
    fn secret(&self) -> Option<&'static str> {
        None
    }

    /// The key that lets a proxy resolve the name of the target, relative to the module. The policy cannot check the
    /// address then.
    fn unchecked_address(&self) -> Option<&'static str> {
        None
    }

    /// Changes the defaults of a module that does not have the block.
    fn change_defaults_without_block(&mut self) {}
}

/// Declares the blocks of all probers.
macro_rules! probers {
    ($($name:ident: $file:ty,)+) => {
        /// The values of the key `prober`.
        pub const PROBERS: &[&str] = &[$(stringify!($name)),+];

        /// The blocks of the probers in a module.
        #[derive(Clone, Debug, Default, ::serde::Serialize)]
        pub struct ProberBlocks {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $name: Option<Spanned<$file>>,
            )+
        }

        impl ProberBlocks {
            /// The keys of a module that contain a block.
            #[must_use]
            pub fn keys() -> Vec<&'static str> {
                PROBERS.to_vec()
            }

            /// The keys of each block.
            #[must_use]
            pub fn keys_by_block() -> Vec<KeysOfBlock> {
                let mut blocks = vec![$((stringify!($name), <$file>::keys())),+];
                $(blocks.extend(<$file>::nested_keys());)+
                blocks.extend(blocks::keys_by_block());
                blocks
            }

            /// The default keys of a module, in YAML; `None` for an unknown prober.
            #[must_use]
            pub fn defaults(prober: &str) -> Option<&'static str> {
                match prober {
                    $(stringify!($name) => Some(<$file>::DEFAULTS),)+
                    _ => None,
                }
            }

            /// Reads one block.
            ///
            /// # Errors
            /// If a key of the block is unknown, or a value has the wrong type.
            pub fn read_key(&mut self, key: &str, value: &Node, path: &str) -> Result<(), ConfigIssue> {
                if matches!(value.kind, NodeKind::Nothing) {
                    return Ok(());
                }
                match key {
                    $(stringify!($name) => self.$name = Some(Read::read(value, path)?),)+
                    _ => {}
                }
                Ok(())
            }

            /// The keys of the blocks that the module has.
            #[must_use]
            pub fn present(&self) -> Vec<&'static str> {
                let mut present = Vec::new();
                $(present.extend(self.$name.as_ref().map(|_| stringify!($name)));)+
                present
            }

            /// Builds the module's prober; `None` if it is unknown. Blocks of other probers have no effect.
            #[must_use]
            pub fn build(
                &self,
                prober: &str,
                resolver: Arc<Resolver>,
                path: &str,
            ) -> Option<Result<Arc<dyn Prober>, ConfigIssue>> {
                let path = below(path, prober);
                match prober {
                    $(stringify!($name) => Some(<$file>::build(self.$name.as_ref(), resolver, &path)),)+
                    _ => None,
                }
            }

            /// Adds the warnings about the module's prober.
            pub fn warn(&self, prober: &str, warnings: &mut Warnings<'_>) {
                match prober {
                    $(stringify!($name) => <$file>::warn(self.$name.as_ref(), warnings),)+
                    _ => {}
                }
            }

            /// The key of a secret that the prober sends to every target of the module.
            #[must_use]
            pub fn secret(&self, prober: &str) -> Option<&'static str> {
                match prober {
                    $(stringify!($name) => self.$name.as_ref()?.value.secret(),)+
                    _ => None,
                }
            }

            /// The key that lets a proxy resolve the name of the target.
            #[must_use]
            pub fn unchecked_address(&self) -> Option<&'static str> {
                let keys = [$(self.$name.as_ref().and_then(|block| block.value.unchecked_address())),+];
                keys.into_iter().flatten().next()
            }

            /// Changes these defaults to those of a module with the blocks `of`.
            pub fn change_defaults(&mut self, of: &Self) {
                $(
                    if let (None, Some(defaults)) = (&of.$name, &mut self.$name) {
                        defaults.value.change_defaults_without_block();
                    }
                )+
            }
        }

        impl Fill for ProberBlocks {
            fn fill(self, from: &Self) -> Self {
                Self { $($name: self.$name.fill(&from.$name),)+ }
            }
        }
    };
}

pub(super) use probers;

/// The warnings about a module.
#[derive(Debug)]
pub struct Warnings<'a> {
    /// The module's location.
    pub location: Location,
    /// The dotted path of the module.
    pub path: String,
    /// The warnings so far.
    pub found: &'a mut Vec<ConfigIssue>,
}

impl Warnings<'_> {
    /// Adds a warning about a key without a location. It points at the module.
    pub fn key(&mut self, key: &str, words: &str) {
        self.at_location(self.location, key, words);
    }

    /// Adds a warning about a key at a location.
    pub fn at_location(&mut self, location: Location, key: &str, words: &str) {
        self.found.push(location.issue(below(&self.path, key), words));
    }

    /// Adds a warning about the value of `key` in a block of the module.
    pub fn value<T>(&mut self, value: &Spanned<T>, block: &str, key: &str, words: &str) {
        self.found.push(at(value, &below(&self.path, block), key, words));
    }

    /// Warns about a value that is neither ip4 nor ip6. It means ip4.
    pub fn family(&mut self, block: &str, preferred: Option<&Spanned<String>>) {
        if let Some(written) = preferred.filter(|word| !matches!(word.value.as_str(), "" | "ip4" | "ip6")) {
            let words = format!(
                "{:?} means ip4, as in blackbox_exporter; write ip4 or ip6",
                written.value
            );
            self.value(written, block, "preferred_ip_protocol", &words);
        }
    }

    /// Warns about TLS versions that cannot be used.
    pub fn tls(&mut self, block: &str, written: Option<&Spanned<TlsFile>>) {
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
    pub fn framing<T>(&mut self, block: &str, fields: Option<&BTreeMap<String, Spanned<T>>>) {
        for (name, value) in fields.into_iter().flatten() {
            if ["content-length", "transfer-encoding", "trailer"].contains(&name.to_lowercase().as_str()) {
                let words = "this field is not sent: the exporter sets its own value";
                self.value(value, block, name, words);
            }
        }
    }
}

/// The first key that is present.
pub(super) fn first_present(keys: &[(&'static str, bool)]) -> Option<&'static str> {
    keys.iter().find(|(_, is_present)| *is_present).map(|(key, _)| *key)
}
