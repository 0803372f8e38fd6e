//! unix: the tcp cases over a Unix domain socket.

use super::Table;
use std::os::unix::net::UnixListener;
use std::path::Path;
use tokio::io::AsyncWriteExt as _;

fn serve(path: &Path, banner: &'static [u8]) {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(banner).await;
        }
    });
}

pub fn add(table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    serve(&folder.path().join("greeting"), b"hello\n");
    serve(&folder.path().join("other"), b"bye\n");
    std::fs::write(folder.path().join("file"), "no socket").unwrap();
    let targets = [
        ("greeting", place("greeting")),
        ("other", place("other")),
        ("file", place("file")),
        ("missing", place("missing")),
    ];
    table.cross(
        "unix",
        &[
            ("connect", ""),
            ("expect", "query_response: [{expect: '^hello$'}]"),
            ("bytes", "query_response: [{expect_bytes: 'hel'}]"),
        ],
        &targets,
    );
    table.keep(folder);
}
