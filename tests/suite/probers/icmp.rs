//! The icmp prober with replies of the local kernel.

use crate::support::exporter::Exporter;
use serde_json::Value;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

const MODULES: &str = "modules:
  ping: {prober: icmp, icmp: {preferred_ip_protocol: ip4}}
  large: {prober: icmp, icmp: {preferred_ip_protocol: ip4, payload_size: 2000, dont_fragment: true}}
";

/// The evidence of a probe in a network namespace, after these shell commands. Requires root.
fn in_a_network_of_its_own(setup: &str, module: &str, target: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("glassbox.yml");
    std::fs::write(&config, MODULES).unwrap();
    let line = format!(
        "{setup} {PROGRAM} check --config.file={} --module={module} --timeout=1 --json {target}",
        config.display()
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &line])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn each_echo_request_failure_has_its_reason() {
    let up = "ip link set lo up;";
    // The kernel is configured not to reply.
    let deaf = "ip link set lo up; echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all;";
    let narrow = "ip link set lo mtu 1000 up;";
    // Neither ping sockets nor raw sockets are permitted.
    let powerless =
        "ip link set lo up; setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    for (setup, module, target, reason, link) in [
        (deaf, "ping", "127.0.0.1", "icmp.timed_out", "network"),
        (narrow, "large", "127.0.0.1", "icmp.too_big", "network"),
        (up, "ping", "192.0.2.1", "local.no_route", "local"),
        (powerless, "ping", "127.0.0.1", "local.not_permitted", "local"),
    ] {
        let evidence = in_a_network_of_its_own(setup, module, target);
        let verdict = &evidence["verdict"];
        assert_eq!(
            (&verdict["reason"], &verdict["link"]),
            (&reason.into(), &link.into()),
            "{evidence:#}"
        );
    }
}

/// A group within `net.ipv4.ping_group_range` needs no capability.
#[test]
fn a_ping_socket_needs_no_capability() {
    let setup = "ip link set lo up; echo '65534 65534' > /proc/sys/net/ipv4/ping_group_range; \
                 setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    let evidence = in_a_network_of_its_own(setup, "ping", "127.0.0.1");
    assert_eq!(evidence["success"], true, "{evidence:#}");
}

#[tokio::test]
async fn the_kernel_replies_over_both_families() {
    let exporter = Exporter::start(
        "modules:
  four: {prober: icmp, icmp: {preferred_ip_protocol: ip4, ttl: 7}}
  six: {prober: icmp, icmp: {preferred_ip_protocol: ip6}}
  large: {prober: icmp, icmp: {preferred_ip_protocol: ip4, payload_size: 9000, dont_fragment: true}}
  from: {prober: icmp, icmp: {preferred_ip_protocol: ip4, source_ip_address: 127.0.0.7}}",
    )
    .await;
    for (module, target, family) in [
        ("four", "127.0.0.1", 4.0),
        ("six", "::1", 6.0),
        ("six", "[::1]", 6.0),
        ("large", "127.0.0.1", 4.0),
        ("from", "127.0.0.1", 4.0),
    ] {
        let probed = exporter.probe(module, target).await;
        let page = &probed.page;
        assert_eq!(page.value("probe_success"), 1.0, "{module}: {:#}", probed.evidence);
        assert_eq!(page.value("probe_ip_protocol"), family);
        assert_eq!(page.value("probe_icmp_reply_hop_limit"), 64.0, "{module}");
        assert!(page.value("probe_icmp_duration_seconds{phase=\"rtt\"}") > 0.0);
        let timings: Vec<_> = probed.timings().into_iter().map(|timing| timing.0).collect();
        assert_eq!(timings, ["resolve", "request", "processing"], "{module}");
    }
}

#[tokio::test]
async fn concurrent_probes_get_their_own_replies() {
    let exporter = Exporter::start("modules: {ping: {prober: icmp, icmp: {preferred_ip_protocol: ip4}}}").await;
    let probes = (1..=50).map(|host| {
        let exporter = &exporter;
        async move {
            exporter
                .probe("ping", &format!("127.0.0.{host}"))
                .await
                .page
                .value("probe_success")
        }
    });
    let all = futures_util::future::join_all(probes).await;
    assert!(all.iter().all(|success| *success == 1.0), "{all:?}");
}
