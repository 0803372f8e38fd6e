//! The search for a chain from a server's certificate to a trusted one, as Go's `Certificate.Verify` does it.
//!
//! webpki is asked first, and is enough for almost all servers. It refuses some of what Go accepts: more than six intermediates,
//! certificates that say they are an authority, `anyExtendedKeyUsage`, X.509 v1 roots, keys and signatures that ring does not know.
//! There this search goes from the server's certificate upwards, over every certificate whose subject is the issuer below it:
//!
//! ```text
//! leaf ─► authority sent by the server ─► … ─► trusted certificate
//!     └─► another of the same name ──────► …
//! ```
//!
//! Every step costs: at least 1 of `BUDGET`, and more with a slow signature. So the time of a search has a bound, whatever was sent.

use super::super::signatures::{BUDGET, SignatureFlaw, verify_certificate};
use super::Root;
use super::names::{check_constraints, is_for};
use super::parsed::Parsed;
use super::refusal::Refusal;
use rustls::pki_types::{CertificateDer, ServerName};

/// What a chain must not have, from the least telling to the most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    /// It leads nowhere.
    UnknownAuthority,
    /// Anything else, in words.
    Invalid(String),
    NotYetValid(u64),
    Expired(u64),
    /// A signature that this exporter cannot verify. The chain may be right.
    NotSupported(String),
}

/// That the budget is spent.
struct Exhausted;

/// What is known of a search under way.
struct Search<'s> {
    roots: &'s [Root],
    /// The server's certificate, and what came with it.
    sent: &'s [Parsed<'s>],
    now: i64,
    budget: u32,
    /// The end of the chain that ends last.
    until: Option<i64>,
    flaw: Flaw,
}

/// Why no chain was found.
pub(super) struct NotFound {
    pub refusal: Refusal,
    /// Whether the search met a bound of this exporter's own: what anybody else says of the chain does not count then.
    pub at_bound: bool,
}

/// Verifies a chain for a name. Gives the end of its shortest-lived certificate; of several chains, that which ends last.
///
/// # Errors
/// When there is no such chain, or it was not found within the budget.
pub(super) fn search(
    roots: &[Root],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: i64,
) -> Result<i64, NotFound> {
    let refused = |refusal| NotFound {
        refusal,
        at_bound: false,
    };
    let unreadable = || refused(Refusal::invalid("it cannot be read".to_owned()));
    let mut sent = vec![Parsed::new(leaf).ok_or_else(unreadable)?];
    // Go refuses a handshake with any certificate that it cannot read; here it is left out.
    sent.extend(intermediates.iter().filter_map(|der| Parsed::new(der)));
    let mut search = Search {
        roots,
        sent: &sent,
        now,
        budget: BUDGET,
        until: None,
        flaw: Flaw::UnknownAuthority,
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
        None if exhausted => Err(NotFound {
            refusal: Refusal::invalid("its chain takes more signature checks than one handshake may".to_owned()),
            at_bound: true,
        }),
        None => Err(match search.flaw {
            Flaw::NotSupported(how) => NotFound {
                refusal: Refusal::not_supported(&how),
                at_bound: true,
            },
            Flaw::Expired(at) => refused(Refusal::expired(at)),
            Flaw::NotYetValid(at) => refused(Refusal::not_yet_valid(at)),
            Flaw::Invalid(words) => refused(Refusal::invalid(words)),
            Flaw::UnknownAuthority => refused(Refusal::unknown_authority(leaf)),
        }),
    }
}

/// What every certificate of a chain must be.
fn usable(certificate: &Parsed<'_>, now: i64) -> Result<(), Flaw> {
    if let Some(oid) = certificate.unknown_critical() {
        return Err(Flaw::Invalid(format!("the critical extension {oid} is not known")));
    }
    let (from, until) = certificate.dates();
    if now < from {
        return Err(Flaw::NotYetValid(from.unsigned_abs()));
    }
    if now > until {
        return Err(Flaw::Expired(until.unsigned_abs()));
    }
    Ok(())
}

impl<'s> Search<'s> {
    /// Goes on from the last certificate of a chain: to each trusted one, then to each that was sent.
    fn climb(&mut self, chain: &mut Vec<usize>) -> Result<(), Exhausted> {
        let Some(&last) = chain.last() else {
            return Ok(());
        };
        let (roots, sent) = (self.roots, self.sent);
        let issuer = sent[last].issuer();
        for root in roots.iter().filter(|root| root.subject == issuer) {
            let Some(root) = Parsed::new(&root.der) else {
                continue;
            };
            if self.follows(chain, &root, false)? {
                let mut whole: Vec<&Parsed<'_>> = chain.iter().map(|place| &sent[*place]).collect();
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
    fn follows(&mut self, chain: &[usize], next: &Parsed<'_>, between: bool) -> Result<bool, Exhausted> {
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

    /// The same; no flaw where the budget is spent.
    fn signed_by(&mut self, chain: &[usize], next: &Parsed<'_>, between: bool) -> Result<(), Option<Flaw>> {
        let invalid = |words: String| Some(Flaw::Invalid(words));
        let below = chain.last().map(|place| &self.sent[*place]);
        let (tbs, algorithm, signature) = below.and_then(Parsed::signed).ok_or(Some(Flaw::UnknownAuthority))?;
        verify_certificate(&next.key, algorithm, tbs, signature, &mut self.budget).map_err(|flaw| match flaw {
            SignatureFlaw::Wrong => Some(Flaw::UnknownAuthority),
            SignatureFlaw::Refused(how) => invalid(format!("a signature in its chain is not accepted: {how}")),
            SignatureFlaw::NotSupported(how) => Some(Flaw::NotSupported(how)),
            SignatureFlaw::TooExpensive => None,
        })?;
        if !next.may_sign() || (between && !next.is_authority()) {
            return Err(invalid(format!("{} may not sign certificates", next.subject_text())));
        }
        usable(next, self.now)?;
        match next.path_length() {
            // The first of the chain is the server's.
            Some(most) if chain.len() - 1 > most => {
                let words = format!("{} allows up to {most} intermediates below it", next.subject_text());
                Err(invalid(words))
            }
            _ => Ok(()),
        }
    }

    /// Judges a chain that has reached a trusted certificate.
    fn finish(&mut self, chain: &[&Parsed<'_>]) {
        let flaw = if let Some(other) = chain.iter().find(|one| !one.serves()) {
            format!(
                "the extended key usage of {} is not that of a server",
                other.subject_text()
            )
        } else if !has_policies(chain) {
            "its chain demands a policy that not all of it have".to_owned()
        } else if let Err(words) = check_constraints(chain) {
            words
        } else {
            let until = chain.iter().map(|one| one.dates().1).min();
            self.until = self.until.max(until);
            return;
        };
        self.flaw = self.flaw.clone().max(Flaw::Invalid(flaw));
    }
}

/// Whether each certificate names a policy, where one above it demands that. Which one is not compared: this exporter asks for
/// none, and so any is right.
fn has_policies(chain: &[&Parsed<'_>]) -> bool {
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
        // The server's own demand counts where it is 0.
        match one.explicit_policy_after() {
            Some(after) if place > 0 || after == 0 => demanded_after = demanded_after.min(after),
            _ => {}
        }
    }
    demanded_after > 0 || all
}
