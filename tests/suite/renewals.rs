//! Replaced files of certificates, keys and CAs are used without a reload.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Copies files into a new folder and points the symlink `data` to it, as Kubernetes does for a mounted secret.
fn mount(folder: &Path, version: &str, files: &[(&str, &Path)]) {
    let data = folder.join(version);
    fs::create_dir(&data).unwrap();
    for (name, from) in files {
        fs::copy(from, data.join(name)).unwrap();
    }
    symlink(version, folder.join("data.new")).unwrap();
    fs::rename(folder.join("data.new"), folder.join("data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_ca_is_trusted() {
    let (old, new) = (Authority::named("Old"), Authority::named("New"));
    let peer = Peer::with_tls(new.leaf("127.0.0.1").server(&[]), ok).await;
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "1", &[("ca.pem", &old.ca_file)]);
    let ca_file = folder.path().join("data/ca.pem");
    let config = format!(
        "modules: {{m: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}}}",
        ca_file.display()
    );
    let exporter = Exporter::start(&config).await;
    let target = format!("https://{}/", peer.address);
    let outcome = async || exporter.probe("m", &target).await.outcome();
    assert_eq!(outcome().await, "tls/tls.cert.authority_invalid");
    mount(folder.path(), "2", &[("ca.pem", &new.ca_file)]);
    eventually("the new CA is used", async || outcome().await == "success").await;
    // An invalid or missing version changes nothing.
    let broken = folder.path().join("broken");
    fs::write(&broken, "not a certificate").unwrap();
    mount(folder.path(), "3", &[("ca.pem", &broken)]);
    fs::remove_file(&ca_file).unwrap();
    mount(folder.path(), "4", &[("ca.pem", &old.ca_file)]);
    eventually("the old CA is used again", async || {
        let outcome = outcome().await;
        assert!(
            ["success", "tls/tls.cert.authority_invalid"].contains(&outcome.as_str()),
            "{outcome}"
        );
        outcome != "success"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_renewed_with_its_key() {
    let (authority, stranger) = (Authority::named("Ours"), Authority::named("Stranger"));
    let server = authority.leaf("127.0.0.1").server_for_clients_of(&authority);
    let peer = Peer::with_tls(server, ok).await;
    let folder = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let config = format!(
        "modules: {{m: {{prober: http, http: {{tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}}}}}}}",
        authority.ca_file.display(),
        cert_file.display(),
        key_file.display()
    );
    // Both files are still missing, as with a secret that is mounted later.
    let exporter = Exporter::start(&config).await;
    let target = format!("https://{}/", peer.address);
    let outcome = async || exporter.probe("m", &target).await.outcome();
    assert_eq!(outcome().await, "local/local.file_unreadable");
    let replace = |from: (std::path::PathBuf, std::path::PathBuf)| {
        fs::copy(from.0, &cert_file).unwrap();
        fs::copy(from.1, &key_file).unwrap();
    };
    replace(stranger.files("client"));
    eventually("the files", async || outcome().await == "tls/tls.client_cert").await;
    replace(authority.files("client"));
    eventually("the renewed certificate is used", async || outcome().await == "success").await;
    // The certificate is replaced before its key. The old pair stays in use until both match.
    let (cert, key) = authority.files("client");
    fs::copy(cert, &cert_file).unwrap();
    for _ in 0..3 {
        assert_eq!(outcome().await, "success");
    }
    fs::copy(key, &key_file).unwrap();
    assert_eq!(outcome().await, "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_ca_is_trusted_despite_an_unusable_client_certificate() {
    let (old, new) = (Authority::named("Old"), Authority::named("New"));
    let peer = Peer::with_tls(new.leaf("127.0.0.1").server(&[]), ok).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (cert, key) = old.files("client");
    for (from, name) in [(&old.ca_file, "ca.pem"), (&cert, "cert.pem"), (&key, "key.pem")] {
        fs::copy(from, file(name)).unwrap();
    }
    let config = format!(
        "modules: {{m: {{prober: http, http: {{tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}}}}}}}",
        file("ca.pem").display(),
        file("cert.pem").display(),
        file("key.pem").display()
    );
    let exporter = Exporter::start(&config).await;
    let target = format!("https://{}/", peer.address);
    let outcome = async || exporter.probe("m", &target).await.outcome();
    assert_eq!(outcome().await, "tls/tls.cert.authority_invalid");
    let (_, other_key) = new.files("client");
    fs::copy(other_key, file("key.pem")).unwrap();
    fs::copy(&new.ca_file, file("ca.pem")).unwrap();
    eventually("the new authority", async || outcome().await == "success").await;
}
