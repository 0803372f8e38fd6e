//! What a set of series belongs to.

use crate::hop::Hop;
use crate::probers::{Aim, Module};
use crate::target::Target;
use std::sync::Arc;

/// What one set of series belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    module: Arc<str>,
    target: Target,
    beside: Option<Box<Beside>>,
}

/// What most keys have none of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Beside {
    hostname: Option<String>,
    hops: Vec<Hop>,
}

impl Key {
    /// The key of a probe.
    #[must_use]
    pub fn new(module: &Module, aim: &Aim) -> Self {
        Self {
            module: module.name.clone(),
            target: aim.target.clone(),
            beside: (aim.hostname.is_some() || !aim.hops.is_empty()).then(|| {
                Box::new(Beside {
                    hostname: aim.hostname.clone(),
                    hops: aim.hops.clone(),
                })
            }),
        }
    }

    /// The name of the module.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// What is probed.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// A few digits that tell targets apart which are shown alike.
    #[must_use]
    pub fn mark(&self) -> u16 {
        // FNV-1a, folded: too little to learn from what is hidden.
        let hash = self.target.written().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let [a, b, c, d] = hash.to_be_bytes();
        u16::from_be_bytes([a ^ c, b ^ d])
    }

    /// What tells it from other keys of the same target: the virtual host, and the hops.
    #[must_use]
    pub fn distinction(&self) -> String {
        let Some(beside) = &self.beside else {
            return String::new();
        };
        let hops = beside.hops.iter().map(|hop| format!("via {hop}"));
        let hostname = beside.hostname.iter().cloned();
        hostname.chain(hops).collect::<Vec<_>>().join(", ")
    }
}
