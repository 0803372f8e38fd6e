//! Inspection: finds out what a server would choose after it has refused a handshake with the exporter's TLS library.
//!
//! That library has no cipher suites with CBC, no RSA key exchange and no TLS below 1.2. `blackbox_exporter` supports
//! some of them. So a refused handshake alone shows neither what the server supports nor what result
//! `blackbox_exporter` would get. The exporter therefore sends a `ClientHello` that this module builds. The first hello
//! offers every common version, suite and group, and the server's choice is evidence. If `blackbox_exporter` does not
//! offer this choice, the server may still accept something else. In this case, a second hello offers exactly what
//! `blackbox_exporter` offers. No handshake is completed.
//!
//! This module does no I/O; [`super::second_handshake`] opens the connections.

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
    /// The number on the wire.
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

/// The offer of `blackbox_exporter` 0.28 (built with Go 1.27) for a module with these versions, as observed on the
/// wire. `grpc`: the gRPC library offers no suites with CBC.
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
    /// Whether a choice was offered, and its parts are consistent.
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

/// Whether the exporter's first TLS library supports the server's choice. It supports all groups and signatures of the
/// offer.
pub fn is_of_rustls(chosen: &ServerChoice) -> bool {
    chosen.version >= Version::Tls12.wire()
        && (AEAD_SUITES.contains(&chosen.suite) || TLS13_SUITES.contains(&chosen.suite))
}

/// Conclusion from the server's responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `blackbox_exporter` would connect with this choice, but the exporter's own TLS library does not support it.
    Connects(ServerChoice),
    /// The exporter's own TLS library supports the server's choice, so the refusal had another cause.
    OtherCause(ServerChoice),
    /// The hello of `blackbox_exporter` must be sent.
    AskAgain,
    /// The server supports TLS, but also refuses the offer of `blackbox_exporter`.
    Mismatch(HelloResponse),
    /// The server refuses every version and suite, with an alert that does not indicate them as the cause.
    RefusesAll(u8),
    /// The responses allow no conclusion.
    Unknown(HelloResponse),
}

/// Decides from the response to [`everything`], and from the response to the offer of `blackbox_exporter` if it was
/// sent.
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
        // The server ignores the offer and chooses something that was not offered. A client would abort the handshake.
        (HelloResponse::Chosen(_), Some(HelloResponse::Alert(40 | 70 | 71) | HelloResponse::Chosen(_))) => {
            Decision::Mismatch(all.clone())
        }
        (_, Some(HelloResponse::Chosen(_))) => Decision::Mismatch(second.unwrap_or(all).clone()),
        // protocol_version, insufficient_security: the alert indicates the cause.
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

    /// The decision from a first choice alone.
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
            (0x0303, 0xC027), // CBC with SHA-256, which Go does not offer
            (0x0301, 0xC013), // too old
            (0x0302, 0xC02F), // authenticated encryption below TLS 1.2 does not exist
        ] {
            let all = HelloResponse::Chosen(chosen(version, suite, None, None));
            assert_eq!(decide(&offer, &all, None), Decision::AskAgain, "{suite:04x}");
            let refused = decide(&offer, &all, Some(&HelloResponse::Alert(40)));
            assert_eq!(refused, Decision::Mismatch(all.clone()));
            // A connection limit may have ended the second connection, and an internal error is not a choice.
            for unclear in [HelloResponse::Closed, HelloResponse::Alert(80)] {
                assert_eq!(decide(&offer, &all, Some(&unclear)), Decision::Unknown(all.clone()));
            }
            // It prefers another suite, and also accepts one of Go's.
            let other = chosen(0x0303, 0xC013, Some(23), Some(0x0804));
            let taken = decide(&offer, &all, Some(&HelloResponse::Chosen(other)));
            assert_eq!(taken, Decision::Connects(other));
            // A choice that was not offered is refused.
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
        // A hello that is too long for the server proves nothing about Go's hello.
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
