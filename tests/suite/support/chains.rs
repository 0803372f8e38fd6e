//! A matrix of keys, signatures and chains, with the expected results as in `blackbox_exporter` 0.28.

#![allow(clippy::too_many_lines, reason = "tables")]

use super::certificates::{
    Contents, EXPIRED, Key, Maker, NOT_YET, Nginx, Shown, Signature, Signer, alternative_names, basic_constraints,
    common_name, element, extended_key_usage, extension, name, name_constraints, oid, pem, sequence,
};
use super::peer::{Peer, ok};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

use Signature::{Ecdsa, Ed25519, Pkcs1, Pkcs1WithoutParameters, Pss};

const ANY_USAGE: &str = "2.5.29.37.0";
const CLIENT_USAGE: &str = "1.3.6.1.5.5.7.3.2";
const UNKNOWN: &str = "1.2.3.4.5";
const NULL: &[u8] = &[5, 0];
const UTF8: u8 = 0x0c;

/// One server.
pub struct Chain {
    pub name: String,
    /// Result with verification: success, or the reason of the failure.
    pub verified: Result<(), &'static str>,
    /// Note in the evidence of a successful probe without verification.
    pub note: Option<&'static str>,
}

/// All servers. They are stopped on drop.
pub struct Chains {
    /// File with the trusted certificates.
    pub ca_file: PathBuf,
    pub all: Vec<Chain>,
    nginx: Nginx,
    /// Servers whose certificates OpenSSL cannot read.
    raw: Vec<(String, Peer)>,
    _maker: Maker,
}

impl Chains {
    pub fn url(&self, name: &str) -> String {
        match self.raw.iter().find(|(own, _)| own == name) {
            Some((_, peer)) => format!("https://localhost:{}/", peer.address.port()),
            None => self.nginx.url(name),
        }
    }

    pub async fn start() -> Self {
        let mut table = Table::new();
        keys(&mut table);
        handshakes(&mut table);
        signatures(&mut table);
        roots(&mut table);
        leaves(&mut table);
        intermediates(&mut table);
        searches(&mut table);
        names(&mut table);
        unreadable(&mut table);
        let ca_file = table.maker.path().join("ca.pem");
        std::fs::write(&ca_file, pem(&table.roots)).unwrap();
        let mut raw = Vec::new();
        for (name, chain) in table.raw {
            let key = PrivateKeyDer::from_pem_file(&table.p256.file).unwrap();
            raw.push((name, Peer::with_tls(showing(chain, &key), ok).await));
        }
        Self {
            ca_file,
            all: table.chains,
            nginx: Nginx::start(&table.shown).await,
            raw,
            _maker: table.maker,
        }
    }
}

/// A server that presents a chain without parsing it.
fn showing(chain: Vec<Vec<u8>>, key: &PrivateKeyDer<'_>) -> Arc<ServerConfig> {
    #[derive(Debug)]
    struct Always(Arc<CertifiedKey>);
    impl ResolvesServerCert for Always {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let always = Always(Arc::new(CertifiedKey::new(chain, key)));
    Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(always)))
}

struct Table {
    maker: Maker,
    /// The key of most servers.
    p256: Key,
    /// The default trusted CA.
    root: Signer,
    /// Keys of intermediates.
    between: Vec<Key>,
    roots: Vec<Vec<u8>>,
    chains: Vec<Chain>,
    shown: Vec<Shown>,
    raw: Vec<(String, Vec<Vec<u8>>)>,
}

impl Table {
    fn new() -> Self {
        let maker = Maker::new();
        let p256 = maker.key("P-256");
        let between = (0..3).map(|_| maker.key("P-256")).collect();
        let root = Signer::new("Root", &maker.key("P-256"), Ecdsa("sha256"));
        let mut table = Self {
            maker,
            p256,
            root: root.clone(),
            between,
            roots: Vec::new(),
            chains: Vec::new(),
            shown: Vec::new(),
            raw: Vec::new(),
        };
        table.trust(&root, &Contents::authority("Root"));
        table
    }

