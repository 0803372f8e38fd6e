//! The names that a certificate is for: whether the target's is among them, and whether the authorities above may sign for them.
//! Both follow Go's `crypto/x509`.

use super::parsed::Parsed;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use x509_parser::prelude::{GeneralName, NameConstraints};

/// Whether a certificate is for this name (RFC 9525, as Go reads it). The common name does not count.
pub(super) fn is_for(certificate: &Parsed<'_>, name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(name) => {
            let name = name.as_ref();
            let name = name.strip_suffix('.').unwrap_or(name);
            certificate
                .names()
                .iter()
                .any(|one| matches!(one, GeneralName::DNSName(pattern) if matches(pattern, name)))
        }
        ServerName::IpAddress(address) => {
            let address = octets((*address).into());
            certificate
                .names()
                .iter()
                .any(|one| matches!(one, GeneralName::IPAddress(own) if *own == address))
        }
        _ => false,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A `*` stands for the first label as a whole.
fn matches(pattern: &str, name: &str) -> bool {
    let wildcard = pattern.strip_prefix("*.").filter(|rest| !rest.is_empty());
    match (wildcard, name.split_once('.')) {
        (Some(rest), Some((first, others))) => !first.is_empty() && rest.eq_ignore_ascii_case(others),
        _ => pattern.eq_ignore_ascii_case(name),
    }
}

/// Whether each authority of a chain, the server's certificate first, may sign for the names of all certificates below it.
///
/// # Errors
/// In words, when one may not, or when it constrains names of a kind that is not compared here.
pub(super) fn check_constraints(chain: &[&Parsed<'_>]) -> Result<(), String> {
    for (place, authority) in chain.iter().enumerate() {
        let Some(constraints) = authority.name_constraints() else {
            continue;
        };
        for name in chain[..place].iter().flat_map(|below| below.names()) {
            if !permits(constraints, name) {
                let authority = authority.subject_text();
                return Err(format!("{authority} may not sign for {}", text(name)));
            }
        }
    }
    Ok(())
}

fn text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(octets), _) => IpAddr::from(octets).to_string(),
            (_, Ok(octets)) => IpAddr::from(octets).to_string(),
            _ => "an address".to_owned(),
        },
        _ => "a name".to_owned(),
    }
}

/// Whether a name is not excluded, and is permitted where anything of its kind is (RFC 5280 section 4.2.1.10).
fn permits(constraints: &NameConstraints<'_>, name: &GeneralName<'_>) -> bool {
    let within = |subtrees: &Option<Vec<_>>, if_unknown: bool| {
        let of_kind = subtrees
            .iter()
            .flatten()
            .filter_map(|subtree: &x509_parser::extensions::GeneralSubtree<'_>| {
                is_within(&subtree.base, name, if_unknown)
            });
        of_kind.collect::<Vec<bool>>()
    };
    let excluded = within(&constraints.excluded_subtrees, true);
    let permitted = within(&constraints.permitted_subtrees, false);
    !excluded.contains(&true) && (permitted.is_empty() || permitted.contains(&true))
}

/// Whether a name lies within a constraint; nothing where they are of different kinds. Mail addresses and URIs are not compared,
/// and count as `if_unknown`, which refuses them.
fn is_within(constraint: &GeneralName<'_>, name: &GeneralName<'_>, if_unknown: bool) -> Option<bool> {
    match (constraint, name) {
        // Of an excluded name, none may be below a wildcard.
        (GeneralName::DNSName(constraint), GeneralName::DNSName(name)) => Some(is_below(constraint, name, if_unknown)),
        (GeneralName::IPAddress(constraint), GeneralName::IPAddress(address)) => {
            let (network, mask) = constraint.split_at(constraint.len() / 2);
            let bits = address.iter().zip(network).zip(mask);
            let same = network.len() == address.len() && mask.len() == address.len();
            Some(
                same && bits
                    .into_iter()
                    .all(|((byte, network), mask)| byte & mask == network & mask),
            )
        }
        (GeneralName::RFC822Name(_), GeneralName::RFC822Name(_)) | (GeneralName::URI(_), GeneralName::URI(_)) => {
            Some(if_unknown)
        }
        _ => None,
    }
}

/// Whether a DNS name is a constraint's, or below it; strictly below where the constraint begins with a dot. `wide`: whether a `*`
/// in the name is any label.
fn is_below(constraint: &str, name: &str, wide: bool) -> bool {
    let (constraint, strictly) = match constraint.strip_prefix('.') {
        Some(rest) => (rest, true),
        None => (constraint, false),
    };
    if constraint.is_empty() {
        return true;
    }
    let (mut labels, mut own) = (constraint.rsplit('.'), name.rsplit('.'));
    let same = labels.all(|label| {
        own.next()
            .is_some_and(|own| own.eq_ignore_ascii_case(label) || (wide && own == "*"))
    });
    same && (!strictly || own.next().is_some())
}
