//! Files that a module names (tokens, passwords, bodies): read at every probe, outside the async runtime and within the probe's
//! deadline, since a hanging file system must cost only that probe.

use crate::check::{BlockingError, blocking, shortage};
use crate::reason::Reason;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Reads of one file of a module that may be under way: one that hangs cannot be stopped, and keeps its thread.
const AT_ONCE: usize = 8;

/// Those of all files, also of modules that a reload has replaced: a quarter of the threads that a worker may have for such work,
/// so that bodies can still be decoded and matched.
const AT_ONCE_IN_ALL: usize = 128;

/// See [`AT_ONCE_IN_ALL`].
static ALL: Semaphore = Semaphore::const_new(AT_ONCE_IN_ALL);

/// A file of a module. It is read at every probe, as with the peer, so that what was rotated is used.
#[derive(Clone, Debug)]
pub struct NamedFile {
    path: PathBuf,
    places: Arc<Semaphore>,
}

/// Why nothing can be sent of what a file holds.
#[derive(Debug)]
pub(super) struct FileError {
    /// An own fault, where it is none of the file.
    pub reason: Reason,
    /// The particulars, for people.
    pub words: String,
}

impl From<String> for FileError {
    fn from(words: String) -> Self {
        Self {
            reason: Reason::LocalFileUnreadable,
            words,
        }
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
    /// All of it, which is `most` bytes at most.
    ///
    /// # Errors
    /// When it cannot be read until then, or is larger: what is cut would be something else.
    pub(super) async fn bytes(&self, most: u64, until: Instant) -> Result<Vec<u8>, FileError> {
        let own_and_common = async { (self.places.clone().acquire_owned().await, ALL.acquire().await) };
        let Ok(places) = tokio::time::timeout_at(until.into(), own_and_common).await else {
            let reads = format!("{AT_ONCE} reads of it, or {AT_ONCE_IN_ALL} of all files that modules name");
            return Err(self.overloaded(&format!("{reads}, took all of this probe's time")));
        };
        let path = self.path.clone();
        let read = blocking(until, move || {
            // Kept until the read has ended, not until nobody waits for it any more.
            let _places = places;
            read(&path, most)
        });
        match read.await {
            Ok(Ok(bytes)) if bytes.len() as u64 > most => Err(self.unusable(&format!("it is over {most} bytes"))),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let unusable = self.unusable(&error.to_string());
                Err(FileError {
                    reason: shortage(&error).unwrap_or(unusable.reason),
                    ..unusable
                })
            }
            Err(BlockingError::Slow) => Err(self.unusable("reading it took all of the probe's time")),
            Err(BlockingError::NotBegun | BlockingError::Starved) => {
                Err(self.overloaded("other work left no thread to read it with in time"))
            }
        }
    }

    /// The same as text.
    ///
    /// # Errors
    /// As with the bytes, and when they are no text.
    pub(super) async fn text(&self, most: u64, until: Instant) -> Result<String, FileError> {
        let text = String::from_utf8(self.bytes(most, until).await?);
        text.map_err(|_| self.unusable("it holds bytes that are no UTF-8"))
    }

    fn unusable(&self, words: &str) -> FileError {
        format!("{}: {words}.", self.path.display()).into()
    }

    fn overloaded(&self, words: &str) -> FileError {
        FileError {
            reason: Reason::LocalOverloaded,
            ..self.unusable(words)
        }
    }
}

/// One byte more than `most` tells that there are more.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::NamedFile;
    use crate::reason::Reason;
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
        assert_eq!(unusable.words, format!("{path}: it is over 7 bytes."));
    }
}
