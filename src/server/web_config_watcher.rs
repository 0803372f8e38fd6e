//! Reloads the web configuration when its files change. A separate thread reads the files, so that no request waits for
//! a disk.
//!
//! The watcher applies a new version if it is unchanged for two checks, is valid, and removes no protection: a partly
//! written file may be valid but lack the passwords. Only a restart can remove TLS, passwords or required client
//! certificates.

use crate::config::WebConfig;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two checks of the files. A new version must stay unchanged for this time.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// Identifies the version of a file: device, inode, size, and modification time in seconds and nanoseconds. `None` if
/// the file is missing.
type Version = Option<(u64, u64, u64, i64, i64)>;

/// Watches the files of the web configuration.
#[derive(Debug)]
pub(super) struct WebConfigWatcher {
    path: PathBuf,
    /// All files from which the configuration was read.
    files: Vec<PathBuf>,
    /// Versions that were read last, valid or not.
    read: Vec<Version>,
    /// Versions found by the last check.
    last: Vec<Version>,
    /// Why the versions in `read` cannot be used. Each check re-reads them, because the error may concern a file that
    /// is not in `files`, such as one that does not exist yet.
    failed: Option<String>,
}

/// Result of a check.
#[derive(Debug)]
pub(super) enum WebConfigChange {
    /// No change.
    Same,
    /// New version that can be used.
    New(Box<WebConfig>),
    /// Reason why a new version cannot be used. Repeated failures with the same reason are reported once.
    Refused(String),
}

impl WebConfigWatcher {
    /// Watches the file from which `config` was read, starting with its current version.
    pub fn new(path: PathBuf, config: &WebConfig) -> Self {
        let versions = versions(&config.files);
        Self {
            path,
            files: config.files.clone(),
            read: versions.clone(),
            last: versions,
            failed: None,
        }
    }

    /// Checks the files and reads a version that is no longer changing. `now` is the active configuration.
    pub fn look(&mut self, now: &WebConfig) -> WebConfigChange {
        let versions = versions(&self.files);
        let is_settled = versions == self.last;
        self.last.clone_from(&versions);
        if !is_settled || (versions == self.read && self.failed.is_none()) {
            return WebConfigChange::Same;
        }
        self.read = versions;
        let loaded = load(&self.path, &self.files);
        let loaded = loaded.and_then(|config| loss(now, &config).map_or(Ok(config), |loss| Err(loss.to_owned())));
        match loaded {
            Ok(config) => {
                self.failed = None;
                if config.files != self.files {
                    *self = Self::new(std::mem::take(&mut self.path), &config);
                }
                WebConfigChange::New(Box::new(config))
            }
            Err(words) if self.failed.as_ref() == Some(&words) => WebConfigChange::Same,
            Err(words) => {
                self.failed = Some(words.clone());
                WebConfigChange::Refused(words)
            }
        }
    }
}

/// Reads the configuration. Refuses pipes and devices, because reading them could block forever.
fn load(path: &Path, files: &[PathBuf]) -> Result<WebConfig, String> {
    let irregular = |file: &&PathBuf| std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
    if let Some(file) = files.iter().find(irregular) {
        return Err(format!("{} is not a regular file", file.display()));
    }
    WebConfig::load(path).map_err(|error| error.to_string())
}

/// Describes the protection that the new version would remove.
fn loss(now: &WebConfig, new: &WebConfig) -> Option<&'static str> {
    if now.tls.is_some() && new.tls.is_none() {
        return Some("the new version removes TLS: restart the exporter to serve without TLS");
    }
    if !now.users.is_empty() && new.users.is_empty() {
        return Some("the new version removes all users: restart the exporter to serve without passwords");
    }
    (now.requires_client_certificates && !new.requires_client_certificates)
        .then_some("the new version no longer requires client certificates: restart the exporter to serve without them")
}

fn versions(files: &[PathBuf]) -> Vec<Version> {
    let facts = |file: Metadata| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    files
        .iter()
        .map(|path| std::fs::metadata(path).ok().map(facts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{WebConfigChange, WebConfigWatcher};
    use crate::config::WebConfig;
    use std::process::Command;

    const USERS: &str = "basic_auth_users: {u: '$2b$04$abcdefghijklmnopqrstuuAFBFBFBFBFBFBFBFBFBFBFBFBFBFBFO'}\n";

    #[test]
    fn a_version_is_applied_when_it_is_stable_and_removes_no_protection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(USERS);
        let now = WebConfig::load(&path).unwrap();
        let mut file = WebConfigWatcher::new(path.clone(), &now);
        assert!(matches!(file.look(&now), WebConfigChange::Same));
        // A partly written file stays unchanged for two checks.
        write("http_server_config: {http2: false}\n");
        assert!(
            matches!(file.look(&now), WebConfigChange::Same),
            "it may still be incomplete"
        );
        assert!(matches!(file.look(&now), WebConfigChange::Refused(words) if words.contains("removes all users")));
        assert!(matches!(file.look(&now), WebConfigChange::Same), "it is reported once");
        // The complete file.
        write(&format!("http_server_config: {{http2: false}}\n{USERS}"));
        assert!(
            matches!(file.look(&now), WebConfigChange::Same),
            "it may still be incomplete"
        );
        let WebConfigChange::New(new) = file.look(&now) else {
            panic!("it is unchanged for two checks");
        };
        assert!(!new.http2 && new.users.len() == 1);
        assert!(matches!(file.look(&now), WebConfigChange::Same));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(file.look(&now), WebConfigChange::Same));
        assert!(matches!(file.look(&now), WebConfigChange::Refused(_)));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(file.look(&now), WebConfigChange::Same));
        assert!(matches!(file.look(&now), WebConfigChange::Refused(words) if words.contains("not a regular file")));
    }
}
