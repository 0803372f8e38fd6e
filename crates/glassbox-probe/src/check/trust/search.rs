//! Searches for a chain from a server's certificate to a trusted one, like Go's `Certificate.Verify`.
//!
//! webpki runs first and is sufficient for almost all servers. It rejects some chains that Go accepts: more than six
//! intermediates, server certificates that are marked as an authority, `anyExtendedKeyUsage`, X.509 v1 roots, and keys
//! and signatures that ring does not support. In these cases this search starts at the server's certificate and goes
//! upwards through every certificate whose subject is the issuer of the certificate below it:
//!
//! ```text
//! leaf ─► authority sent by the server ─► … ─► trusted certificate
//!     └─► another of the same name ──────► …
//! ```
//!
//! Each step costs at least 1 unit of `BUDGET`, and more for a slow signature. Each comparison of a name with a
//! constraint costs 1 unit of `COMPARISONS`. These budgets limit the duration of a search for any input.

use super::super::refusal::Refusal;
use super::super::signatures::{BUDGET, SignatureFlaw, verify_certificate};
use super::Root;
use super::names::{COMPARISONS, check_constraints, is_for};
use super::parsed::ParsedCertificate;
use rustls::pki_types::{CertificateDer, ServerName};

/// Flaw of a chain, from the least to the most informative.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChainFlaw {
    /// The chain does not lead to a trusted authority.
    UnknownAuthority,
    /// The chain leads to an authority that has the signer's name but a different key.
    WrongSignature,
    /// Description of any other flaw.
    Invalid(String),
    NotYetValid(i64),
    Expired(i64),
    /// The exporter cannot verify a signature. The chain may be valid.
    NotSupported(String),
}

/// The budget is spent.
struct Exhausted;

/// State of a running search.
struct Search<'s> {
    roots: &'s [Root],
    /// The server's certificate, followed by the certificates sent with it.
    sent: &'s [ParsedCertificate<'s>],
    now: i64,
    budget: u32,
    /// Remaining comparisons of names with constraints.
    comparisons: usize,
    /// Expiry time of the chain that expires last.
    until: Option<i64>,
    flaw: ChainFlaw,
}

/// Why no chain was found.
pub(super) struct NoChain {
    pub refusal: Refusal,
    /// Whether the search reached one of its limits. In this case another verifier's result proves nothing about Go's.
    pub at_bound: bool,
}

/// Verifies a chain for a name. Returns the earliest expiry time in the chain. If there are several chains, the one
/// that expires last counts.
///
/// # Errors
/// Fails if there is no valid chain, or the budget was spent before one was found.
pub(super) fn search(
    roots: &[Root],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: i64,
) -> Result<i64, NoChain> {
    let refused = |refusal| NoChain {
        refusal,
        at_bound: false,
    };
    let unreadable = || refused(Refusal::invalid("it cannot be read".to_owned()));
    let mut sent = vec![ParsedCertificate::new(leaf).ok_or_else(unreadable)?];
    // Go fails a handshake with any certificate that it cannot parse. This search skips the certificate.
    sent.extend(intermediates.iter().filter_map(|der| ParsedCertificate::new(der)));
    let mut search = Search {
        roots,
        sent: &sent,
        now,
        budget: BUDGET,
        comparisons: COMPARISONS,
        until: None,
        flaw: ChainFlaw::UnknownAuthority,
    };
    let trusted = roots.iter().any(|root| root.der == *leaf);
    let exhausted = match usable(&sent[0], now) {
        Err(flaw) => {
            search.flaw = flaw;
            false
        }
        Ok(()) if trusted => {
            search.finish(&[&sent[0]]);
            false
        }
        Ok(()) => search.climb(&mut vec![0]).is_err(),
    };
    match search.until {
        Some(until) if is_for(&sent[0], name) => Ok(until),
        Some(_) => Err(refused(Refusal::wrong_name(leaf))),
        None if exhausted => Err(NoChain {
            refusal: Refusal::invalid("its chain exceeds the signature checks allowed for one handshake".to_owned()),
            at_bound: true,
        }),
        None => Err(match search.flaw {
            ChainFlaw::NotSupported(how) => NoChain {
                refusal: Refusal::not_supported(&how),
                at_bound: true,
            },
            ChainFlaw::Expired(at) => refused(Refusal::expired(at)),
            ChainFlaw::NotYetValid(at) => refused(Refusal::not_yet_valid(at)),
            ChainFlaw::Invalid(words) => refused(Refusal::invalid(words)),
            ChainFlaw::WrongSignature => refused(Refusal::untrusted_issuer(leaf)),
            ChainFlaw::UnknownAuthority => refused(Refusal::unknown_authority(leaf)),
        }),
    }
}

