//! Old and new servers: TLS versions, cipher suites and groups, probed by modules for all TLS versions.

use super::Table;
use crate::support::old_tls::{OldTls, SERVERS};

const VERSIONS: [(&str, &str); 9] = [
    ("any", ""),
    ("from10", ", min_version: TLS10"),
    ("from11", ", min_version: TLS11"),
    ("from13", ", min_version: TLS13"),
    ("only10", ", min_version: TLS10, max_version: TLS10"),
    ("to11", ", min_version: TLS10, max_version: TLS11"),
    ("to12", ", max_version: TLS12"),
    // The default min_version excludes TLS 1.0, so no version is left.
    ("no10", ", max_version: TLS10"),
    ("no11", ", max_version: TLS11"),
];

pub async fn add(table: &mut Table) {
    let old = OldTls::start(&table.authority).await;
    let skipping =
        |versions: &str| format!("preferred_ip_protocol: ip4, tls_config: {{insecure_skip_verify: true{versions}}}");
    let mut http: Vec<(String, String)> = Vec::new();
    let mut tcp = Vec::new();
    for (name, versions) in VERSIONS {
        http.push((format!("old_{name}"), skipping(versions)));
        tcp.push((format!("old_{name}"), format!("tls: true, {}", skipping(versions))));
    }
    let trust = table.trust();
    http.push((
        "old_trusting".to_owned(),
        format!("preferred_ip_protocol: ip4, tls_config: {{{trust}, min_version: TLS10}}"),
    ));
    http.push((
        "old_http1".to_owned(),
        format!("enable_http2: false, {}", skipping(", min_version: TLS10")),
    ));
    let urls: Vec<_> = SERVERS.iter().map(|row| (row.0, old.url(row.0))).collect();
    let addresses: Vec<_> = SERVERS
        .iter()
        .map(|row| (row.0, format!("127.0.0.1:{}", old.port(row.0))))
        .collect();
    for (prober, modules, targets) in [("http", http, urls), ("tcp", tcp, addresses)] {
        let modules: Vec<_> = modules
            .iter()
            .map(|(name, keys)| (name.as_str(), keys.as_str()))
            .collect();
        table.cross(prober, &modules, &targets);
    }
    table.keep(old);
}