    /// Adds a self-signed certificate to the trusted ones.
    fn trust(&mut self, signer: &Signer, contents: &Contents) {
        let root = self.maker.certificate(contents, &signer.key, signer);
        self.roots.push(root);
    }

    /// Creates a trusted CA.
    fn root(&mut self, common: &str, kind: &str, signature: Signature) -> Signer {
        let signer = Signer::new(common, &self.maker.key(kind), signature);
        self.trust(&signer, &Contents::authority(common));
        signer
    }

    /// An intermediate certificate and its CA.
    fn intermediate(&self, contents: &Contents, key: usize, by: &Signer) -> (Vec<u8>, Signer) {
        let key = &self.between[key];
        let signer = Signer {
            name: contents.subject.clone(),
            key: key.clone(),
            signature: Ecdsa("sha256"),
        };
        (self.maker.certificate(contents, key, by), signer)
    }

    fn add(&mut self, name: &str, verified: Result<(), &'static str>, chain: Vec<Vec<u8>>) {
        self.add_with(name, verified, chain, &self.p256.clone(), "");
    }

    fn add_with(
        &mut self,
        name: &str,
        verified: Result<(), &'static str>,
        chain: Vec<Vec<u8>>,
        key: &Key,
        settings: &str,
    ) {
        self.chains.push(Chain {
            name: name.to_owned(),
            verified,
            note: None,
        });
        self.shown.push(Shown {
            name: name.to_owned(),
            chain,
            key: key.clone(),
            settings: settings.to_owned(),
        });
    }

    /// A server certificate for the default key.
    fn server(&self, contents: &Contents, by: &Signer) -> Vec<u8> {
        self.maker.certificate(contents, &self.p256, by)
    }

    /// Adds a server with a valid certificate below intermediates, which it presents as well.
    fn below(&mut self, name: &str, verified: Result<(), &'static str>, by: &Signer, intermediates: Vec<Vec<u8>>) {
        let leaf = self.server(&Contents::server(), by);
        self.add(name, verified, std::iter::once(leaf).chain(intermediates).collect());
    }
}

const TLS12: &str = "ssl_protocols TLSv1.2;";

/// Kinds of keys.
fn keys(table: &mut Table) {
    for kind in [
        "P-256", "P-384", "P-521", "ED25519", "RSA 1024", "RSA 1536", "RSA 2047", "RSA 2048", "RSA 4096",
    ] {
        let key = table.maker.key(kind);
        let leaf = table.maker.certificate(&Contents::server(), &key, &table.root);
        table.add_with(&format!("key {kind}"), Ok(()), vec![leaf.clone()], &key, "");
        table.add_with(&format!("key {kind} TLS 1.2"), Ok(()), vec![leaf], &key, TLS12);
    }
    for (kind, note) in [
        ("RSA 512", "handshake signature not verified: RSA key of 512 bits"),
        ("RSA 768", "handshake signature not verified: RSA key of 768 bits"),
    ] {
        let key = table.maker.key(kind);
        let leaf = table.maker.certificate(&Contents::server(), &key, &table.root);
        table.add_with(&format!("key {kind}"), Err("tls.cert.invalid"), vec![leaf], &key, TLS12);
        table.chains.last_mut().unwrap().note = Some(note);
    }
}