/// Checks that apply to every certificate in a chain.
fn usable(certificate: &ParsedCertificate<'_>, now: i64) -> Result<(), ChainFlaw> {
    if let Some(oid) = certificate.unknown_critical() {
        return Err(ChainFlaw::Invalid(format!(
            "the critical extension {oid} is not supported"
        )));
    }
    let (from, until) = certificate.dates();
    if now < from {
        return Err(ChainFlaw::NotYetValid(from));
    }
    if now > until {
        return Err(ChainFlaw::Expired(until));
    }
    Ok(())
}

impl Search<'_> {
    /// Extends a chain from its last certificate: to each trusted certificate, then to each certificate that was sent.
    fn climb(&mut self, chain: &mut Vec<usize>) -> Result<(), Exhausted> {
        let Some(&last) = chain.last() else {
            return Ok(());
        };
        let (roots, sent) = (self.roots, self.sent);
        let issuer = sent[last].issuer();
        for root in roots.iter().filter(|root| root.subject == issuer) {
            let Some(root) = ParsedCertificate::new(&root.der) else {
                continue;
            };
            if self.follows(chain, &root, false)? {
                let mut whole: Vec<&ParsedCertificate<'_>> = chain.iter().map(|place| &sent[*place]).collect();
                whole.push(&root);
                self.finish(&whole);
            }
        }
        for place in (1..sent.len()).filter(|place| sent[*place].subject() == issuer) {
            if self.follows(chain, &sent[place], true)? {
                chain.push(place);
                self.climb(chain)?;
                chain.pop();
            }
        }
        Ok(())
    }

    /// Whether a certificate may come next in a chain.
    fn follows(&mut self, chain: &[usize], next: &ParsedCertificate<'_>, between: bool) -> Result<bool, Exhausted> {
        self.budget = self.budget.checked_sub(1).ok_or(Exhausted)?;
        if chain.iter().any(|place| self.sent[*place].is_same(next)) {
            return Ok(false);
        }
        match self.signed_by(chain, next, between) {
            Ok(()) => Ok(true),
            Err(None) => Err(Exhausted),
            Err(Some(flaw)) => {
                self.flaw = self.flaw.clone().max(flaw);
                Ok(false)
            }
        }
    }

    /// Whether `next` signed the last certificate. Returns no flaw if the budget is spent.
    fn signed_by(
        &mut self,
        chain: &[usize],
        next: &ParsedCertificate<'_>,
        between: bool,
    ) -> Result<(), Option<ChainFlaw>> {
        let invalid = |words: String| Some(ChainFlaw::Invalid(words));
        let below = chain.last().map(|place| &self.sent[*place]);
        let (tbs, algorithm, signature) = below
            .and_then(ParsedCertificate::signed)
            .ok_or(Some(ChainFlaw::UnknownAuthority))?;
        verify_certificate(&next.key, algorithm, tbs, signature, &mut self.budget).map_err(|flaw| match flaw {
            SignatureFlaw::Wrong => Some(ChainFlaw::WrongSignature),
            SignatureFlaw::Refused(how) => invalid(format!("a signature in its chain is not accepted: {how}")),
            SignatureFlaw::NotSupported(how) => Some(ChainFlaw::NotSupported(how)),
            SignatureFlaw::TooExpensive => None,
        })?;
        if !next.may_sign() || (between && !next.is_authority()) {
            return Err(invalid(format!(
                "{} is not allowed to sign certificates",
                next.subject_text()
            )));
        }
        usable(next, self.now)?;
        match next.path_length() {
            // The first certificate of the chain is the server's.
            Some(most) if chain.len() - 1 > most => {
                let words = format!("{} allows up to {most} intermediates below it", next.subject_text());
                Err(invalid(words))
            }
            _ => Ok(()),
        }
    }

    /// Checks a chain that has reached a trusted certificate.
    fn finish(&mut self, chain: &[&ParsedCertificate<'_>]) {
        let flaw = if let Some(other) = chain.iter().find(|one| !one.serves()) {
            format!(
                "the extended key usage of {} does not allow server authentication",
                other.subject_text()
            )
        } else if !has_policies(chain) {
            "its chain requires a policy that some of its certificates lack".to_owned()
        } else if let Err(words) = check_constraints(chain, &mut self.comparisons) {
            words
        } else {
            let until = chain.iter().map(|one| one.dates().1).min();
            self.until = self.until.max(until);
            return;
        };
        self.flaw = self.flaw.clone().max(ChainFlaw::Invalid(flaw));
    }
}

