//! A parsed certificate for the chain search. It accepts and rejects the same input as Go's `crypto/x509`.

use super::super::signatures::PublicKey;
use x509_parser::prelude::{
    BasicConstraints, CertificatePolicies, FromDer as _, GeneralName, NameConstraints, ParsedExtension,
    X509Certificate, X509Version,
};

/// A parsed certificate.
#[derive(Debug)]
pub(super) struct ParsedCertificate<'a> {
    pub der: &'a [u8],
    pub key: PublicKey<'a>,
    certificate: X509Certificate<'a>,
}

impl<'a> ParsedCertificate<'a> {
    /// Parses a certificate. Returns `None` if Go cannot parse it either.
    pub fn new(der: &'a [u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let readable = |extension: &ParsedExtension<'_>| !matches!(extension, ParsedExtension::ParseError { .. });
        let all_readable = certificate
            .extensions()
            .iter()
            .all(|one| readable(one.parsed_extension()));
        let same_algorithm = certificate.signature_algorithm == certificate.tbs_certificate.signature;
        let known_version = certificate.version().0 <= X509Version::V3.0;
        // A duplicate extension is an error.
        if !known_version || !all_readable || !same_algorithm || certificate.tbs_certificate.extensions_map().is_err() {
            return None;
        }
        let key = PublicKey::of_certificate(der)?;
        Some(Self { der, key, certificate })
    }

    pub fn subject(&self) -> &'a [u8] {
        self.certificate.tbs_certificate.subject.as_raw()
    }

    pub fn issuer(&self) -> &'a [u8] {
        self.certificate.tbs_certificate.issuer.as_raw()
    }

    /// The subject as text.
    pub fn subject_text(&self) -> String {
        super::super::certificates::subject_text(&self.certificate)
    }

    /// The first and the last second of the validity period.
    pub fn dates(&self) -> (i64, i64) {
        let validity = self.certificate.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    }

    /// The signed bytes, the contents of the signature's `AlgorithmIdentifier`, and the signature.
    pub fn signed(&self) -> Option<(&'a [u8], &'a [u8], &[u8])> {
        let (tbs, algorithm) = PublicKey::signed_part(self.der)?;
        Some((tbs, algorithm, &self.certificate.signature_value.data))
    }

    fn extension<T>(&self, choose: impl Fn(&ParsedExtension<'a>) -> Option<T>) -> Option<T> {
        self.certificate
            .extensions()
            .iter()
            .find_map(|one| choose(one.parsed_extension()))
    }

    fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.extension(|one| match one {
            ParsedExtension::BasicConstraints(basic) => Some(basic.clone()),
            _ => None,
        })
    }

    /// Maximum number of intermediates between this certificate and a server's certificate, if set.
    pub fn path_length(&self) -> Option<usize> {
        let length = self.basic_constraints()?.path_len_constraint?;
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Whether basic constraints mark the certificate as an authority.
    pub fn is_authority(&self) -> bool {
        self.basic_constraints().is_some_and(|basic| basic.ca)
    }

    /// Whether the certificate may sign others. Before X.509 v3, a certificate cannot be marked as an authority.
    pub fn may_sign(&self) -> bool {
        let authority = match self.basic_constraints() {
            Some(basic) => basic.ca,
            None => self.certificate.version() != X509Version::V3,
        };
        let signs = self.extension(|one| match one {
            ParsedExtension::KeyUsage(usage) => Some(usage.flags == 0 || usage.key_cert_sign()),
            _ => None,
        });
        authority && signs.unwrap_or(true)
    }

    /// Whether the certificate may be used for servers, or for signing servers' certificates.
    pub fn serves(&self) -> bool {
        let usage = self.extension(|one| match one {
            ParsedExtension::ExtendedKeyUsage(usage) => Some(usage.any || usage.server_auth),
            _ => None,
        });
        usage.unwrap_or(true)
    }

    /// Object identifier of the first critical extension that Go does not know.
    pub fn unknown_critical(&self) -> Option<String> {
        let critical = self.certificate.extensions().iter().filter(|one| one.critical);
        let unknown = |one: &ParsedExtension<'_>| match one {
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::BasicConstraints(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::InhibitAnyPolicy(_) => false,
            ParsedExtension::SubjectAlternativeName(names) => !names.general_names.iter().any(is_known_name),
            ParsedExtension::NameConstraints(constraints) => {
                let all = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
                !all.into_iter()
                    .flatten()
                    .flatten()
                    .all(|subtree| is_known_name(&subtree.base))
            }
            _ => true,
        };
        critical
            .filter(|one| unknown(one.parsed_extension()))
            .map(|one| one.oid.to_id_string())
            .next()
    }

    /// The alternative names.
    pub fn names(&self) -> &[GeneralName<'a>] {
        let names = self
            .certificate
            .extensions()
            .iter()
            .find_map(|one| match one.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => Some(&*names.general_names),
                _ => None,
            });
        names.unwrap_or_default()
    }

    /// The name constraints of an authority.
    pub fn name_constraints(&self) -> Option<&NameConstraints<'a>> {
        self.certificate
            .extensions()
            .iter()
            .find_map(|one| match one.parsed_extension() {
                ParsedExtension::NameConstraints(constraints) => Some(constraints),
                _ => None,
            })
    }

    /// Whether the certificate has a policy.
    pub fn has_policy(&self) -> bool {
        let some = |policies: &CertificatePolicies<'_>| !policies.is_empty();
        self.extension(|one| match one {
            ParsedExtension::CertificatePolicies(policies) => Some(some(policies)),
            _ => None,
        })
        .unwrap_or(false)
    }

    /// Number of further certificates after which each must have a policy (RFC 5280 section 4.2.1.11).
    pub fn explicit_policy_after(&self) -> Option<usize> {
        let after = self.extension(|one| match one {
            ParsedExtension::PolicyConstraints(constraints) => constraints.require_explicit_policy,
            _ => None,
        })?;
        usize::try_from(after).ok()
    }

    /// Whether both certificates have the same subject, key and names. A chain may contain only one of them, because
    /// cross-signatures could otherwise make it endless.
    pub fn is_same(&self, other: &Self) -> bool {
        self.subject() == other.subject()
            && self.key.algorithm == other.key.algorithm
            && self.key.bits == other.key.bits
            && self.names() == other.names()
    }
}

/// Whether Go parses names of this kind.
fn is_known_name(name: &GeneralName<'_>) -> bool {
    matches!(
        name,
        GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::RFC822Name(_) | GeneralName::URI(_)
    )
}