/// Signatures of handshakes.
fn handshakes(table: &mut Table) {
    let sign = |settings: &str| format!("ssl_conf_command SignatureAlgorithms {settings};");
    for kind in ["RSA 1024", "RSA 2048"] {
        let key = table.maker.key(kind);
        let leaf = table.maker.certificate(&Contents::server(), &key, &table.root);
        for hash in ["SHA1", "SHA256", "SHA384", "SHA512"] {
            let settings = format!("{TLS12} {}", sign(&format!("RSA+{hash}")));
            table.add_with(
                &format!("{kind} PKCS1 {hash}"),
                Ok(()),
                vec![leaf.clone()],
                &key,
                &settings,
            );
        }
        for hash in ["sha256", "sha384", "sha512"] {
            // A PSS signature with SHA-512 does not fit into a key of 1024 bits.
            if (kind, hash) == ("RSA 1024", "sha512") {
                continue;
            }
            let settings = sign(&format!("rsa_pss_rsae_{hash}"));
            table.add_with(
                &format!("{kind} PSS {hash}"),
                Ok(()),
                vec![leaf.clone()],
                &key,
                &settings,
            );
            let settings = format!("{TLS12} {settings}");
            table.add_with(
                &format!("{kind} PSS {hash} TLS 1.2"),
                Ok(()),
                vec![leaf.clone()],
                &key,
                &settings,
            );
        }
    }
    for kind in ["P-256", "P-384", "P-521"] {
        let key = table.maker.key(kind);
        let leaf = table.maker.certificate(&Contents::server(), &key, &table.root);
        for hash in ["SHA1", "SHA256", "SHA384", "SHA512"] {
            let settings = format!("{TLS12} {}", sign(&format!("ECDSA+{hash}")));
            table.add_with(
                &format!("{kind} ECDSA {hash}"),
                Ok(()),
                vec![leaf.clone()],
                &key,
                &settings,
            );
        }
    }
}

/// Signatures of certificates.
fn signatures(table: &mut Table) {
    for kind in ["P-256", "P-384", "P-521"] {
        let root = table.root(&format!("Root {kind}"), kind, Ecdsa("sha256"));
        for hash in ["sha256", "sha384", "sha512"] {
            table.below(
                &format!("signed by {kind} {hash}"),
                Ok(()),
                &root.with(Ecdsa(hash)),
                vec![],
            );
        }
        let old = root.with(Ecdsa("sha1"));
        table.below(&format!("signed by {kind} sha1"), Err("tls.cert.invalid"), &old, vec![]);
        let forged = table.server(&Contents::server().forged(), &root.with(Ecdsa("sha512")));
        table.add(
            &format!("forged {kind}"),
            Err("tls.cert.authority_invalid"),
            vec![forged],
        );
    }
    let root = table.root("Root Ed25519", "ED25519", Ed25519);
    table.below("signed by Ed25519", Ok(()), &root, vec![]);
    for kind in ["RSA 1024", "RSA 2048"] {
        let root = table.root(&format!("Root {kind}"), kind, Pkcs1("sha256"));
        for hash in ["sha256", "sha384", "sha512"] {
            table.below(
                &format!("signed by {kind} {hash}"),
                Ok(()),
                &root.with(Pkcs1(hash)),
                vec![],
            );
            let bare = root.with(Pkcs1WithoutParameters(hash));
            table.below(
                &format!("signed by {kind} {hash} without parameters"),
                Ok(()),
                &bare,
                vec![],
            );
            if (kind, hash) != ("RSA 1024", "sha512") {
                table.below(
                    &format!("signed by {kind} PSS {hash}"),
                    Ok(()),
                    &root.with(Pss(hash)),
                    vec![],
                );
            }
        }
        table.below(
            &format!("signed by {kind} sha1"),
            Err("tls.cert.invalid"),
            &root.with(Pkcs1("sha1")),
            vec![],
        );
        for (what, signature) in [("PKCS1", Pkcs1("sha256")), ("PSS", Pss("sha256"))] {
            let forged = table.server(&Contents::server().forged(), &root.with(signature));
            table.add(
                &format!("forged {kind} {what}"),
                Err("tls.cert.authority_invalid"),
                vec![forged],
            );
        }
    }
    let small = table.root("Root RSA 768", "RSA 768", Pkcs1("sha256"));
    table.below("signed by RSA 768", Err("tls.cert.invalid"), &small, vec![]);
    let p224 = table.root("Root P-224", "P-224", Ecdsa("sha256"));
    table.below("signed by P-224", Err("local.tls_unsupported"), &p224, vec![]);
}

