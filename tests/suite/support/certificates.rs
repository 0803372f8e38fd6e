//! Certificates of every kind, built byte by byte, and servers that present them.
//!
//! Certificate libraries do not generate everything that real servers have: X.509 v1, 512-bit RSA keys, unusual
//! extensions, wrong signatures. Therefore this module writes the DER itself. openssl generates the keys and
//! signatures, and nginx presents the certificates.

use super::process::{Process, eventually, free_port};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::net::TcpStream;

const NGINX: &str = "/usr/sbin/nginx";

/// A DER element.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut out = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => out.push(u8::try_from(short).unwrap()),
        long => {
            let bytes = long.to_be_bytes();
            let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..];
            out.push(0x80 | u8::try_from(significant.len()).unwrap());
            out.extend(significant);
        }
    }
    out.extend(contents);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut contents = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        // Seven bits per byte. All bytes except the last one have the high bit set.
        let length = (u64::BITS - arc.leading_zeros()).div_ceil(7).max(1);
        for place in (0..length).rev() {
            let bits = u8::try_from((arc >> (7 * place)) & 0x7f).unwrap();
            contents.push(if place == 0 { bits } else { bits | 0x80 });
        }
    }
    element(6, &[&contents])
}

/// An attribute of a name: object identifier of the type, tag of the value, value.
pub type Attribute<'a> = (&'a str, u8, &'a [u8]);

/// A distinguished name. Each part has one or more attributes.
pub fn name(parts: &[&[Attribute<'_>]]) -> Vec<u8> {
    let part = |attributes: &&[Attribute<'_>]| {
        let attributes = attributes
            .iter()
            .map(|(number, tag, value)| sequence(&[&oid(number), &element(*tag, &[value])]));
        element(0x31, &[&attributes.collect::<Vec<_>>().concat()])
    };
    sequence(&[&parts.iter().map(part).collect::<Vec<_>>().concat()])
}

/// A distinguished name with only a common name.
pub fn common_name(text: &str) -> Vec<u8> {
    name(&[&[("2.5.4.3", 0x0c, text.as_bytes())]])
}

pub fn extension(number: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&oid(number), critical, &element(4, &[value])])
}

pub fn basic_constraints(authority: bool, path_length: Option<u8>) -> Vec<u8> {
    let authority: &[u8] = if authority { &[1, 1, 0xff] } else { &[] };
    let length = path_length.map(|length| element(2, &[&[length]])).unwrap_or_default();
    extension("2.5.29.19", true, &sequence(&[authority, &length]))
}

pub fn alternative_names(names: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|name| element(0x82, &[name.as_bytes()]))
        .collect();
    extension(
        "2.5.29.17",
        false,
        &sequence(&[&names, &element(0x87, &[&[127, 0, 0, 1]])]),
    )
}

pub fn extended_key_usage(numbers: &[&str]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| oid(number)).collect();
    extension("2.5.29.37", false, &sequence(&[&numbers]))
}

/// Name constraints with permitted and excluded DNS names.
pub fn name_constraints(permitted: &[&str], excluded: &[&str]) -> Vec<u8> {
    let subtrees = |tag: u8, names: &[&str]| {
        let names: Vec<u8> = names
            .iter()
            .flat_map(|name| sequence(&[&element(0x82, &[name.as_bytes()])]))
            .collect();
        if names.is_empty() {
            names
        } else {
            element(tag, &[&names])
        }
    };
    let value = sequence(&[&subtrees(0xa0, permitted), &subtrees(0xa1, excluded)]);
    extension("2.5.29.30", true, &value)
}

