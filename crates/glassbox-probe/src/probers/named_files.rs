//! Files that a module names (tokens, passwords, bodies). They are re-read on every probe, outside the async runtime
//! and within the probe's deadline, so that a hanging file system affects only that probe.

use crate::check::{BlockingError, Refusal, blocking, shortage};
use glassbox_verdict::reason::Reason;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Maximum number of concurrent reads of one of a module's files. A hanging read cannot be cancelled and keeps its
/// thread.
const AT_ONCE: usize = 8;

/// Maximum number of concurrent reads of all files, including those of modules that a reload has replaced. This is a
/// quarter of a worker's blocking threads, so that bodies can still be decoded and matched.
const AT_ONCE_IN_ALL: usize = 128;

/// Permits for [`AT_ONCE_IN_ALL`].
static ALL: Semaphore = Semaphore::const_new(AT_ONCE_IN_ALL);

/// A module's file. As in `blackbox_exporter`, it is read on every probe, so that rotated contents take effect.
#[derive(Clone, Debug)]
pub struct NamedFile {
    path: PathBuf,
    places: Arc<Semaphore>,
}

impl NamedFile {
    /// The name, as configured.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl From<String> for NamedFile {
    fn from(path: String) -> Self {
        Self {
            path: path.into(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl NamedFile {
    /// Reads the whole file, up to `most` bytes.
    ///
    /// # Errors
    /// Fails if the file cannot be read before `until` or is larger than `most` bytes. A truncated file is never used.
    pub(super) async fn bytes(&self, most: u64, until: Instant) -> Result<Vec<u8>, Refusal> {
        let own_and_common = async { (self.places.clone().acquire_owned().await, ALL.acquire().await) };
        let Ok(places) = tokio::time::timeout_at(until.into(), own_and_common).await else {
            let reads = format!("{AT_ONCE} other reads of this file, or {AT_ONCE_IN_ALL} reads of all files");
            return Err(self.overloaded(&format!(
                "{reads} occupied all read slots until the deadline of this probe"
            )));
        };
        let path = self.path.clone();
        let read = blocking(until, move || {
            // The permits are released when the read ends, not when the probe stops waiting for it.
            let _places = places;
            read(&path, most)
        });
        match read.await {
            Ok(Ok(bytes)) if bytes.len() as u64 > most => Err(self.unusable(&format!("larger than {most} bytes"))),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let unusable = self.unusable(&error.to_string());
                Err(Refusal {
                    reason: shortage(&error).unwrap_or(unusable.reason),
                    ..unusable
                })
            }
            Err(BlockingError::Slow) => Err(self.unusable("the file was not read before the probe's deadline")),
            Err(BlockingError::NotBegun | BlockingError::Starved) => {
                Err(self.overloaded("no thread was free to read the file before the probe's deadline"))
            }
        }
    }

    /// Reads the whole file as UTF-8.
    ///
    /// # Errors
    /// Fails like [`Self::bytes`], and if the contents are not UTF-8.
    pub(super) async fn text(&self, most: u64, until: Instant) -> Result<String, Refusal> {
        let text = String::from_utf8(self.bytes(most, until).await?);
        text.map_err(|_| self.unusable("the file is not valid UTF-8"))
    }

    fn unusable(&self, words: &str) -> Refusal {
        Refusal::of_file(format!("{}: {words}.", self.path.display()))
    }

    fn overloaded(&self, words: &str) -> Refusal {
        Refusal {
            reason: Reason::LocalOverloaded,
            ..self.unusable(words)
        }
    }
}

/// Reads one byte more than `most`, which shows that the file is too large.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::NamedFile;
    use glassbox_verdict::reason::Reason;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_file_of_exactly_the_bound_is_read_and_a_larger_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret").display().to_string();
        std::fs::write(&path, "12345678").unwrap();
        let file = NamedFile::from(path.clone());
        let until = Instant::now() + Duration::from_mins(1);
        assert_eq!(file.text(8, until).await.unwrap(), "12345678");
        let unusable = file.text(7, until).await.unwrap_err();
        assert_eq!(unusable.reason, Reason::LocalFileUnreadable);
        assert_eq!(unusable.message, format!("{path}: larger than 7 bytes."));
    }
}