/// Variants of trusted certificates.
fn roots(table: &mut Table) {
    let invalid = Err("tls.cert.invalid");
    let old = Contents {
        version: 1,
        ..Contents::of("Root 1", vec![])
    };
    let below = "Root, one below";
    for (contents, right) in [
        (old, Ok(())),
        (
            Contents::of("Root, no constraints", vec![alternative_names(&["x"])]),
            invalid,
        ),
        (
            Contents::of("Root, no authority", vec![basic_constraints(false, None)]),
            invalid,
        ),
        (
            Contents::authority("Root, past").dated(EXPIRED),
            Err("tls.cert.date_invalid"),
        ),
        (
            Contents::authority("Root, to come").dated(NOT_YET),
            Err("tls.cert.date_invalid"),
        ),
        (
            Contents::authority("Root, clients").and(extended_key_usage(&[CLIENT_USAGE])),
            invalid,
        ),
        (
            Contents::authority("Root, any").and(extended_key_usage(&[ANY_USAGE])),
            Ok(()),
        ),
        (
            Contents::authority("Root, critical").and(extension(UNKNOWN, true, NULL)),
            invalid,
        ),
        (
            Contents::authority("Root, names").and(name_constraints(&["other.example"], &[])),
            invalid,
        ),
        (Contents::of(below, vec![basic_constraints(true, Some(0))]), Ok(())),
    ] {
        let signer = Signer {
            name: contents.subject.clone(),
            key: table.maker.key("P-256"),
            signature: Ecdsa("sha256"),
        };
        table.trust(&signer, &contents);
        let common = String::from_utf8_lossy(&contents.subject[13..]).into_owned();
        table.below(&common, right, &signer, vec![]);
        if common == below {
            let (between, signer) = table.intermediate(&Contents::authority("Below"), 0, &signer);
            table.below("one more than the root allows", invalid, &signer, vec![between]);
        }
    }
    let itself = Signer {
        name: common_name("localhost"),
        key: table.p256.clone(),
        signature: Ecdsa("sha256"),
    };
    let trusted = table.server(&Contents::server(), &itself);
    table.roots.push(trusted.clone());
    table.add("trusted itself", Ok(()), vec![trusted]);
    let trusted = table.server(&Contents::server().and(extended_key_usage(&[CLIENT_USAGE])), &itself);
    table.roots.push(trusted.clone());
    table.add("trusted itself, clients", invalid, vec![trusted]);
    let stranger = table.server(&Contents::server(), &itself);
    table.add("self-signed", Err("tls.cert.self_signed"), vec![stranger]);
    let old = Contents {
        version: 1,
        ..Contents::of("localhost", vec![])
    };
    let own = Signer::new("localhost", &table.maker.key("RSA 2048"), Pkcs1("sha256"));
    let stranger = table.maker.certificate(&old, &own.key, &own);
    // The certificate has the name of a trusted one, but not its key.
    let untrusted = Err("tls.cert.authority_invalid");
    table.add_with(
        "self-signed with a trusted name",
        untrusted,
        vec![stranger],
        &own.key,
        "",
    );
    let nameless = Signer { name: name(&[]), ..own };
    let stranger = Contents {
        subject: name(&[]),
        ..old
    };
    let stranger = table.maker.certificate(&stranger, &nameless.key, &nameless);
    let self_signed = Err("tls.cert.self_signed");
    table.add_with("self-signed, version 1", self_signed, vec![stranger], &nameless.key, "");
}