/// Signature algorithm of a CA.
#[derive(Clone, Copy, Debug)]
pub enum Signature {
    /// ECDSA with a hash such as `sha256`.
    Ecdsa(&'static str),
    Pkcs1(&'static str),
    /// PKCS #1 without the parameters field.
    Pkcs1WithoutParameters(&'static str),
    Pss(&'static str),
    Ed25519,
}

impl Signature {
    fn identifier(self) -> Vec<u8> {
        const NULL: &[u8] = &[5, 0];
        let ecdsa = |hash| match hash {
            "sha1" => "1.2.840.10045.4.1",
            "sha256" => "1.2.840.10045.4.3.2",
            "sha384" => "1.2.840.10045.4.3.3",
            _ => "1.2.840.10045.4.3.4",
        };
        let pkcs1 = |hash| match hash {
            "sha1" => "1.2.840.113549.1.1.5",
            "sha256" => "1.2.840.113549.1.1.11",
            "sha384" => "1.2.840.113549.1.1.12",
            _ => "1.2.840.113549.1.1.13",
        };
        match self {
            Self::Ecdsa(hash) => sequence(&[&oid(ecdsa(hash))]),
            Self::Pkcs1(hash) => sequence(&[&oid(pkcs1(hash)), NULL]),
            Self::Pkcs1WithoutParameters(hash) => sequence(&[&oid(pkcs1(hash))]),
            Self::Ed25519 => sequence(&[&oid("1.3.101.112")]),
            Self::Pss(hash) => {
                let (number, length) = match hash {
                    "sha256" => ("2.16.840.1.101.3.4.2.1", 32),
                    "sha384" => ("2.16.840.1.101.3.4.2.2", 48),
                    _ => ("2.16.840.1.101.3.4.2.3", 64),
                };
                let hash = sequence(&[&oid(number), NULL]);
                let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash]);
                let salt = element(2, &[&[length]]);
                let parts = [
                    element(0xa0, &[&hash]),
                    element(0xa1, &[&mask]),
                    element(0xa2, &[&salt]),
                ];
                sequence(&[&oid("1.2.840.113549.1.1.10"), &sequence(&[&parts.concat()])])
            }
        }
    }
}

/// A key pair.
#[derive(Clone, Debug)]
pub struct Key {
    pub file: PathBuf,
    public: Vec<u8>,
}

/// A CA with its key and signature algorithm.
#[derive(Clone, Debug)]
pub struct Signer {
    pub name: Vec<u8>,
    pub key: Key,
    pub signature: Signature,
}

impl Signer {
    pub fn new(common: &str, key: &Key, signature: Signature) -> Self {
        Self {
            name: common_name(common),
            key: key.clone(),
            signature,
        }
    }

    /// The same CA with another signature algorithm.
    pub fn with(&self, signature: Signature) -> Self {
        Self {
            signature,
            ..self.clone()
        }
    }
}

/// Contents of a certificate.
#[derive(Clone, Debug)]
pub struct Contents {
    pub subject: Vec<u8>,
    pub version: u8,
    pub serial: Option<Vec<u8>>,
    /// Start and end of the validity, as `UTCTime`.
    pub dates: (&'static str, &'static str),
    pub extensions: Vec<Vec<u8>>,
    /// Whether to flip a bit of the signature.
    pub forged: bool,
}

/// Valid now.
pub const VALID: (&str, &str) = ("200101000000Z", "491231235959Z");
/// Expired.
pub const EXPIRED: (&str, &str) = ("010101000000Z", "020101000000Z");
/// Not yet valid.
pub const NOT_YET: (&str, &str) = ("481231235959Z", "491231235959Z");

impl Contents {
    /// A valid server certificate for `localhost`.
    pub fn server() -> Self {
        Self::of(
            "localhost",
            vec![basic_constraints(false, None), alternative_names(&["localhost"])],
        )
    }

    /// A valid CA certificate.
    pub fn authority(common: &str) -> Self {
        Self::of(common, vec![basic_constraints(true, None)])
    }

    pub fn of(common: &str, extensions: Vec<Vec<u8>>) -> Self {
        Self {
            subject: common_name(common),
            version: 3,
            serial: None,
            dates: VALID,
            extensions,
            forged: false,
        }
    }

    /// Adds an extension.
    pub fn and(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub fn dated(mut self, dates: (&'static str, &'static str)) -> Self {
        self.dates = dates;
        self
    }

    pub fn forged(mut self) -> Self {
        self.forged = true;
        self
    }
}

/// Generates keys and certificates in a folder.
pub struct Maker {
    folder: TempDir,
    serial: AtomicU32,
}

fn output(command: &mut Command) -> Vec<u8> {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `make deps` installs it"));
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}

impl Maker {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            serial: AtomicU32::new(0x1000_0000),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Generates a key: a curve such as `P-256`, a length such as `RSA 2048`, or another algorithm of openssl.
    pub fn key(&self, kind: &str) -> Key {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let file = self.path().join(format!("{number}.key"));
        let mut command = Command::new("openssl");
        command.args(["genpkey", "-quiet", "-out"]).arg(&file).arg("-algorithm");
        match kind.split_once(' ') {
            Some((algorithm, bits)) => command.args([algorithm, "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]),
            None if kind.starts_with("P-") => command.args(["EC", "-pkeyopt", &format!("ec_paramgen_curve:{kind}")]),
            None => command.arg(kind),
        };
        output(&mut command);
        let public = output(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-outform", "DER", "-in"])
                .arg(&file),
        );
        Key { file, public }
    }

    /// Signs a certificate.
    pub fn certificate(&self, contents: &Contents, key: &Key, signer: &Signer) -> Vec<u8> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let serial = contents.serial.clone().unwrap_or_else(|| element(2, &[&serial]));
        let version = element(2, &[&[contents.version - 1]]);
        let version = if contents.version > 1 {
            element(0xa0, &[&version])
        } else {
            Vec::new()
        };
        let extensions = sequence(&[&contents.extensions.concat()]);
        let extensions = if contents.extensions.is_empty() {
            Vec::new()
        } else {
            element(0xa3, &[&extensions])
        };
        let (from, until) = contents.dates;
        let dates = sequence(&[&element(0x17, &[from.as_bytes()]), &element(0x17, &[until.as_bytes()])]);
        let identifier = signer.signature.identifier();
        let parts = [
            version,
            serial,
            identifier.clone(),
            signer.name.clone(),
            dates,
            contents.subject.clone(),
            key.public.clone(),
            extensions,
        ];
        let tbs = sequence(&[&parts.concat()]);
        let mut signature = self.sign(&tbs, signer);
        if contents.forged {
            *signature.last_mut().unwrap() ^= 1;
        }
        sequence(&[&tbs, &identifier, &element(3, &[&[0], &signature])])
    }

    fn sign(&self, tbs: &[u8], signer: &Signer) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new_in(self.path()).unwrap();
        file.write_all(tbs).unwrap();
        let mut command = Command::new("openssl");
        let hash = match signer.signature {
            Signature::Ed25519 => {
                command
                    .args(["pkeyutl", "-sign", "-rawin", "-inkey"])
                    .arg(&signer.key.file)
                    .arg("-in");
                return output(command.arg(file.path()));
            }
            Signature::Ecdsa(hash)
            | Signature::Pkcs1(hash)
            | Signature::Pkcs1WithoutParameters(hash)
            | Signature::Pss(hash) => hash,
        };
        command
            .args(["dgst", &format!("-{hash}"), "-sign"])
            .arg(&signer.key.file);
        if matches!(signer.signature, Signature::Pss(_)) {
            command.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]);
        }
        output(command.arg(file.path()))
    }
}

/// Certificates in PEM format.
pub fn pem(certificates: &[Vec<u8>]) -> String {
    use base64::Engine as _;
    let mut out = String::new();
    for der in certificates {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        writeln!(out, "-----BEGIN CERTIFICATE-----").unwrap();
        for line in text.as_bytes().chunks(64) {
            writeln!(out, "{}", std::str::from_utf8(line).unwrap()).unwrap();
        }
        writeln!(out, "-----END CERTIFICATE-----").unwrap();
    }
    out
}

/// A server and the certificates that it presents.
pub struct Shown {
    pub name: String,
    pub chain: Vec<Vec<u8>>,
    pub key: Key,
    /// Additional directives of nginx.
    pub settings: String,
}

/// An nginx with one server for each chain. It is stopped on drop.
pub struct Nginx {
    ports: BTreeMap<String, u16>,
    process: Process,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx with TLS 1.2 and 1.3 and every cipher and key size of OpenSSL.
    pub async fn start(shown: &[Shown]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             events { worker_connections 1024; }\n\
             http {\n\
             access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi; ssl_ciphers ALL:@SECLEVEL=0; ssl_protocols TLSv1.2 TLSv1.3;\n"
            .to_owned();
        let mut ports = BTreeMap::new();
        for (number, one) in shown.iter().enumerate() {
            let (port, file) = (free_port(), folder.path().join(format!("{number}.pem")));
            std::fs::write(&file, pem(&one.chain)).unwrap();
            let (file, key, settings) = (file.display(), one.key.file.display(), &one.settings);
            writeln!(
                config,
                "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {key}; {settings}\n\
                 location / {{ default_type text/plain; return 200 hello; }} }}"
            )
            .unwrap();
            assert!(
                ports.insert(one.name.clone(), port).is_none(),
                "duplicate name {}",
                one.name
            );
        }
        config.push_str("}\n");
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new(NGINX);
        for (flag, file) in [("-p", ""), ("-c", "nginx.conf"), ("-e", "error.log")] {
            command.arg(flag).arg(folder.path().join(file));
        }
        let process = Process::start(command.stdin(Stdio::null()).stderr(Stdio::null()));
        let mut nginx = Self { ports, process, folder };
        eventually("nginx listens", async || nginx.listens().await).await;
        nginx
    }

    async fn listens(&mut self) -> bool {
        if let Some(status) = self.process.0.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.folder.path().join("error.log"));
            panic!("nginx ended with {status}: {log:?}; `make deps` installs the packages for the tests");
        }
        let port = self.ports.values().next().copied().unwrap_or_default();
        TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    }

    /// URL of a server.
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/", self.ports[name])
    }
}
