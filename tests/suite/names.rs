//! The name service of the host: hosts file and search list.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use std::net::IpAddr;
use std::process::Command;

const MODULES: &str = "modules: {m: {prober: http, http: {preferred_ip_protocol: ip4}}}";

#[tokio::test]
async fn a_name_of_the_hosts_file_needs_no_name_server() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start(MODULES).await;
    let probed = exporter
        .probe("m", &format!("http://localhost:{}/", peer.address.port()))
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_ip_protocol"), 4.0);
}

/// Uses a mount namespace, so that the host's files do not change. Requires root.
#[tokio::test(flavor = "multi_thread")]
async fn the_systems_name_server_and_search_list_are_used() {
    let peer = Peer::start(ok).await;
    let server = "127.0.53.53:53".parse().unwrap();
    let _dns = DnsServer::start_at(server, |name, _| match name {
        "web.search.test" => Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])]),
        _ => Says::Code(hickory_proto::op::ResponseCode::NXDomain),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 127.0.53.53\nsearch search.test\n").unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" check \"$3\"";
    let target = format!("http://web:{}/", peer.address.port());
    let output = tokio::task::spawn_blocking(move || {
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(resolv_conf)
            .args([env!("CARGO_BIN_EXE_glassbox_exporter"), &target])
            .current_dir(folder.path())
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    let drawn = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{drawn}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(drawn.contains("OK in"), "{drawn}");
}