/// Variants of server certificates.
fn leaves(table: &mut Table) {
    let invalid = Err("tls.cert.invalid");
    let wrong_name = Err("tls.cert.name_invalid");
    let old = Contents {
        version: 1,
        ..Contents::of("localhost", vec![])
    };
    let serial = |bytes: &[u8]| Contents {
        serial: Some(element(2, &[bytes])),
        ..Contents::server()
    };
    let named = |names: &[&str]| Contents::of("x", vec![basic_constraints(false, None), alternative_names(names)]);
    let policy = sequence(&[&sequence(&[&oid("2.23.140.1.2.1")])]);
    let demand = extension("2.5.29.36", true, &sequence(&[&element(0x80, &[&[0]])]));
    let mut broken = Contents::server();
    broken.extensions[1] = extension("2.5.29.17", false, &[0x30, 5, 0x82, 1]);
    let mut authority = Contents::server();
    authority.extensions[0] = basic_constraints(true, None);
    for (what, contents, right) in [
        ("good", Contents::server(), Ok(())),
        ("version 1", old, wrong_name),
        ("says it is an authority", authority.clone(), Ok(())),
        (
            "says it is an authority, expired",
            authority.clone().dated(EXPIRED),
            Err("tls.cert.date_invalid"),
        ),
        (
            "says it is an authority, forged",
            authority.clone().forged(),
            Err("tls.cert.authority_invalid"),
        ),
        (
            "unknown critical extension",
            Contents::server().and(extension(UNKNOWN, true, NULL)),
            invalid,
        ),
        (
            "unknown extension",
            Contents::server().and(extension(UNKNOWN, false, NULL)),
            Ok(()),
        ),
        ("unreadable names", broken, invalid),
        (
            "an extension twice",
            Contents::server().and(basic_constraints(false, None)),
            invalid,
        ),
        (
            "any usage",
            Contents::server().and(extended_key_usage(&[ANY_USAGE])),
            Ok(()),
        ),
        (
            "usage of clients",
            Contents::server().and(extended_key_usage(&[CLIENT_USAGE])),
            invalid,
        ),
        (
            "unknown usage",
            Contents::server().and(extended_key_usage(&[UNKNOWN])),
            invalid,
        ),
        (
            "unknown and any usage",
            Contents::server().and(extended_key_usage(&[UNKNOWN, ANY_USAGE])),
            Ok(()),
        ),
        (
            "a critical policy",
            Contents::server().and(extension("2.5.29.32", true, &policy)),
            Ok(()),
        ),
        ("a demanded policy", Contents::server().and(demand.clone()), invalid),
        (
            "a demanded policy that is there",
            Contents::server()
                .and(demand)
                .and(extension("2.5.29.32", false, &policy)),
            Ok(()),
        ),
        ("serial number 0", serial(&[0]), Ok(())),
        ("long serial number", serial(&[0x11; 30]), Ok(())),
        (
            "no alternative names",
            Contents::of("localhost", vec![basic_constraints(false, None)]),
            wrong_name,
        ),
        ("another name", named(&["other.example"]), wrong_name),
        ("a wildcard for the name", named(&["*"]), wrong_name),
        ("the name in capitals", named(&["LOCALHOST"]), Ok(())),
        (
            "says it is an authority, another name",
            {
                let mut other = named(&["other.example"]);
                other.extensions[0] = basic_constraints(true, None);
                other
            },
            wrong_name,
        ),
        ("forged", Contents::server().forged(), Err("tls.cert.authority_invalid")),
        (
            "expired",
            Contents::server().dated(EXPIRED),
            Err("tls.cert.date_invalid"),
        ),
        (
            "not yet valid",
            Contents::server().dated(NOT_YET),
            Err("tls.cert.date_invalid"),
        ),
    ] {
        let leaf = table.server(&contents, &table.root);
        table.add(what, right, vec![leaf]);
    }
    let stranger = Signer::new("Stranger", &table.between[0], Ecdsa("sha256"));
    table.below(
        "unknown authority",
        Err("tls.cert.authority_invalid"),
        &stranger,
        vec![],
    );
    let namesake = Signer::new("Root", &table.between[0], Ecdsa("sha256"));
    table.below(
        "namesake of the authority",
        Err("tls.cert.authority_invalid"),
        &namesake,
        vec![],
    );
}

