//! Real programs on loopback. A missing program fails the test, it is never skipped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A child process. It is killed on drop.
pub struct Process(pub Child);

impl Process {
    /// Starts a program. The command decides where its output goes.
    pub fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        match command.spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!(
                "{}: {error}; `make deps` installs the packages for the tests",
                program.display()
            ),
        }
    }

    /// Waits until the program accepts connections at a port. Fails immediately if it has exited.
    pub async fn listens(&mut self, port: u16) {
        eventually("listening", async || {
            let ended = self.0.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the program exited before it listened at port {port}: {ended:?}"
            );
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.0.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago, below the ephemeral range.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let start = u16::try_from(std::process::id() % 8000).unwrap();
        let port = 20_000 + (start + step) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `done` is true. Fails the test after a time that only a broken machine needs.
pub async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{what}: not reached within 60 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a port accepts connections.
pub async fn listening(port: u16) {
    eventually("listening", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
}

/// Builds a library for `LD_PRELOAD` from a C file of the project.
pub fn preloaded(source: &str, folder: &Path) -> PathBuf {
    let library = folder.join("preloaded.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(project(source))
        .arg("-ldl")
        .status()
        .expect("a C compiler is required; Rust's linker needs one as well");
    assert!(built.success());
    library
}

/// The path of a file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
