//! The query of a request that repeats a probe: the parameters of `/probe`.

use glassbox_probe::probe::Finding;
use glassbox_verdict::backend::Backend;
use url::form_urlencoded::{Serializer, byte_serialize};

/// The query. It contains the target unmodified, with its secrets, so it must not be displayed.
#[must_use]
pub fn of(finding: &Finding) -> String {
    let requested = &finding.requested;
    let target: String = byte_serialize(requested.target.bytes()).collect();
    let mut query = Serializer::new(format!("target={target}"));
    query.append_pair("module", &finding.module.name);
    if let Some(hostname) = &requested.hostname {
        query.append_pair("hostname", hostname);
    }
    if !requested.backends.is_empty() {
        let backends: Vec<_> = requested.backends.iter().map(Backend::written).collect();
        query.append_pair("backend", &backends.join(","));
    }
    query.finish()
}