/// Variants of intermediates.
fn intermediates(table: &mut Table) {
    let invalid = Err("tls.cert.invalid");
    let old = Contents {
        version: 1,
        ..Contents::of("Between 1", vec![])
    };
    let usage = |bits: u8| extension("2.5.29.15", true, &element(3, &[&[1, bits]]));
    let root = table.root.clone();
    for (contents, right) in [
        (Contents::authority("Between"), Ok(())),
        (
            Contents::of("Between, no authority", vec![basic_constraints(false, None)]),
            invalid,
        ),
        (
            Contents::of("Between, no constraints", vec![alternative_names(&["x"])]),
            invalid,
        ),
        (old, invalid),
        (Contents::authority("Between, signs").and(usage(0x06)), Ok(())),
        (Contents::authority("Between, does not sign").and(usage(0x02)), invalid),
        (
            Contents::authority("Between, past").dated(EXPIRED),
            Err("tls.cert.date_invalid"),
        ),
        (
            Contents::authority("Between, critical").and(extension(UNKNOWN, true, NULL)),
            invalid,
        ),
        (
            Contents::authority("Between, forged").forged(),
            Err("tls.cert.authority_invalid"),
        ),
        (
            Contents::authority("Between, clients").and(extended_key_usage(&[CLIENT_USAGE])),
            invalid,
        ),
        (
            Contents::authority("Between, any").and(extended_key_usage(&[ANY_USAGE])),
            Ok(()),
        ),
        (
            Contents::authority("Between, permitted").and(name_constraints(&["localhost"], &[])),
            Ok(()),
        ),
        (
            Contents::authority("Between, not permitted").and(name_constraints(&["other.example"], &[])),
            invalid,
        ),
        (
            Contents::authority("Between, excluded").and(name_constraints(&[], &["localhost"])),
            invalid,
        ),
        (
            Contents::authority("Between, nothing excluded").and(name_constraints(&[], &["other.example"])),
            Ok(()),
        ),
    ] {
        let (between, signer) = table.intermediate(&contents, 0, &root);
        let common = String::from_utf8_lossy(&contents.subject[13..]).into_owned();
        table.below(&common, right, &signer, vec![between.clone()]);
        // webpki rejects such a server certificate, so the path search checks the same intermediate.
        let mut authority = Contents::server();
        authority.extensions[0] = basic_constraints(true, None);
        let leaf = table.server(&authority, &signer);
        table.add(&format!("{common}, of an authority"), right, vec![leaf, between]);
    }
    let one = Contents::of("One below", vec![basic_constraints(true, Some(0))]);
    let (upper, signer) = table.intermediate(&one, 0, &root);
    let (lower, signer) = table.intermediate(&Contents::authority("Below"), 1, &signer);
    table.below("one more than allowed", invalid, &signer, vec![lower, upper]);
}

/// Chains that need a path search.
fn searches(table: &mut Table) {
    let root = table.root.clone();
    let authority = Contents::authority;
    for count in [6, 7, 20] {
        let (mut signer, mut chain) = (root.clone(), Vec::new());
        for number in 0..count {
            let (between, next) = table.intermediate(&authority(&format!("Level {number}")), number % 2, &signer);
            chain.insert(0, between);
            signer = next;
        }
        table.below(&format!("{count} intermediates"), Ok(()), &signer, chain);
    }
    let p521 = table.maker.key("P-521");
    let between = table.maker.certificate(&authority("Between P-521"), &p521, &root);
    table.below(
        "an intermediate with P-521",
        Ok(()),
        &Signer::new("Between P-521", &p521, Ecdsa("sha512")),
        vec![between],
    );
    let rsa = table.maker.key("RSA 1024");
    let between = table.maker.certificate(&authority("Between RSA"), &rsa, &root);
    table.below(
        "an intermediate with RSA 1024",
        Ok(()),
        &Signer::new("Between RSA", &rsa, Pkcs1("sha256")),
        vec![between],
    );

    let same: Vec<_> = (0..3)
        .map(|key| table.intermediate(&authority("Same"), key, &root))
        .collect();
    let chain = [2, 1, 0].map(|place: usize| same[place].0.clone()).to_vec();
    table.below("several of one name", Ok(()), &same[0].1, chain);
    let (past, signer) = table.intermediate(&authority("Renewed").dated(EXPIRED), 0, &root);
    let (valid, _) = table.intermediate(&authority("Renewed"), 0, &root);
    table.below("an expired one beside a valid one", Ok(()), &signer, vec![past, valid]);
    let (upper, signer) = table.intermediate(&authority("Upper"), 0, &root);
    let (lower, signer_of_leaf) = table.intermediate(&authority("Lower"), 1, &signer);
    let (other, _) = table.intermediate(&authority("Other"), 2, &signer);
    table.below(
        "unordered",
        Ok(()),
        &signer_of_leaf,
        vec![other, upper.clone(), lower, upper],
    );

    let crossed = ["Cross A", "Cross B"].map(|common| Signer::new(common, &table.maker.key("P-256"), Ecdsa("sha256")));
    let cross = |of: &Signer, common: &str, by: &Signer| table.maker.certificate(&authority(common), &of.key, by);
    let [a, b] = &crossed;
    let chain = vec![
        cross(a, "Cross A", b),
        cross(b, "Cross B", a),
        cross(b, "Cross B", &root),
    ];
    table.below("signed by each other", Ok(()), a, chain.clone());
    table.below(
        "signed by each other alone",
        Err("tls.cert.authority_invalid"),
        a,
        chain[..2].to_vec(),
    );

    // The later expiry of two chains counts, whatever their order.
    let second = table.root("Root 2", "P-256", Ecdsa("sha256"));
    let until = |end| authority("Two ends").dated((super::certificates::VALID.0, end));
    let (early, signer) = table.intermediate(&until("400101000000Z"), 0, &root);
    let (late, _) = table.intermediate(&until("450101000000Z"), 0, &second);
    table.below(
        "the early end first",
        Ok(()),
        &signer,
        vec![early.clone(), late.clone()],
    );
    table.below("the late end first", Ok(()), &signer, vec![late, early]);
}

