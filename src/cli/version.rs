//! `--version` in the format of Prometheus programs. Scripts read the version as the third word of the first line.

use crate::self_metrics::platform;

/// Returns the output of `--version`: the name, the version and the build information.
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

/// Returns the version in the format of the first log line.
#[must_use]
pub fn version_in_log() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("(version={version}, branch=unknown, revision=unknown)")
}
