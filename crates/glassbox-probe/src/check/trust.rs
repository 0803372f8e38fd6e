//! TLS certificate verification.
//!
//! A TLS server proves its identity with a certificate. An authority signs that certificate, often through intermediate
//! certificates that the server sends along. The client accepts the server if this *chain* ends at an authority that it
//! already trusts, every signature and date is valid, and the server's certificate contains the requested name. This
//! module makes that decision. It follows Go's `crypto/x509`, so that the exporter and `blackbox_exporter` accept the
//! same servers.
//!
//! A rejected certificate does not abort the handshake, because the certificate of a failed probe must still appear in
//! the evidence. `Recorder` stores the certificate chain and the result of the verification. The stage `secure` then
//! fails the probe before the exporter sends any request byte.
//!
//! `webpki` verifies most chains. A slower search with Go's rules and a fixed budget (`search`) decides if `webpki`
//! rejects a chain, if `webpki` does not check everything that Go checks, or if the chain could take `webpki` too long.

mod names;
mod parsed;
mod recorder;
mod refusal;
mod search;

pub(super) use recorder::Recorder;

use super::certificates::{dates, end_of_authority};
use super::local_fault::shortage;
use super::refusal::Refusal;
use super::signatures::remembering;
use glassbox_verdict::reason::Reason;
use parsed::ParsedCertificate;
use refusal::seconds;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls_native_certs::ErrorKind;
use search::search;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The certificate authorities that a module trusts.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// The authorities in this list.
    These(Arc<Trust>),
    /// The system's authorities, about a hundred files (`SSL_CERT_FILE` and `SSL_CERT_DIR` apply). The first probe that
    /// needs them reads them, once per process.
    System,
}

impl Trusted {
    /// Returns the authorities.
    ///
    /// # Errors
    /// Fails if this host lacks the resources to read them. The failure gives no information about what the system
    /// trusts.
    pub(super) async fn authorities(&self) -> io::Result<Arc<Trust>> {
        static SYSTEM: OnceLock<Arc<Trust>> = OnceLock::new();
        static READING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        if let Self::These(trust) = self {
            return Ok(trust.clone());
        }
        if let Some(trust) = SYSTEM.get() {
            return Ok(trust.clone());
        }
        let _alone = READING.lock().await;
        // The result is kept even if the probe that started the reading has ended in the meantime.
        let reading = tokio::task::spawn_blocking(|| match SYSTEM.get() {
            Some(trust) => Ok(trust.clone()),
            None => Trust::read_system().map(|trust| SYSTEM.get_or_init(|| Arc::new(trust)).clone()),
        });
        reading.await.unwrap_or_else(|error| match error.try_into_panic() {
            // A panic in the exporter's code fails this probe like any other panic.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => Err(io::Error::other(ended)),
        })
    }
}

/// A set of trusted authorities.
#[derive(Default)]
pub struct Trust {
    /// The authorities in the form that webpki needs.
    anchors: Vec<TrustAnchor<'static>>,
    /// Index into `roots` for each anchor.
    roots_of_anchors: Vec<usize>,
    roots: Vec<Root>,
}

/// A trusted certificate in its original form. An anchor alone has neither dates nor extensions.
struct Root {
    der: CertificateDer<'static>,
    /// Complete DER element of the subject.
    subject: Vec<u8>,
    dates: (i64, i64),
    path_length: Option<usize>,
    /// Whether webpki can accept a chain to this root. webpki does not check an anchor's extensions.
    is_usual: bool,
}

impl Root {
    fn new(der: CertificateDer<'static>) -> Option<Self> {
        let parsed = ParsedCertificate::new(&der)?;
        Some(Self {
            subject: parsed.subject().to_vec(),
            dates: parsed.dates(),
            path_length: parsed.path_length(),
            is_usual: parsed.may_sign() && parsed.serves() && parsed.unknown_critical().is_none(),
            der,
        })
    }

    /// Whether this root permits a chain with this number of intermediates at this time.
    fn permits(&self, intermediates: usize, now: i64) -> bool {
        let (from, until) = self.dates;
        self.is_usual && (from..=until).contains(&now) && self.path_length.is_none_or(|most| intermediates <= most)
    }
}

/// Maximum number of intermediates in a typical chain. This number of intermediates with different names forms few
/// paths.
const USUAL_INTERMEDIATES: usize = 8;