/// Whether each certificate below one that requires a policy has a policy. The policies are not compared, because the
/// exporter accepts any policy.
fn has_policies(chain: &[&ParsedCertificate<'_>]) -> bool {
    let Some((_root, below)) = chain.split_last() else {
        return true;
    };
    let (mut demanded_after, mut all) = (chain.len(), true);
    for (place, one) in below.iter().enumerate().rev() {
        all &= one.has_policy();
        if demanded_after == 0 && !all {
            return false;
        }
        if place > 0 && one.subject() != one.issuer() {
            demanded_after = demanded_after.saturating_sub(1);
        }
        // The server's own requirement counts only if it is 0.
        match one.explicit_policy_after() {
            Some(after) if place > 0 || after == 0 => demanded_after = demanded_after.min(after),
            _ => {}
        }
    }
    demanded_after > 0 || all
}

#[cfg(test)]
mod tests {
    use super::super::Root;
    use super::{NoChain, search};
    use glassbox_verdict::reason::Reason;
    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer,
        KeyPair, NameConstraints, SanType, date_time_ymd,
    };
    use rustls::pki_types::{CertificateDer, ServerName};

    const IN_2020: i64 = 1_590_000_000;

    fn named(common: &str) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params
    }

    fn authority(common: &str) -> CertificateParams {
        let mut params = named(common);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn server() -> CertificateParams {
        let mut params = CertificateParams::new(["app.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
    }

    fn issuer(params: CertificateParams, key: &KeyPair) -> Issuer<'_, &KeyPair> {
        Issuer::new(params, key)
    }

    fn found(roots: &[&Certificate], leaf: &Certificate, sent: &[&Certificate]) -> Result<i64, NoChain> {
        let roots: Vec<Root> = roots
            .iter()
            .map(|root| Root::new(root.der().clone()).unwrap())
            .collect();
        let sent: Vec<CertificateDer<'_>> = sent.iter().map(|one| one.der().clone()).collect();
        search(
            &roots,
            leaf.der(),
            &sent,
            &ServerName::try_from("app.example").unwrap(),
            IN_2020,
        )
    }

    #[test]
    fn a_chain_is_found_among_strangers_in_any_order() {
        let keys: Vec<KeyPair> = (0..4).map(|_| KeyPair::generate().unwrap()).collect();
        let root = authority("root").self_signed(&keys[0]).unwrap();
        let by_root = issuer(authority("root"), &keys[0]);
        let upper = authority("upper").signed_by(&keys[1], &by_root).unwrap();
        let lower = authority("lower")
            .signed_by(&keys[2], &issuer(authority("upper"), &keys[1]))
            .unwrap();
        let stranger = authority("lower").signed_by(&keys[3], &by_root).unwrap();
        let leaf = server()
            .signed_by(&keys[3], &issuer(authority("lower"), &keys[2]))
            .unwrap();
        assert!(found(&[&root], &leaf, &[&stranger, &upper, &stranger, &lower]).is_ok());
        let missing = found(&[&root], &leaf, &[&stranger, &lower]).err().unwrap();
        assert_eq!(missing.refusal.reason, Reason::TlsCertAuthorityInvalid);
        assert!(!missing.at_bound);
        assert!(found(&[], &leaf, &[&upper, &lower]).is_err());
        // The trusted certificate may be in the middle of the chain that was sent.
        assert!(found(&[&upper], &leaf, &[&lower]).is_ok());
    }

    #[test]
    fn of_several_chains_the_one_that_ends_last_counts() {
        let keys: Vec<KeyPair> = (0..2).map(|_| KeyPair::generate().unwrap()).collect();
        let until = |common: &str, year| {
            let mut params = authority(common);
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
            params
        };
        let roots = [2030, 2050].map(|year| until("root", year).self_signed(&keys[0]).unwrap());
        let by_root = issuer(authority("root"), &keys[0]);
        let [early, late, past] =
            [2025, 2040, 2001].map(|year| until("between", year).signed_by(&keys[1], &by_root).unwrap());
        let mut params = server();
        params.not_after = date_time_ymd(2045, 1, 1);
        let leaf = params
            .signed_by(&keys[0], &issuer(authority("between"), &keys[1]))
            .unwrap();
        let end = |sent: &[&Certificate]| found(&[&roots[0], &roots[1]], &leaf, sent).ok();
        let in_2040 = 2_208_988_800;
        assert_eq!(end(&[&early, &late]), Some(in_2040));
        assert_eq!(end(&[&late, &past, &early]), Some(in_2040));
        assert_eq!(end(&[&early]), Some(1_735_689_600));
        let expired = found(&[&roots[1]], &leaf, &[&past]).err().unwrap();
        assert_eq!(expired.refusal.reason, Reason::TlsCertDateInvalid);
    }

    #[test]
    fn constraints_by_the_thousand_are_not_compared_with_names_by_the_thousand() {
        let keys: Vec<KeyPair> = (0..3).map(|_| KeyPair::generate().unwrap()).collect();
        let root = authority("root").self_signed(&keys[0]).unwrap();
        let judged = |count: usize| {
            let mut between = authority("between");
            let permitted = (0..count).map(|number| GeneralSubtree::DnsName(format!("{number}.example")));
            between.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted
                    .chain([GeneralSubtree::DnsName("app.example".into())])
                    .collect(),
                excluded_subtrees: vec![],
            });
            let between = between
                .signed_by(&keys[1], &issuer(authority("root"), &keys[0]))
                .unwrap();
            let mut params = server();
            let names = (0..count).map(|number| SanType::DnsName(format!("{number}.example").try_into().unwrap()));
            params.subject_alt_names.extend(names);
            let leaf = params
                .signed_by(&keys[2], &issuer(authority("between"), &keys[1]))
                .unwrap();
            found(&[&root], &leaf, &[&between])
        };
        assert!(judged(400).is_ok());
        let refused = judged(1000).err().unwrap().refusal;
        assert_eq!(refused.reason, Reason::TlsCertInvalid);
        assert!(
            refused.message.contains("more than 250000 comparisons"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_search_ends_at_its_bound() {
        let key = KeyPair::generate().unwrap();
        let root = authority("root").self_signed(&key).unwrap();
        let by_namesake = issuer(authority("same"), &key);
        // Each certificate is signed by each of the others, so every permutation is a path.
        let sent: Vec<Certificate> = (0..12)
            .map(|_| {
                authority("same")
                    .signed_by(&KeyPair::generate().unwrap(), &by_namesake)
                    .unwrap()
            })
            .collect();
        let mut sent: Vec<&Certificate> = sent.iter().collect();
        let leaf = server().signed_by(&key, &by_namesake).unwrap();
        // The first hundred are not signed by the key that signed the server's certificate. The last one is.
        let found_beyond = authority("same")
            .signed_by(&key, &issuer(authority("root"), &key))
            .unwrap();
        let many = [&sent[..]; 9].concat();
        let missed = found(&[&root], &leaf, &[&many[..], &[&found_beyond]].concat())
            .err()
            .unwrap();
        assert!(missed.at_bound);
        assert_eq!(missed.refusal.reason, Reason::TlsCertInvalid);
        assert!(
            missed.refusal.message.contains("signature checks"),
            "{}",
            missed.refusal.message
        );
        sent.push(&found_beyond);
        assert!(found(&[&root], &leaf, &sent).is_ok());
    }
}
