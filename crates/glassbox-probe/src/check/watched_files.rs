//! Values read from files of this host (`resolv.conf`, hosts, certificates), reloaded when the files change.
//!
//! One thread checks all files every five seconds, so that no probe waits for a disk. A file has changed if
//! its identity, size or modification time differs. (Kubernetes replaces mounted files by switching a symbolic link,
//! which results in a different file.) If a new version is invalid, the old value stays in use, and the error is logged
//! once.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Once, Weak};
use std::thread;
use std::time::Duration;

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(5);

/// All values read from files. A value that is dropped is removed from the list at the next check.
static ALL: Mutex<Vec<Weak<dyn Refresh>>> = Mutex::new(Vec::new());

/// A value read from files.
pub struct Watched<T> {
    /// The content of the files, for the log.
    what: String,
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    current: ArcSwap<Result<Arc<T>, String>>,
    seen: Mutex<ReadVersion>,
}

/// The result of the last check.
struct ReadVersion {
    versions: Vec<Option<Version>>,
    /// The error of the last read. Each check retries it: a resource shortage does not indicate invalid files, and
    /// a certificate is often replaced before its key.
    error: Option<String>,
}

/// The identity of one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(file: &PathBuf) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

trait Refresh: Send + Sync {
    /// Re-reads the files if they have changed.
    fn refresh(&self);
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("files", &self.files)
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the value with `first` now, and with `again` after each change to one of its files. A value without files
    /// never changes.
    ///
    /// # Errors
    /// The error of `first`, if the value can never become valid. A temporary error is stored.
    pub fn new<E>(
        what: impl Into<String>,
        files: Vec<PathBuf>,
        first: impl FnOnce() -> Result<Result<T, String>, E>,
        again: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, E> {
        // The versions are read before the files, so that a change in between is found at the next check.
        let versions = files.iter().map(Version::of).collect();
        let first = first()?;
        let error = first.as_ref().err().cloned();
        let watched = Arc::new(Self {
            what: what.into(),
            files,
            read: Box::new(again),
            current: ArcSwap::from_pointee(first.map(Arc::new)),
            seen: Mutex::new(ReadVersion { versions, error }),
        });
        if !watched.files.is_empty() {
            let all: Arc<dyn Refresh> = watched.clone();
            ALL.lock().push(Arc::downgrade(&all));
        }
        Ok(watched)
    }

    /// Reads the files unless one of them is a pipe or a device, which could block forever.
    fn read_regular(&self) -> Result<T, String> {
        let irregular = |file: &&PathBuf| fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
        match self.files.iter().find(irregular) {
            Some(file) => Err(format!("{} is not a regular file", file.display())),
            None => (self.read)(),
        }
    }

    fn versions(&self) -> Vec<Option<Version>> {
        self.files.iter().map(Version::of).collect()
    }

    /// The value.
    ///
    /// # Errors
    /// When no version of the files was valid yet.
    pub fn current(&self) -> Result<Arc<T>, String> {
        self.current.load().as_ref().clone()
    }
}

impl<T: Send + Sync + 'static> Refresh for Watched<T> {
    fn refresh(&self) {
        let mut seen = self.seen.lock();
        let versions = self.versions();
        if seen.versions == versions && seen.error.is_none() {
            return;
        }
        seen.versions = versions;
        let read = self.read_regular();
        let whole = self.versions() == seen.versions;
        let error = match read {
            Ok(_) if !whole => Some("they changed while they were read".to_owned()),
            Ok(value) => {
                self.current.store(Arc::new(Ok(Arc::new(value))));
                tracing::info!(what = self.what, "Read changed files");
                None
            }
            Err(error) => Some(error),
        };
        if error.is_some() && error != seen.error {
            let kept = self.current.load().is_ok();
            tracing::warn!(what = self.what, error, kept, "Cannot use changed files");
        }
        if let (Some(error), true) = (&error, self.current.load().is_err()) {
            self.current.store(Arc::new(Err(error.clone())));
        }
        seen.error = error;
    }
}

/// Starts the thread that checks all files, once per process.
pub fn watch_files() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let started = thread::Builder::new().name("files".to_owned()).spawn(|| {
            loop {
                thread::sleep(EVERY);
                refresh_all();
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "Cannot start the thread that reads changed files; they are read only at a reload");
        }
    });
}

fn refresh_all() {
    let alive: Vec<Arc<dyn Refresh>> = {
        let mut all = ALL.lock();
        all.retain(|watched| watched.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    };
    for watched in alive {
        // A panic, which the hook logs, ends one check of one value, not the thread.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| watched.refresh()));
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Refresh as _, Watched, refresh_all};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Weak};

    fn number(file: &Path) -> Result<u32, String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("{text:?} is not a number"))
    }

    fn watch(file: PathBuf) -> Arc<Watched<u32>> {
        let (first, again) = (file.clone(), file.clone());
        Watched::new(
            "a number",
            vec![file],
            || Ok::<_, ()>(number(&first)),
            move || number(&again),
        )
        .unwrap()
    }

    #[test]
    fn a_new_version_replaces_the_old_one_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let watched = watch(file.clone());
        assert!(watched.current().is_err(), "a missing file");
        let replace = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &file).unwrap();
            watched.refresh();
            watched.current().map(|number| *number)
        };
        assert_eq!(replace("1"), Ok(1));
        assert_eq!(replace("broken"), Ok(1));
        assert_eq!(replace("2"), Ok(2));
        fs::remove_file(&file).unwrap();
        watched.refresh();
        assert_eq!(*watched.current().unwrap(), 2);
    }

    #[test]
    fn what_cannot_be_used_is_tried_again_though_the_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "1").unwrap();
        let works = Arc::new(AtomicBool::new(false));
        let again = {
            let (file, works) = (file.clone(), works.clone());
            move || {
                if works.load(Ordering::SeqCst) {
                    number(&file)
                } else {
                    Err("short of files".to_owned())
                }
            }
        };
        let first = again.clone();
        let watched = Watched::new("a number", vec![file], || Ok::<_, ()>(first()), again).unwrap();
        watched.refresh();
        assert_eq!(watched.current(), Err("short of files".to_owned()));
        works.store(true, Ordering::SeqCst);
        watched.refresh();
        assert_eq!(*watched.current().unwrap(), 1);
    }

    #[test]
    fn a_symbolic_link_that_is_switched_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, number) in [("one", "1"), ("two", "2")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), number).unwrap();
        }
        symlink("one", path("data")).unwrap();
        symlink("data/file", path("file")).unwrap();
        let watched = watch(path("file"));
        assert_eq!(*watched.current().unwrap(), 1);
        symlink("two", path("data.new")).unwrap();
        fs::rename(path("data.new"), path("data")).unwrap();
        watched.refresh();
        assert_eq!(*watched.current().unwrap(), 2);
    }

    #[test]
    fn a_value_that_is_dropped_is_no_longer_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let watched = watch(folder.path().join("file"));
        let weak = Arc::downgrade(&watched);
        drop(watched);
        assert_eq!(Weak::strong_count(&weak), 0);
        refresh_all();
        assert!(ALL.lock().iter().all(|one| one.strong_count() > 0));
    }
}
