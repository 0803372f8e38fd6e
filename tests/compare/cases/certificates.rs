//! Certificates: types of keys, signatures, chains and names, with and without verification.

use super::Table;
use crate::support::chains::Chains;

pub async fn add(table: &mut Table) {
    let chains = Chains::start().await;
    let trust = format!("ca_file: {}", chains.ca_file.display());
    for (module, tls) in [("tls_chain", &*trust), ("tls_any", "insecure_skip_verify: true")] {
        table.module(
            "http",
            module,
            &format!("preferred_ip_protocol: ip4, tls_config: {{{tls}}}"),
        );
        for chain in &chains.all {
            table.case("http", module, (&chain.name, &chains.url(&chain.name)));
        }
    }
    table.keep(chains);
}
