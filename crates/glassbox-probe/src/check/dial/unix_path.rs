//! Connects to Unix sockets (unix(7)) and ensures that the connection goes to the file that the policy approved.
//!
//! A path that is checked first and resolved again later may lead to a different file, because another process with
//! write access to one of its directories can insert a link in between. So the path is resolved once, to a descriptor
//! of the socket itself (`O_PATH`, open(2)). The kernel reports the path of this descriptor without links, and the
//! policy checks that path. The connection goes to the descriptor, through `/proc/self/fd`.

use super::DialError;
use crate::check::blocking::{BlockingError, blocking};
use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Maximum number of paths that are opened concurrently. An operation on a file system that hangs cannot be cancelled
/// and blocks its thread.
pub(super) const PATHS_AT_ONCE: usize = 64;

/// See [`PATHS_AT_ONCE`].
pub(super) static PATHS: Semaphore = Semaphore::const_new(PATHS_AT_ONCE);

/// A file that a path was resolved to.
pub(super) struct SocketFile {
    file: File,
    /// The path without links.
    pub path: PathBuf,
}

impl SocketFile {
    /// Resolves a path to a file of any kind, without opening it for reading.
    pub fn walk(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
        let path = std::fs::read_link(descriptor_path(&file))?;
        Ok(Self { file, path })
    }

    /// Connects to the file, even if its path now leads elsewhere.
    pub fn connect(&self) -> io::Result<Socket> {
        connect(&descriptor_path(&self.file))
    }
}

fn descriptor_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Connects to the socket at a path.
pub(super) fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Connects on a blocking thread. Returns the stream and when the connection started and ended.
pub(super) async fn connected(
    until: Instant,
    connect: impl FnOnce() -> io::Result<Socket> + Send + 'static,
) -> Result<(UnixStream, [Instant; 2]), DialError> {
    let connecting = in_the_file_system(until, move || {
        let began = Instant::now();
        Ok((connect()?, [began, Instant::now()]))
    });
    let (socket, times) = connecting.await?;
    Ok((UnixStream::from_std(socket.into())?, times))
}

/// Runs a file system operation on a blocking thread. Every client that may scrape can choose the path, and it may
/// hang.
pub(super) async fn in_the_file_system<T: Send + 'static>(
    until: Instant,
    walk: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DialError> {
    let place = tokio::time::timeout_at(until.into(), PATHS.acquire()).await;
    let place = place.map_err(|_elapsed| DialError::NoPlace)?;
    let walking = blocking(until, move || {
        // The permit is held until the operation ends, even if the caller has stopped waiting.
        let _place = place;
        walk()
    });
    match walking.await {
        Ok(walked) => Ok(walked?),
        Err(BlockingError::NotBegun | BlockingError::Starved) => Err(DialError::NoPlace),
        Err(BlockingError::Slow) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// The name of an abstract socket (unix(7)), which is not in a file system. Go and other programs write it as `@name`.
/// The kernel's form has a zero byte instead of the `@`.
pub(super) fn abstract_name(path: &Path) -> Option<PathBuf> {
    let name = path.as_os_str().as_bytes().strip_prefix(b"@")?;
    Some(PathBuf::from(OsString::from_vec([b"\0", name].concat())))
}

#[cfg(test)]
mod tests {
    use super::SocketFile;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// A process with write access to a directory of the path replaces an entry after the check.
    #[test]
    fn the_file_that_was_judged_is_connected_to_whatever_its_path_leads_to_then() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let [open, closed] = ["open", "closed"].map(|name| top.join(name));
        let listener = |folder: &std::path::Path| {
            std::fs::create_dir(folder).unwrap();
            let listener = UnixListener::bind(folder.join("app.sock")).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let (allowed, secret) = (listener(&open), listener(&closed));
        let by_directory = SocketFile::walk(&open.join("app.sock")).unwrap();
        assert_eq!(by_directory.path, open.join("app.sock"));
        std::fs::rename(&open, top.join("moved")).unwrap();
        symlink(&closed, &open).unwrap();
        by_directory.connect().unwrap();
        assert!(
            allowed.accept().is_ok() && secret.accept().is_err(),
            "a directory was exchanged"
        );
        // The path now leads elsewhere, and the kernel reports this.
        assert_eq!(
            SocketFile::walk(&open.join("app.sock")).unwrap().path,
            closed.join("app.sock")
        );
        let by_name = SocketFile::walk(&top.join("moved/app.sock")).unwrap();
        std::fs::rename(top.join("moved/app.sock"), top.join("moved/other.sock")).unwrap();
        symlink(closed.join("app.sock"), top.join("moved/app.sock")).unwrap();
        by_name.connect().unwrap();
        assert!(
            allowed.accept().is_ok() && secret.accept().is_err(),
            "the socket itself was exchanged"
        );
    }

    #[test]
    fn what_is_no_socket_is_not_connected_to() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"text").unwrap();
        let refused = SocketFile::walk(file.path()).unwrap().connect().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(SocketFile::walk(&file.path().join("below")).is_err());
    }
}
