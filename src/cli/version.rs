//! `--version`, in the form of the programs of Prometheus: scripts read the version as the third word of the first line.

use crate::self_metrics::platform;

/// The name and the version, and how it was built.
#[must_use]
pub fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let compiler = env!("GLASSBOX_RUST_VERSION");
    let (os, arch) = platform();
    format!(
        "glassbox_exporter, version {version} (branch: unknown, revision: unknown)
  build user:       unknown
  build date:       unknown
  rust version:     {compiler}
  platform:         {os}/{arch}
  tags:             unknown
"
    )
}

/// The version as the first line of the log has it.
#[must_use]
pub fn version_in_log() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("(version={version}, branch=unknown, revision=unknown)")
}
