//! grpc: a health service from a Debian package, with and without TLS.

use super::Table;
use crate::support::health::debians;
use crate::support::peer::{Peer, ok};
use crate::support::process::free_port;

pub async fn add(table: &mut Table) {
    let (server, port) = debians(None).await;
    let (secured, secured_port) = debians(Some(table.authority.files("127.0.0.1"))).await;
    let http = Peer::start(ok).await;
    let trust = table.trust();
    let ip4 = "preferred_ip_protocol: ip4";
    let targets = [
        ("plain", format!("127.0.0.1:{port}")),
        ("secured", format!("127.0.0.1:{secured_port}")),
        ("with_scheme", format!("http://127.0.0.1:{port}")),
        ("by_name", format!("four.test:{port}")),
        ("http1", http.address.to_string()),
        ("refused", format!("127.0.0.1:{}", free_port())),
        ("unknown", format!("unknown.test:{port}")),
    ];
    let of = |service: &str| format!("{ip4}, service: {service}");
    let tls = format!("{ip4}, tls: true, tls_config: {{{trust}}}");
    let skip = format!("{ip4}, tls: true, tls_config: {{insecure_skip_verify: true}}");
    let metadata = format!("{ip4}, service: meta, metadata: {{x-key: [secret]}}");
    table.cross(
        "grpc",
        &[
            ("all", ip4),
            ("good", &of("good")),
            ("bad", &of("bad")),
            ("nobody", &of("nobody")),
            ("metadata", &metadata),
            ("tls", &tls),
            ("tls_skip", &skip),
        ],
        &targets,
    );
    table.keep((server, secured, http));
}
