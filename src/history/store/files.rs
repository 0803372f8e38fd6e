//! The files of the store. Only their owner can read them, because evidence names hosts and addresses.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the database in the directory of `--history.path`.
const NAME: &str = "evidence.db";

/// Suffix of a damaged database that was set aside.
const DAMAGED: &str = ".damaged";

/// Files that `SQLite` creates beside a database, by suffix.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Position and length of the header of an `SQLite` database up to its application id.
const HEADER: usize = 72;

/// Creates the directory and the database file if they do not exist, and returns the path of the file.
///
/// # Errors
/// When a file system operation fails.
pub(super) fn prepare(folder: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(NAME);
    // SQLite gives its other files the permissions of the database.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(path)
}

/// Returns the format version in the header of the database, without opening it with `SQLite`, which could change the
/// file. Returns 0 for a file that is not an evidence database.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn version(path: &Path, application: u32) -> io::Result<u32> {
    let mut header = Vec::new();
    File::open(path)?.take(HEADER as u64).read_to_end(&mut header)?;
    // https://www.sqlite.org/fileformat.html, section 1.3: user version and application id, big-endian.
    let number = |at: usize| {
        let bytes = header.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let is_ours = header.starts_with(b"SQLite format 3\0") && number(68) == Some(application);
    Ok(number(60).filter(|_| is_ours).unwrap_or(0))
}

/// Renames a damaged database and returns its new path. Replaces the one that was set aside earlier, so that damaged
/// databases do not fill the disk.
///
/// # Errors
/// When the database cannot be renamed.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, DAMAGED);
    fs::rename(path, &aside)?;
    for companion in COMPANIONS {
        let (from, to) = (with_suffix(path, companion), with_suffix(&aside, companion));
        // The log of a database that was set aside earlier does not belong to this one.
        let _absent = fs::remove_file(&to);
        // SQLite must not combine an old log with the new database, so a log that cannot be renamed is removed.
        if fs::rename(&from, &to).is_err() && from.exists() {
            fs::remove_file(&from)?;
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