/// Whether the intermediates could form many paths: there are many of them, or two have the same name.
#[must_use]
pub fn may_have_many_paths(intermediates: &[CertificateDer<'_>]) -> bool {
    if intermediates.len() < 2 {
        return false;
    }
    let subject = |der: &CertificateDer<'_>| Some(EndEntityCert::try_from(der).ok()?.subject().to_vec());
    let mut subjects = HashSet::new();
    intermediates.len() > USUAL_INTERMEDIATES
        || intermediates
            .iter()
            .filter_map(subject)
            .any(|subject| !subjects.insert(subject))
}

/// Result of webpki for an accepted chain.
enum Usual {
    /// Accepted. The chain is valid until this time.
    Verified(i64),
    /// Accepted, but an authority expires before the server's certificate. Another chain may be valid for longer.
    EndsEarly(i64),
    /// Accepted, but webpki does not check everything that Go checks in this chain.
    Doubtful,
}

impl Trust {
    /// Trusts these certificates. Skips certificates that cannot be parsed, as Go does.
    #[must_use]
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        let roots: Vec<Root> = certificates.into_iter().filter_map(Root::new).collect();
        let anchors = roots.iter().enumerate();
        let anchors =
            anchors.filter_map(|(place, root)| Some((anchor_from_trusted_cert(&root.der).ok()?.to_owned(), place)));
        let (anchors, roots_of_anchors) = anchors.unzip();
        Self {
            anchors,
            roots_of_anchors,
            roots,
        }
    }

    fn read_system() -> io::Result<Self> {
        let mut read = rustls_native_certs::load_native_certs();
        // Skips a file that is not a certificate. Fails if this host lacks the resources to open a file, or if no
        // certificate could be read. Otherwise the verdict would attribute the failure to the server.
        let lacks = |error: &rustls_native_certs::Error| match &error.kind {
            ErrorKind::Io { inner, .. } => read.certs.is_empty() || shortage(inner).is_some(),
            _ => read.certs.is_empty(),
        };
        if let Some(at) = read.errors.iter().position(lacks) {
            return Err(match read.errors.swap_remove(at).kind {
                ErrorKind::Io { inner, .. } => inner,
                other => io::Error::other(format!("{other:?}")),
            });
        }
        for error in &read.errors {
            tracing::warn!(%error, "Skipping a certificate in the system's trust store");
        }
        Ok(Self::new(read.certs))
    }

    /// Number of authorities.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Verifies a chain for a name. Returns the earliest expiry time in the chain, including the root's.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<i64, Refusal> {
        let search = || search(&self.roots, leaf, intermediates, name, seconds(now));
        // A certificate that is itself trusted needs no chain. webpki does not support this case.
        if self.roots.iter().any(|root| root.der == *leaf) {
            return search().map_err(|missed| missed.refusal);
        }
        // webpki's limits allow seconds of work if many paths are possible. The search has a budget.
        if may_have_many_paths(intermediates) {
            return search().map_err(|missed| missed.refusal);
        }
        match self.verify_usual(leaf, intermediates, name, now) {
            Ok(Usual::Verified(until)) => Ok(until),
            // Go uses the chain that expires last.
            Ok(Usual::EndsEarly(until)) => Ok(search().map_or(until, |other| other.max(until))),
            Ok(Usual::Doubtful) => search().map_err(|missed| missed.refusal),
            Err(error) => search().map_err(|missed| {
                let usual = Refusal::of_webpki(&error, leaf);
                // webpki reports a key that ring does not support as an invalid signature.
                let knows_less = missed.at_bound || error == webpki::Error::InvalidSignatureForPublicKey;
                if knows_less || usual.reason == Reason::TlsCertInvalid {
                    missed.refusal
                } else {
                    usual
                }
            }),
        }
    }

    /// Verifies the chain with webpki alone, which is sufficient for most handshakes.
    fn verify_usual(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Usual, webpki::Error> {
        let end_entity = EndEntityCert::try_from(leaf)?;
        let path = end_entity.verify_for_usage(
            remembering(),
            &self.anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        end_entity.verify_is_valid_for_subject_name(name)?;
        let root = self.anchors.iter().position(|anchor| anchor == path.anchor());
        let root = root.map(|place| &self.roots[self.roots_of_anchors[place]]);
        let Some((root, (_, own_end))) = root.zip(dates(leaf)) else {
            return Ok(Usual::Doubtful);
        };
        let (mut until, mut count) = (root.dates.1, 0);
        for between in path.intermediate_certificates() {
            match end_of_authority(&between.der()) {
                Some(end) => until = until.min(end),
                None => return Ok(Usual::Doubtful),
            }
            count += 1;
        }
        Ok(match root.permits(count, seconds(now)) {
            false => Usual::Doubtful,
            true if until < own_end => Usual::EndsEarly(until),
            true => Usual::Verified(own_end),
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Trust;
    use glassbox_verdict::reason::Reason;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::time::Duration;

    /// An authority's certificate, and a certificate that it issued to `app.example` for the year 2020.
    fn chain() -> [CertificateDer<'static>; 2] {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(["app.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        [authority.into(), leaf.into()]
    }

    #[test]
    fn a_chain_that_is_known_is_judged_anew() {
        let [authority, leaf] = chain();
        let trust = Trust::new(vec![authority]);
        let judged = |trust: &Trust, name: &'static str, days: u64| {
            let at = UnixTime::since_unix_epoch(Duration::from_hours(24 * days));
            let verdict = trust.verify(&leaf, &[], &ServerName::try_from(name).unwrap(), at);
            verdict.map_err(|refusal| refusal.reason)
        };
        let (in_2020, in_2022) = (18_400, 19_000);
        assert_eq!(judged(&trust, "app.example", in_2020), Ok(1_609_459_200));
        assert_eq!(judged(&trust, "app.example", in_2020), Ok(1_609_459_200));
        assert_eq!(judged(&trust, "app.example", in_2022), Err(Reason::TlsCertDateInvalid));
        assert_eq!(
            judged(&trust, "other.example", in_2020),
            Err(Reason::TlsCertNameInvalid)
        );
        let [other, _] = chain();
        let refused = judged(&Trust::new(vec![other]), "app.example", in_2020);
        assert_eq!(refused, Err(Reason::TlsCertAuthorityInvalid));
    }
}
