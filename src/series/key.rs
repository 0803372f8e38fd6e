//! The identity of a set of series.
//!
//! A caller can send kilobytes in each parameter, and thousands of keys are kept. For long keys, a digest replaces the
//! strings, and only the parts shown on pages are kept.

use glassbox_probe::probers::{Module, ProbeRequest};
use glassbox_probe::target::Target;
use glassbox_verdict::backend::Backend;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Maximum size, in bytes, of a key's strings that are stored unchanged. Longer keys are shortened and hashed.
const SHORT: usize = 256;

/// Maximum bytes that a longer key keeps of its target, and of the string that distinguishes it from other keys of the
/// same target.
const SHOWN: usize = 128;

/// The identity of one set of series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    module: Arc<str>,
    /// The target as written. For a long key, the displayed text, truncated.
    target: Target,
    parameters: Option<Box<KeyParameters>>,
}

/// The parameters that most keys do not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyParameters {
    hostname: Option<String>,
    backends: Vec<Backend>,
    /// Digest of all strings of a long key.
    digest: Option<[u8; 32]>,
}

impl SeriesKey {
    /// The key of a probe.
    #[must_use]
    pub fn new(module: &Module, requested: &ProbeRequest) -> Self {
        let parameters = (requested.hostname.is_some() || !requested.backends.is_empty()).then(|| KeyParameters {
            hostname: requested.hostname.clone(),
            backends: requested.backends.clone(),
            digest: None,
        });
        let key = Self {
            module: module.name.clone(),
            target: requested.target.clone(),
            parameters: parameters.map(Box::new),
        };
        let backends = requested.backends.iter().map(length);
        let texts = requested.target.written().len()
            + requested.hostname.as_ref().map_or(0, String::len)
            + backends.sum::<usize>();
        if texts <= SHORT { key } else { key.in_short(requested) }
    }

    /// The same key with a digest in place of the strings. Secrets are masked before a string is truncated, because the
    /// first part of a secret may not be recognisable as one.
    fn in_short(self, requested: &ProbeRequest) -> Self {
        let shown = |text: String| {
            let start = &text[..text.floor_char_boundary(SHOWN)];
            if start.len() < text.len() {
                format!("{start}…")
            } else {
                text
            }
        };
        let distinction = Some(self.distinction()).filter(|distinction| !distinction.is_empty());
        Self {
            target: Target::new(shown(requested.target.to_string())),
            parameters: Some(Box::new(KeyParameters {
                hostname: distinction.map(shown),
                backends: Vec::new(),
                digest: Some(digest(requested)),
            })),
            ..self
        }
    }

    /// The module's name.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The target.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// A few digits that distinguish targets with the same displayed text.
    #[must_use]
    pub fn mark(&self) -> u16 {
        if let Some([a, b, ..]) = self.parameters.as_ref().and_then(|parameters| parameters.digest) {
            return u16::from_be_bytes([a, b]);
        }
        // FNV-1a, folded to 16 bits, which is too short to reveal the hidden data.
        let hash = self.target.written().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let [a, b, c, d] = hash.to_be_bytes();
        u16::from_be_bytes([a ^ c, b ^ d])
    }

    /// The attributes that distinguish it from other keys of the same target: the virtual host and the backends.
    #[must_use]
    pub fn distinction(&self) -> String {
        let Some(parameters) = &self.parameters else {
            return String::new();
        };
        let backends = parameters.backends.iter().map(|backend| format!("backend {backend}"));
        let hostname = parameters.hostname.iter().cloned();
        hostname.chain(backends).collect::<Vec<_>>().join(", ")
    }
}

/// Total length of a backend's strings, in bytes.
fn length(backend: &Backend) -> usize {
    let optional = [&backend.sni, &backend.authority].map(|text| text.as_ref().map_or(0, String::len));
    backend.name.len() + backend.address.host().as_str().len() + optional.iter().sum::<usize>()
}

/// A digest of all parameters that a caller can set.
fn digest(requested: &ProbeRequest) -> [u8; 32] {
    let ProbeRequest {
        target,
        hostname,
        backends,
    } = requested;
    let mut digest = Sha256::new();
    // Each string follows its length, so that no two requests have the same bytes.
    for text in [target.written(), &format!("{hostname:?}"), &format!("{backends:?}")] {
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}
