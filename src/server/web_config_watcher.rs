//! Reloads the web configuration when its files change. A thread of its own reads them, so that no request waits for a disk.
//!
//! A new version is taken when it has been the same for two looks, can be served, and opens nothing: a file that is being written
//! may be valid and have no passwords yet. TLS, passwords and required client certificates end with a restart only.

use crate::config::WebConfig;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the files are looked at. Two looks are the moment for which a new version must stay the same.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// By which a file that has changed is known: device, inode, size, and time of change in nanoseconds.
type Version = Option<(u64, u64, u64, i64, i64)>;

/// The files of the web configuration, and what the last looks have found.
#[derive(Debug)]
pub(super) struct WebConfigWatcher {
    path: PathBuf,
    /// All files that the configuration was read from.
    files: Vec<PathBuf>,
    /// The versions that were last read, whether or not they could be served.
    read: Vec<Version>,
    /// The versions of the last look.
    last: Vec<Version>,
    /// Why the versions that were read cannot be served. They are read again with each look: a file that is missing yet may not be
    /// among those that are looked at.
    failed: Option<String>,
}

/// What a look has found.
#[derive(Debug)]
pub(super) enum WebConfigChange {
    /// Nothing new.
    Same,
    /// A new version, which may be served.
    New(Box<WebConfig>),
    /// A new version that must not be served, and why. Told once for each reason.
    Refused(String),
}

impl WebConfigWatcher {
    /// The file that `config` was read from, as it now is.
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

    /// Looks at the files, and reads a version that has settled. `now` is what is served.
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

/// Reads the files, unless one of them is a pipe or a device, whose reading could last for ever.
fn load(path: &Path, files: &[PathBuf]) -> Result<WebConfig, String> {
    let irregular = |file: &&PathBuf| std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
    if let Some(file) = files.iter().find(irregular) {
        return Err(format!("{} is not a regular file", file.display()));
    }
    WebConfig::load(path).map_err(|error| error.to_string())
}

/// What a new version would open, in words.
fn loss(now: &WebConfig, new: &WebConfig) -> Option<&'static str> {
    if now.tls.is_some() && new.tls.is_none() {
        return Some("it has no TLS any more: restart the exporter to serve without");
    }
    if !now.users.is_empty() && new.users.is_empty() {
        return Some("it has no users any more: restart the exporter to serve without passwords");
    }
    (now.requires_client_certificates && !new.requires_client_certificates)
        .then_some("it requires no client certificates any more: restart the exporter to serve without")
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
    fn a_version_is_taken_when_it_has_settled_and_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(USERS);
        let now = WebConfig::load(&path).unwrap();
        let mut file = WebConfigWatcher::new(path.clone(), &now);
        assert!(matches!(file.look(&now), WebConfigChange::Same));
        // Half of it, for longer than a moment.
        write("http_server_config: {http2: false}\n");
        assert!(
            matches!(file.look(&now), WebConfigChange::Same),
            "it is still being written"
        );
        assert!(matches!(file.look(&now), WebConfigChange::Refused(words) if words.contains("no users")));
        assert!(matches!(file.look(&now), WebConfigChange::Same), "it is told once");
        // All of it.
        write(&format!("http_server_config: {{http2: false}}\n{USERS}"));
        assert!(
            matches!(file.look(&now), WebConfigChange::Same),
            "it is still being written"
        );
        let WebConfigChange::New(new) = file.look(&now) else {
            panic!("it has settled");
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