/// Variants of subject and issuer names.
fn names(table: &mut Table) {
    const MAIL: &str = "1.2.840.113549.1.9.1";
    const DOMAIN: &str = "0.9.2342.19200300.100.1.25";
    let numbers = [17, 11, 10, 9, 8, 7, 6, 5, 4, 3, 12, 13, 15, 42, 43, 44, 45, 46, 65, 97]
        .map(|number| format!("2.5.4.{number}"));
    let all: Vec<[(&str, u8, &[u8]); 1]> = numbers
        .iter()
        .map(|number| [(&**number, UTF8, number.as_bytes())])
        .collect();
    let all: Vec<&[(&str, u8, &[u8])]> = all.iter().map(|part| &part[..]).collect();
    let one = |kind: &'static str, tag: u8, value: &'static [u8]| name(&[&[(kind, tag, value)]]);
    let common = |tag, value| one("2.5.4.3", tag, value);
    for (what, subject) in [
        ("name: all kinds", name(&all)),
        (
            "name: mail",
            name(&[
                &[("2.5.4.6", 0x13, b"US")],
                &[("2.5.4.3", UTF8, b"a")],
                &[(MAIL, 0x16, b"a@b.example")],
            ]),
        ),
        (
            "name: units",
            name(&[
                &[("2.5.4.11", UTF8, b"a")],
                &[("2.5.4.11", UTF8, b"b")],
                &[("2.5.4.6", 0x13, b"US")],
            ]),
        ),
        (
            "name: two common names",
            name(&[&[("2.5.4.3", UTF8, b"one")], &[("2.5.4.3", UTF8, b"two")]]),
        ),
        (
            "name: several in one part",
            name(&[&[
                ("2.5.4.3", UTF8, b"a"),
                ("2.5.4.10", UTF8, b"b"),
                ("1.2.3.4", UTF8, b"c"),
            ]]),
        ),
        (
            "name: domain",
            name(&[
                &[(DOMAIN, 0x16, b"example")],
                &[(DOMAIN, 0x16, b"shop")],
                &[("2.5.4.3", UTF8, b"x")],
            ]),
        ),
        (
            "name: serial numbers",
            name(&[&[("2.5.4.5", 0x13, b"1")], &[("2.5.4.5", 0x13, b"2")]]),
        ),
        ("name: empty", name(&[])),
        (
            "name: empty values",
            name(&[
                &[("2.5.4.3", UTF8, b"")],
                &[("2.5.4.10", UTF8, b"")],
                &[("2.5.4.10", UTF8, b"x")],
            ]),
        ),
        ("name: UTF-8", common(UTF8, "ünïcödé ☃ 日本".as_bytes())),
        ("name: BMP", common(0x1e, b"\0G\0r\0\xfc\0\xdf\0e\x65\xe5")),
        ("name: T.61", common(0x14, b"caf\xe9")),
        ("name: digits", common(0x12, b"12 3")),
        ("name: number sign", common(UTF8, b"#a#")),
        ("name: spaces", common(UTF8, b"  a  ")),
        ("name: one space", common(UTF8, b" ")),
        ("name: a space after two bytes", common(UTF8, "é ".as_bytes())),
        ("name: two bytes at the end", common(UTF8, "aé".as_bytes())),
        ("name: special characters", common(UTF8, b"a,b+c\"d\\e<f>g;h=i/j")),
        (
            "name: another kind with special characters",
            one("1.2.3.4", UTF8, "#ü,".as_bytes()),
        ),
        ("name: bits", one("1.2.3.4", 3, b"\0ab")),
        ("name: a sequence", one("1.2.3.4", 0x30, &[2, 1, 1])),
        ("name: universal string", one("1.2.3.4", 0x1c, b"\0\0\0a")),
        (
            "name: universal common name",
            name(&[&[("2.5.4.3", 0x1c, b"\0\0\0a")], &[("2.5.4.10", UTF8, b"x")]]),
        ),
    ] {
        let leaf = table.server(
            &Contents {
                subject: subject.clone(),
                ..Contents::server()
            },
            &table.root,
        );
        table.add(what, Ok(()), vec![leaf]);
        let issuer = Signer {
            name: subject.clone(),
            key: table.between[0].clone(),
            signature: Ecdsa("sha256"),
        };
        let between = Contents {
            subject,
            ..Contents::authority("")
        };
        let between = table.maker.certificate(&between, &table.between[0], &table.root);
        table.below(&format!("{what}, of the issuer"), Ok(()), &issuer, vec![between]);
    }
    // OpenSSL cannot parse these.
    for (what, tag, value) in [
        ("name: a number", 2, &[5][..]),
        ("name: a negative number", 2, &[0xff]),
        ("name: octets", 4, b"ab\xff"),
        ("name: an object identifier", 6, &[0x2a, 0x86, 0x48, 5]),
        ("name: a time", 0x17, b"260102030405Z"),
        ("name: a long time", 0x18, b"20260102030405Z"),
        ("name: a far time", 0x18, b"20510102030405Z"),
        ("name: true", 1, &[0xff]),
        ("name: nothing", 5, b""),
        ("name: visible string", 0x1a, b"vis"),
        ("name: of a context", 0x81, b"vis"),
        ("name: enumerated", 0x0a, &[5]),
    ] {
        let subject = name(&[
            &[("1.2.3.4", tag, value)],
            &[("2.5.4.10", tag, value)],
            &[("2.5.4.3", UTF8, b"x")],
        ]);
        let leaf = table.server(
            &Contents {
                subject,
                ..Contents::server()
            },
            &table.root,
        );
        table.add_raw(what, Ok(()), vec![leaf]);
    }
}

/// Unreadable data next to a server certificate.
fn unreadable(table: &mut Table) {
    let leaf = table.server(&Contents::server(), &table.root);
    table.add_raw(
        "garbage beside the certificate",
        Ok(()),
        vec![leaf, vec![0x30, 3, 2, 1, 1]],
    );
    let strange = Contents {
        version: 10,
        ..Contents::server()
    };
    let strange = table.server(&strange, &table.root);
    table.add_raw("version 10", Err("tls.cert.invalid"), vec![strange]);
    table.add_raw("garbage", Err("tls.cert.invalid"), vec![vec![0x30, 3, 2, 1, 1]]);
    table.chains.last_mut().unwrap().note = Some("handshake signature not verified: the key cannot be read");
}

impl Table {
    /// Adds a server that does not use OpenSSL.
    fn add_raw(&mut self, name: &str, verified: Result<(), &'static str>, chain: Vec<Vec<u8>>) {
        self.chains.push(Chain {
            name: name.to_owned(),
            verified,
            note: None,
        });
        self.raw.push((name.to_owned(), chain));
    }
}
