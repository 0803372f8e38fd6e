//! Verifies client certificates.

use glassbox_probe::check::may_have_many_paths;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Requirements for client certificates, from the key `client_auth_type` of the exporter-toolkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificatePolicy {
    /// `RequestClientCert`: any certificate, or none.
    Ask,
    /// `RequireAnyClientCert`: any certificate.
    Any,
    /// `VerifyClientCertIfGiven`: a certificate of a configured authority, or none.
    VerifiedIfAny,
    /// `RequireAndVerifyClientCert`: a certificate of a configured authority.
    Verified,
}

impl ClientCertificatePolicy {
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifiedIfAny | Self::Verified)
    }
}

/// Maximum number of intermediates for which the number of paths is small, regardless of their names.
const ALWAYS_FEW_PATHS: usize = 4;

/// A verifier of client certificates.
#[derive(Debug)]
pub(super) struct Clients {
    demand: ClientCertificatePolicy,
    /// The chain verifier. `None` if `demand` does not require verification.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// Allowed names. A certificate must have one of them. If empty, every name is allowed.
    sans: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    pub fn new(
        demand: ClientCertificatePolicy,
        roots: Vec<CertificateDer<'static>>,
        sans: Vec<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let authorities: Option<Arc<dyn ClientCertVerifier>> = if demand.verifies() {
            let mut store = RootCertStore::empty();
            for root in roots {
                store
                    .add(root)
                    .map_err(|error| format!("invalid certificate in client_ca: {error}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
            Some(verifier.map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Self {
            demand,
            authorities,
            sans,
            provider: provider.clone(),
        })
    }

    /// Whether a certificate has an allowed name.
    fn is_let_in(&self, certificate: &CertificateDer<'_>) -> bool {
        self.sans.is_empty() || names(certificate).iter().any(|name| self.sans.contains(name))
    }
}

/// A certificate's subject alternative names, in the exporter-toolkit's notation.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            ref bytes => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        },
        _ => None,
    });
    names.collect()
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        // A client without a certificate has none of the allowed names.
        matches!(
            self.demand,
            ClientCertificatePolicy::Any | ClientCertificatePolicy::Verified
        ) || !self.sans.is_empty()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities
            .as_ref()
            .map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            // The client is not authenticated yet, and webpki could try a very large number of paths.
            if intermediates.len() > ALWAYS_FEW_PATHS && may_have_many_paths(intermediates) {
                return Err(Error::General(
                    "the client's intermediate certificates can be chained in too many orders".to_owned(),
                ));
            }
            authorities.verify_client_cert(end_entity, intermediates, now)?;
        }
        if self.is_let_in(end_entity) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientCertificatePolicy, Clients};
    use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls::Error;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::danger::ClientCertVerifier as _;
    use std::sync::Arc;

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// Certificates with the same subject and issuer names. Each one can be the issuer of every other.
    fn namesakes(count: usize) -> Vec<CertificateDer<'static>> {
        let key = KeyPair::generate().unwrap();
        let by = Issuer::new(authority("same"), &key);
        let each = |_| {
            let key = KeyPair::generate().unwrap();
            Certificate::into(authority("same").signed_by(&key, &by).unwrap())
        };
        (0..count).map(each).collect()
    }

    #[test]
    fn intermediates_that_may_follow_one_another_in_many_orders_are_refused() {
        let key = KeyPair::generate().unwrap();
        let root = authority("root").self_signed(&key).unwrap();
        let provider = Arc::new(default_provider());
        let clients = Clients::new(
            ClientCertificatePolicy::Verified,
            vec![root.der().clone()],
            vec![],
            &provider,
        )
        .unwrap();
        let leaf = {
            let key = KeyPair::generate().unwrap();
            let by = Issuer::new(authority("same"), &key);
            let leaf = CertificateParams::new([]).unwrap();
            leaf.signed_by(&key, &by).unwrap()
        };
        let shown = |count| {
            let shown = clients.verify_client_cert(leaf.der(), &namesakes(count), UnixTime::now());
            shown.unwrap_err()
        };
        assert!(matches!(shown(5), Error::General(words) if words.contains("too many orders")));
        // With few intermediates, webpki itself reports that none leads to an authority.
        assert!(matches!(shown(4), Error::InvalidCertificate(_)));
    }
}
