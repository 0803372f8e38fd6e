//! R10: corpora of malformed and hostile input from other projects cause no panic or hang, and their verdicts do not
//! change.

use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::wires::{Stranger, WIRES};
use crate::table::{Figure, Table};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::ring};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Number of inputs by corpus and reason. `UPDATE_VERDICTS=1` updates the file.
const VERDICTS: &str = "tests/reliability/verdicts.txt";

/// Corpora whose inputs are sent unchanged: the file, and the kind of the remote end.
const SAID: [(&str, &str); 3] = [
    ("http_responses.json", "http"),
    ("tls_server_flights.json", "tls"),
    ("dns_messages.json", "dns"),
];

pub async fn run(table: &mut Table) {
    let Some(folder) = std::env::var_os("CORPORA").map(PathBuf::from) else {
        table.not_run(
            "R10",
            "corpora of malformed input: the environment variable CORPORA is not set to a folder",
        );
        return;
    };
    let mut verdicts = String::new();
    let mut inputs = 0;
    for (file, kind) in SAID {
        let wire = WIRES.iter().find(|wire| wire.name == kind).unwrap();
        let stranger = Stranger::start(wire).await;
        let mut reasons = BTreeMap::new();
        for bytes in corpus(&folder, file) {
            *reasons.entry(stranger.feed(&bytes).await).or_insert(0) += 1;
        }
        assert!(stranger.panics().await < 1.0, "{file}");
        inputs += told(file, &reasons, &mut verdicts);
    }
    inputs += certificates(&folder, &mut verdicts).await;
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join(VERDICTS);
    if std::env::var_os("UPDATE_VERDICTS").is_some() {
        std::fs::write(&known, &verdicts).unwrap();
    }
    let before =
        std::fs::read_to_string(known).expect("cannot read the recorded verdicts; UPDATE_VERDICTS=1 creates them");
    let drifted = verdicts
        .lines()
        .filter(|line| !before.lines().any(|known| known == *line));
    let drifted: Vec<_> = drifted.inspect(|line| println!("  new: {line}")).collect();
    table.figure(Figure {
        id: "R10",
        what: format!("{inputs} inputs of corpora, without a panic or a hang: changed counts of verdicts"),
        ours: drifted.len() as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// The bytes of each entry: a string of hexadecimal digits, or a list that starts with one.
fn corpus(folder: &Path, file: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let entries: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let hex = |entry: &Value| entry.as_str().or_else(|| entry[0].as_str()).map(str::to_owned);
    entries.values().map(|entry| bytes(&hex(entry).unwrap())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// Records the number of inputs for each reason. Returns the total.
fn told(file: &str, reasons: &BTreeMap<String, usize>, verdicts: &mut String) -> usize {
    for (reason, count) in reasons {
        let reason = if reason.is_empty() { "success" } else { reason };
        // Writing to a `String` cannot fail.
        let _ = writeln!(verdicts, "{file} {reason} {count}");
    }
    let all = reasons.values().sum();
    println!("  {file}: {all} inputs, {} reasons", reasons.len());
    all
}

/// Presents any chain, even if the key does not match.
#[derive(Debug)]
struct Shows(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().unwrap().clone())
    }
}

/// Malformed certificates, and chains to verify. A TLS server presents each of them.
async fn certificates(folder: &Path, verdicts: &mut String) -> usize {
    let leaf = Authority::new().leaf("127.0.0.1");
    let key = ring::sign::any_supported_type(&leaf.key).unwrap();
    let shows = Arc::new(Shows(Mutex::new(Arc::new(CertifiedKey::new(leaf.chain, key.clone())))));
    let server = ServerConfig::builder().with_no_client_auth();
    let peer = Peer::with_tls(Arc::new(server.with_cert_resolver(shows.clone())), ok).await;
    let exporter = Exporter::start(
        "modules:
  any: {prober: tcp, timeout: 20s, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  verified: {prober: tcp, timeout: 20s, tcp: {tls: true}}
",
    )
    .await;
    let mut inputs = 0;
    let odd = corpus(folder, "cert_der_fuzz.json").into_iter().map(|der| vec![der]);
    for (file, chains) in [("cert_der_fuzz.json", odd.collect()), ("limbo.json", limbo(folder))] {
        let mut reasons = BTreeMap::new();
        for chain in chains {
            let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
            *shows.0.lock().unwrap() = Arc::new(CertifiedKey::new(chain, key.clone()));
            for module in ["any", "verified"] {
                let path = format!("/probe?module={module}&target={}", peer.address);
                let answer = exporter.get(&path).await;
                assert_eq!(answer.status(), 200);
                let page = Page::parse(&answer.text().await.unwrap());
                let took = page.value("probe_duration_seconds");
                assert!(took < page.value("probe_timeout_seconds"), "{file}: the probe hung");
                let info = page.starting("probe_failure_info").next();
                let reason = info.and_then(|(info, _)| info.split("reason=\"").nth(1)?.split('"').next());
                *reasons.entry(reason.unwrap_or_default().to_owned()).or_insert(0) += 1;
            }
        }
        inputs += told(file, &reasons, verdicts);
    }
    assert!(exporter.own("glassbox_panics_total").await < 1.0);
    inputs
}

/// The chains of the cases: the leaf and the intermediate certificates.
fn limbo(folder: &Path) -> Vec<Vec<Vec<u8>>> {
    let text = std::fs::read_to_string(folder.join("limbo.json")).unwrap();
    let limbo: Value = serde_json::from_str(&text).unwrap();
    let chain = |case: &Value| {
        let between = case["untrusted_intermediates"].as_array().unwrap();
        let all = std::iter::once(&case["peer_certificate"]).chain(between);
        all.map(|pem| der(pem.as_str().unwrap())).collect()
    };
    limbo["testcases"].as_array().unwrap().iter().map(chain).collect()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
