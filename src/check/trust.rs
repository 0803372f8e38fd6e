//! Judges a certificate chain and records it, also when it is refused.

use super::certificates::{dates, describe, is_self_issued};
use super::own_fault::shortage;
use super::signatures::remembering;
use crate::reason::Reason;
use crate::utc::rfc3339;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_native_certs::ErrorKind;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Whom a module trusts.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// These.
    These(Arc<Trust>),
    /// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured). They are some hundred files, which are read
    /// once per process, when they are first needed.
    System,
}

impl Trusted {
    /// The authorities.
    ///
    /// # Errors
    /// When this host is short of what it takes to read them: that says nothing of whom the system trusts.
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
        // What is read is kept also where the probe that asked for it first has ended meanwhile.
        let reading = tokio::task::spawn_blocking(|| match SYSTEM.get() {
            Some(trust) => Ok(trust.clone()),
            None => Trust::read_system().map(|trust| SYSTEM.get_or_init(|| Arc::new(trust)).clone()),
        });
        reading.await.unwrap_or_else(|error| match error.try_into_panic() {
            // It is our own, and fails this probe as any other would.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => Err(io::Error::other(ended)),
        })
    }
}

/// The authorities that a module trusts.
#[derive(Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    roots: Vec<Root>,
}

/// A trusted certificate as it was given: anchors alone have no dates.
struct Root {
    der: CertificateDer<'static>,
    not_after: i64,
}

impl Trust {
    /// Trusts these certificates. Those that cannot be read are left out, as Go does.
    #[must_use]
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut trust = Self::default();
        for der in certificates {
            let Ok(anchor) = anchor_from_trusted_cert(&der) else {
                continue;
            };
            let Some(not_after) = dates(&der).map(|(_, not_after)| not_after) else {
                continue;
            };
            trust.anchors.push(anchor.to_owned());
            trust.roots.push(Root { der, not_after });
        }
        trust
    }

    fn read_system() -> io::Result<Self> {
        let mut read = rustls_native_certs::load_native_certs();
        // A file that is no certificate is left out. One that cannot be opened for want of our own is not, nor are all of
        // them: whoever shows a certificate would be blamed for it.
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
            tracing::warn!(%error, "Of those whom the system trusts one is left out");
        }
        Ok(Self::new(read.certs))
    }

    /// How many authorities these are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Verifies a chain for a name: gives the end of its shortest-lived certificate, the root's included.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<i64, Refusal> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| Refusal::new(&error, leaf))?;
        let until = match self.roots.iter().find(|root| root.der == *leaf) {
            // webpki refuses an authority as a server's own certificate; Go, and so the peer, takes it when it is
            // itself trusted.
            Some(root) => within_dates(&root.der, now)?,
            None => self.verify_path(&end_entity, leaf, intermediates, now)?,
        };
        end_entity
            .verify_is_valid_for_subject_name(name)
            .map_err(|error| Refusal::new(&error, leaf))?;
        Ok(until)
    }

    fn verify_path(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<i64, Refusal> {
        let path = end_entity
            .verify_for_usage(
                remembering(),
                &self.anchors,
                intermediates,
                now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|error| Refusal::new(&error, leaf))?;
        let root = self
            .anchors
            .iter()
            .position(|anchor| anchor == path.anchor())
            .map(|index| self.roots[index].not_after);
        let between = path
            .intermediate_certificates()
            .filter_map(|cert| Some(dates(&cert.der())?.1));
        let own = dates(leaf).map(|(_, not_after)| not_after);
        Ok(between.chain(own).chain(root).min().unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.len())
    }
}

fn within_dates(der: &CertificateDer<'_>, now: UnixTime) -> Result<i64, Refusal> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match dates(der) {
        Some((from, until)) if (from..=until).contains(&now) => Ok(until),
        _ => Err(Refusal {
            reason: Reason::TlsCertDateInvalid,
            words: "the certificate is not valid at this time".to_owned(),
        }),
    }
}

/// The signatures that can be verified; the provider is built once.
pub(super) fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
        LazyLock::new(|| ring::default_provider().signature_verification_algorithms);
    &ALGORITHMS
}

/// Why a chain was refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub reason: Reason,
    pub words: String,
}

impl Refusal {
    fn new(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Self {
        use webpki::Error as E;
        let reason = match error {
            E::CertExpired { .. } | E::CertNotValidYet { .. } | E::InvalidCertValidity => Reason::TlsCertDateInvalid,
            E::CertNotValidForName(_) => Reason::TlsCertNameInvalid,
            E::UnknownIssuer | E::CaUsedAsEndEntity if is_self_issued(leaf) => Reason::TlsCertSelfSigned,
            // A signature that fails is that of another authority which has the name of a trusted one.
            E::UnknownIssuer | E::InvalidSignatureForPublicKey => Reason::TlsCertAuthorityInvalid,
            _ => Reason::TlsCertInvalid,
        };
        let certificate = describe(leaf);
        let moment = |at: &UnixTime| rfc3339(UNIX_EPOCH + Duration::from_secs(at.as_secs()));
        let words = match reason {
            Reason::TlsCertDateInvalid => match error {
                E::CertExpired { not_after, .. } => format!("one of its chain expired at {}", moment(not_after)),
                E::CertNotValidYet { not_before, .. } => {
                    format!("one of its chain is not valid before {}", moment(not_before))
                }
                _ => error.to_string(),
            },
            Reason::TlsCertNameInvalid => format!("it is for {}", certificate.dns_names.join(", ")),
            Reason::TlsCertSelfSigned => format!("{} signed it for itself", certificate.subject),
            Reason::TlsCertAuthorityInvalid => format!("its issuer, {}, is not trusted", certificate.issuer),
            _ => error.to_string(),
        };
        Self { reason, words }
    }
}

/// Verifies one handshake's certificate, lets the handshake finish, and keeps the verdict: the caller enforces it
/// before any request byte. Our own certificate is shown only to a peer whose certificate was accepted, where it is verified at all.
pub(super) struct Recorder {
    trust: Arc<Trust>,
    skip_verify: bool,
    identity: Option<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// What a handshake showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The end of the verified chain, or why it was refused; `None` where nothing was verified.
    pub verdict: Option<Result<i64, Refusal>>,
    /// The peer asked for a certificate of ours.
    pub client_cert_asked: bool,
}

impl Recorder {
    pub fn new(trust: Arc<Trust>, skip_verify: bool, identity: Option<Arc<CertifiedKey>>) -> Self {
        Self {
            trust,
            skip_verify,
            identity,
            seen: Mutex::default(),
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = (!self.skip_verify).then(|| self.trust.verify(leaf, intermediates, name, now));
        let mut seen = self.seen();
        seen.verdict = verdict;
        seen.chain = std::iter::once(leaf)
            .chain(intermediates)
            .map(|der| der.clone().into_owned())
            .collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut seen = self.seen();
        seen.client_cert_asked = true;
        match seen.verdict {
            Some(Err(_)) => None,
            _ => self.identity.clone(),
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Trust;
    use crate::reason::Reason;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::time::Duration;

    /// An authority's certificate, and one that it gave to `app.example` for the year 2020.
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
