//! Certificates for one test: a CA, and valid or invalid leaf certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A CA, and a folder with its certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: CertificateDer<'static>,
    pub ca_file: PathBuf,
    folder: TempDir,
}

/// A certificate with its key.
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("Test Authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, certificate.pem()).unwrap();
        Self {
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            ca_file,
            folder,
        }
    }

    /// A valid certificate for a name or address.
    pub fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, |_| ())
    }

    /// A certificate that differs from a valid one.
    pub fn leaf_with(&self, name: &str, differ: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = for_name(name);
        differ(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// An expired certificate.
    pub fn expired(&self, name: &str) -> Leaf {
        self.leaf_with(name, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// Certificate and key as PEM files for a real server.
    pub fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = for_name(name).signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }
}

/// A self-signed certificate.
pub fn self_signed(name: &str) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let certificate = for_name(name).self_signed(&key).unwrap();
    Leaf {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

impl Leaf {
    /// A server that presents the certificate.
    pub fn server(self, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut config = builder()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Certificate and key as PEM files in a folder, with this file name.
    pub fn files(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let write = |ending: &str, label: &str, der: &[u8]| {
            let path = folder.join(format!("{name}.{ending}"));
            let text = STANDARD.encode(der);
            std::fs::write(
                &path,
                format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"),
            )
            .unwrap();
            path
        };
        (
            write("pem", "CERTIFICATE", &self.chain[0]),
            write("key", "PRIVATE KEY", self.key.secret_der()),
        )
    }

    /// A server that presents the certificate and requires a client certificate of the CA.
    pub fn server_for_clients_of(self, authority: &Authority) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let config = builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key);
        Arc::new(config.unwrap())
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn for_name(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.subject_alt_names = vec![match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }];
    params
}
