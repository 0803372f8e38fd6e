//! Networks without a route to the target: a missing route on the exporter's host is `local`, an error from a router is
//! `network`. Requires root.

use serde_json::Value;
use std::fmt::Write as _;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

const MODULES: &str = "modules:
  tcp: {prober: tcp}
  named: {prober: http, resolver: ['192.0.2.53:53'], http: {preferred_ip_protocol: ip4}}
  http3: {prober: http, http: {enable_http3: true, enable_http2: false}}
  ping: {prober: icmp, icmp: {preferred_ip_protocol: ip4}}
  dns: {prober: dns, dns: {query_name: a.test}}
  grpc: {prober: grpc, grpc: {}}
  websocket: {prober: websocket}
";

/// Only loopback.
const ALONE: &str = "ip link set lo up";

/// A configured interface that is down.
const DOWN: &str = "
    ip link set lo up; ip link add near type veth peer name far; ip address add 10.9.0.2/24 dev near
    ip link set near up; ip link set far up; ip route add default via 10.9.0.1; ip link set near down";

/// A network with a link and no router.
const NO_DEFAULT: &str = "
    ip link set lo up; ip link add near type veth peer name far; ip address add 10.9.0.2/24 dev near
    ip link set near up; ip link set far up";

/// A router without a route, or with a prohibited one, which sends ICMP "net unreachable" or "prohibited".
const ROUTED: &str = "
    unshare --net sleep 60 & router=$!
    while [ $(readlink /proc/$router/ns/net) = $(readlink /proc/$$/ns/net) ]; do :; done
    ip link set lo up; ip link add near type veth peer name far; ip link set far netns $router
    ip address add 10.9.0.2/24 dev near; ip link set near up
    nsenter --net=/proc/$router/ns/net sh -c 'ip address add 10.9.0.1/24 dev far; ip link set far up; ip link set lo up
        ip route add prohibit 192.0.2.0/24; echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
        echo 1 > /proc/sys/net/ipv4/ip_forward'
    ip route add default via 10.9.0.1";

/// The evidence of each probe in a network namespace with this setup.
fn probed(setup: &str, probes: &[(&str, &str)]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("glassbox.yml");
    std::fs::write(&config, MODULES).unwrap();
    let mut line = format!("router=; {setup}\n");
    for (number, (module, target)) in probes.iter().enumerate() {
        writeln!(
            line,
            "{PROGRAM} check --config.file={} --module={module} --timeout=3 --json '{target}' > {number}.json",
            config.display()
        )
        .unwrap();
    }
    line += "[ -z \"$router\" ] || kill $router\n";
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &line])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let read = |number: usize| {
        let text = std::fs::read(folder.path().join(format!("{number}.json"))).unwrap();
        serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    (0..probes.len()).map(read).collect()
}

#[track_caller]
fn each_is(setup: &str, rows: &[(&str, &str, &str, &str)]) {
    let probes: Vec<_> = rows.iter().map(|(module, target, ..)| (*module, *target)).collect();
    for ((module, target, reason, link), evidence) in rows.iter().zip(probed(setup, &probes)) {
        let verdict = &evidence["verdict"];
        assert_eq!(
            (&verdict["reason"], &verdict["link"]),
            (&(*reason).into(), &(*link).into()),
            "{setup}: {module} {target}: {evidence:#}"
        );
    }
}

#[test]
fn a_missing_route_or_interface_is_a_local_fault() {
    const NO_ROUTE: (&str, &str) = ("local.no_route", "local");
    let everywhere = |module, target| (module, target, NO_ROUTE.0, NO_ROUTE.1);
    let rows = [
        everywhere("tcp", "192.0.2.1:80"),
        everywhere("tcp", "[2001:db8::1]:80"),
        everywhere("http3", "https://192.0.2.1/"),
        everywhere("ping", "192.0.2.1"),
        everywhere("dns", "192.0.2.1"),
        everywhere("grpc", "192.0.2.1:80"),
        everywhere("websocket", "ws://192.0.2.1/"),
        ("named", "http://a.test/", "local.resolver_unreachable", "local"),
        // A local address is reachable without a network.
        ("tcp", "127.0.0.1:9", "tcp.refused", "edge"),
        // The kernel rejects TCP to a broadcast address, whatever the routes.
        ("tcp", "127.255.255.255:9", "tcp.address_unreachable", "network"),
    ];
    for setup in [ALONE, DOWN, NO_DEFAULT] {
        each_is(setup, &rows);
    }
}

/// The opposite case: this host has a route, and a router reports the error.
#[test]
fn an_error_from_a_router_is_a_network_fault() {
    each_is(
        ROUTED,
        &[
            ("tcp", "192.0.2.1:80", "tcp.address_unreachable", "network"),
            ("tcp", "198.51.100.1:80", "tcp.address_unreachable", "network"),
            // The kernel reports only permanent ICMP errors to a datagram socket.
            ("dns", "198.51.100.1", "dns.timed_out", "network"),
            ("http3", "https://192.0.2.1/", "tcp.address_unreachable", "network"),
            ("ping", "192.0.2.1", "icmp.unreachable", "network"),
            ("dns", "192.0.2.1", "tcp.address_unreachable", "network"),
            ("tcp", "10.9.0.1:9", "tcp.refused", "edge"),
        ],
    );
}
