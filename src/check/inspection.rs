//! Inspection: what would a server choose that refused a handshake of this exporter's TLS library?
//!
//! That library has no cipher suites with CBC, no RSA key exchange and no TLS below 1.2; `blackbox_exporter` has some of
//! them. So a refused handshake alone says neither what the server speaks nor what `blackbox_exporter` would make of it. A
//! `ClientHello` that is written by hand finds out: the first offers every usual version, suite and group, and what the server
//! chooses is evidence. Where that is something that `blackbox_exporter` does not offer, the server may prefer it and take
//! something else, too: then a second hello offers exactly what `blackbox_exporter` offers. No handshake is finished.
//!
//! All of this is pure; [`super::second_handshake`] does the dialling.

mod client_hello;
mod hello_response;
mod suites;

pub use super::tls::TlsVersion as Version;
pub use client_hello::{HelloOffer, Randomness};
pub use hello_response::{HelloResponse, Reader, ServerChoice};
pub use suites::alert_name;
#[cfg(feature = "legacy-tls")]
pub use suites::group_name;

use suites::{AEAD_SUITES, CBC_SUITES, GROUPS, GROUPS_OF_GO, OTHER_SIGNATURES, SIGNATURES_OF_GO, SUITES, TLS13_SUITES};

impl Version {
    /// As on the wire.
    #[must_use]
    pub const fn wire(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// Every version, suite and group that servers are known to choose.
pub fn everything() -> HelloOffer {
    HelloOffer {
        min: Version::Tls10,
        max: Version::Tls13,
        suites: SUITES.iter().map(|(number, _)| *number).collect(),
        groups: GROUPS.iter().map(|(number, _)| *number).collect(),
        signatures: [&SIGNATURES_OF_GO[..], &OTHER_SIGNATURES].concat(),
        padded: true,
    }
}

/// What `blackbox_exporter` 0.28 (built with Go 1.27) offers for a module of these versions: as seen on the wire.
/// Its gRPC library (`grpc`) has no suite with CBC.
pub fn of_blackbox_exporter(min: Version, max: Version, grpc: bool) -> HelloOffer {
    let mut suites = Vec::new();
    if max >= Version::Tls12 && min <= Version::Tls12 {
        suites.extend(AEAD_SUITES);
    }
    if min <= Version::Tls12 && !grpc {
        suites.extend(CBC_SUITES);
    }
    if max >= Version::Tls13 {
        suites.extend(TLS13_SUITES);
    }
    HelloOffer {
        min,
        max,
        suites,
        groups: GROUPS.iter().map(|(number, _)| *number).take(GROUPS_OF_GO).collect(),
        signatures: SIGNATURES_OF_GO.to_vec(),
        padded: false,
    }
}

impl HelloOffer {
    /// Whether a choice is one of what was offered, and fits together.
    pub fn holds(&self, chosen: &ServerChoice) -> bool {
        let version = (self.min.wire()..=self.max.wire()).contains(&chosen.version);
        let is_tls13 = TLS13_SUITES.contains(&chosen.suite);
        let fits = match chosen.version {
            0x0304 => is_tls13,
            0x0303 => !is_tls13,
            _ => !is_tls13 && !AEAD_SUITES.contains(&chosen.suite),
        };
        version
            && fits
            && self.suites.contains(&chosen.suite)
            && chosen.group.is_none_or(|group| self.groups.contains(&group))
            && chosen
                .signature
                .is_none_or(|signature| self.signatures.contains(&signature))
    }
}

/// Whether this exporter's first TLS library can do what the server chose of the offer: it has all groups and signatures of it.
pub fn is_of_rustls(chosen: &ServerChoice) -> bool {
    chosen.version >= Version::Tls12.wire()
        && (AEAD_SUITES.contains(&chosen.suite) || TLS13_SUITES.contains(&chosen.suite))
}

/// What follows from the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `blackbox_exporter` would connect with this, which the exporter's own TLS library does not have.
    Connects(ServerChoice),
    /// The server takes what the exporter's own TLS library has: its refusal had another cause.
    OtherCause(ServerChoice),
    /// The hello of `blackbox_exporter` is to be sent.
    AskAgain,
    /// The server speaks TLS, and refuses what `blackbox_exporter` offers as well.
    Mismatch(HelloResponse),
    /// The server refuses every version and suite, and does not say that this is about them.
    RefusesAll(u8),
    /// The answers do not tell.
    Unknown(HelloResponse),
}

/// Decides from the answer to [`everything`], and from the answer to the offer of `blackbox_exporter` where that was sent.
pub fn decide(offer: &HelloOffer, all: &HelloResponse, second: Option<&HelloResponse>) -> Decision {
    let connects = |chosen: &ServerChoice| {
        if is_of_rustls(chosen) {
            Decision::OtherCause(*chosen)
        } else {
            Decision::Connects(*chosen)
        }
    };
    match (all, second) {
        (HelloResponse::Chosen(chosen), _) | (_, Some(HelloResponse::Chosen(chosen))) if offer.holds(chosen) => {
            connects(chosen)
        }
        (HelloResponse::Chosen(_) | HelloResponse::Alert(_), None) => Decision::AskAgain,
        // A server that is not asked politely takes what was not offered: that would be refused.
        (HelloResponse::Chosen(_), Some(HelloResponse::Alert(40 | 70 | 71) | HelloResponse::Chosen(_))) => {
            Decision::Mismatch(all.clone())
        }
        (_, Some(HelloResponse::Chosen(_))) => Decision::Mismatch(second.unwrap_or(all).clone()),
        // protocol_version, insufficient_security: it says so itself.
        (HelloResponse::Alert(_), Some(says @ HelloResponse::Alert(70 | 71))) => Decision::Mismatch(says.clone()),
        (HelloResponse::Alert(alert), Some(HelloResponse::Alert(_))) => Decision::RefusesAll(*alert),
        (all, _) => Decision::Unknown(all.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, HelloResponse, ServerChoice, Version, decide, of_blackbox_exporter};

    fn chosen(version: u16, suite: u16, group: Option<u16>, signature: Option<u16>) -> ServerChoice {
        ServerChoice {
            version,
            suite,
            group,
            signature,
            client_cert_asked: false,
        }
    }

    /// What is decided of a first choice alone.
    fn of(min: Version, max: Version, chosen: ServerChoice) -> Decision {
        decide(
            &of_blackbox_exporter(min, max, false),
            &HelloResponse::Chosen(chosen),
            None,
        )
    }

    use Version::{Tls10, Tls11, Tls12, Tls13};

    #[test]
    fn blackbox_exporter_connects_to_what_it_offers() {
        let cbc = chosen(0x0303, 0xC014, Some(23), Some(0x0401));
        assert_eq!(of(Tls12, Tls13, cbc), Decision::Connects(cbc));
        assert_eq!(of(Tls13, Tls13, cbc), Decision::AskAgain);
        let old = chosen(0x0301, 0xC013, Some(29), None);
        assert_eq!(of(Tls12, Tls13, old), Decision::AskAgain);
        assert_eq!(of(Tls11, Tls13, old), Decision::AskAgain);
        assert_eq!(of(Tls10, Tls13, old), Decision::Connects(old));
    }

    #[test]
    fn what_the_library_has_is_refused_for_another_cause() {
        for usual in [
            chosen(0x0303, 0xC02F, Some(23), Some(0x0804)),
            chosen(0x0304, 0x1303, Some(29), None),
            chosen(0x0303, 0xC02F, Some(25), Some(0x0804)),
            chosen(0x0304, 0x1301, Some(25), None),
            chosen(0x0303, 0xC02F, Some(29), Some(0x0201)),
        ] {
            assert_eq!(of(Tls12, Tls13, usual), Decision::OtherCause(usual));
        }
    }

    #[test]
    fn what_is_not_offered_needs_a_second_answer() {
        let offer = of_blackbox_exporter(Tls12, Tls13, false);
        for (version, suite) in [
            (0x0303, 0x002F), // RSA key exchange
            (0x0303, 0x009C), // the same with GCM
            (0x0303, 0x0033), // DHE
            (0x0303, 0xC012), // 3DES
            (0x0303, 0xC027), // CBC with SHA-256, which Go leaves out
            (0x0301, 0xC013), // too old
            (0x0302, 0xC02F), // authenticated encryption below TLS 1.2 does not exist
        ] {
            let all = HelloResponse::Chosen(chosen(version, suite, None, None));
            assert_eq!(decide(&offer, &all, None), Decision::AskAgain, "{suite:04x}");
            let refused = decide(&offer, &all, Some(&HelloResponse::Alert(40)));
            assert_eq!(refused, Decision::Mismatch(all.clone()));
            // A limit of connections may have ended the second one, and an internal error is no choice.
            for unclear in [HelloResponse::Closed, HelloResponse::Alert(80)] {
                assert_eq!(decide(&offer, &all, Some(&unclear)), Decision::Unknown(all.clone()));
            }
            // It prefers another suite, and takes one of Go's, too.
            let other = chosen(0x0303, 0xC013, Some(23), Some(0x0804));
            let taken = decide(&offer, &all, Some(&HelloResponse::Chosen(other)));
            assert_eq!(taken, Decision::Connects(other));
            // What was not offered is refused.
            let forced = HelloResponse::Chosen(chosen(0x0303, 0x0005, None, None));
            assert!(matches!(decide(&offer, &all, Some(&forced)), Decision::Mismatch(_)));
        }
    }

    #[test]
    fn grpc_has_no_cbc() {
        let cbc = HelloResponse::Chosen(chosen(0x0303, 0xC013, Some(23), Some(0x0804)));
        let decided = decide(&of_blackbox_exporter(Tls12, Tls13, true), &cbc, None);
        assert_eq!(decided, Decision::AskAgain);
    }

    #[test]
    fn an_alert_to_everything_is_about_versions_only_where_it_says_so() {
        let offer = of_blackbox_exporter(Tls12, Tls13, false);
        let twice = |alert| decide(&offer, &HelloResponse::Alert(alert), Some(&HelloResponse::Alert(alert)));
        assert_eq!(decide(&offer, &HelloResponse::Alert(40), None), Decision::AskAgain);
        assert_eq!(twice(70), Decision::Mismatch(HelloResponse::Alert(70)));
        for other in [40, 80, 112, 50] {
            assert_eq!(twice(other), Decision::RefusesAll(other));
        }
        // A hello that is too long for the server says nothing of Go's.
        let cbc = chosen(0x0303, 0xC013, Some(23), Some(0x0804));
        let taken = decide(&offer, &HelloResponse::Alert(50), Some(&HelloResponse::Chosen(cbc)));
        assert_eq!(taken, Decision::Connects(cbc));
    }

    #[test]
    fn what_is_no_answer_decides_nothing() {
        let offer = of_blackbox_exporter(Tls12, Tls13, false);
        for none in [HelloResponse::Closed, HelloResponse::NotTls] {
            assert_eq!(decide(&offer, &none, None), Decision::Unknown(none.clone()));
        }
        let mixed = decide(&offer, &HelloResponse::Alert(40), Some(&HelloResponse::Closed));
        assert_eq!(mixed, Decision::Unknown(HelloResponse::Alert(40)));
    }
}
