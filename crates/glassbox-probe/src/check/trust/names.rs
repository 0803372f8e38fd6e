//! Names in certificates: whether the target's name is among them, and whether the authorities above may sign for them.
//! Both checks follow Go's `crypto/x509`.

use super::parsed::ParsedCertificate;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use x509_parser::prelude::{GeneralName, NameConstraints};

/// Whether a certificate is valid for this name (RFC 9525, as Go implements it). The common name is ignored.
pub(super) fn is_for(certificate: &ParsedCertificate<'_>, name: &ServerName<'_>) -> bool {
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

/// Whether a name matches a pattern. A `*` matches exactly the first label.
fn matches(pattern: &str, name: &str) -> bool {
    let wildcard = pattern.strip_prefix("*.").filter(|rest| !rest.is_empty());
    match (wildcard, name.split_once('.')) {
        (Some(rest), Some((first, others))) => !first.is_empty() && rest.eq_ignore_ascii_case(others),
        _ => pattern.eq_ignore_ascii_case(name),
    }
}

/// Maximum number of comparisons of names with constraints in one search, as in Go (`MaxConstraintComparisions`): about
/// 10 ms of work.
pub(super) const COMPARISONS: usize = 250_000;

/// Cost of a comparison with a URI, whose host must be parsed first.
const URI_COMPARISONS: usize = 8;

/// Checks whether each authority in a chain may sign for the names of all certificates below it. The chain starts with
/// the server's certificate. Deducts the cost from `left`, the number of remaining comparisons.
///
/// # Errors
/// Returns an explanation if an authority may not sign for a name, if it has constraints of an unsupported kind, or if
/// the check needs too many comparisons.
pub(super) fn check_constraints(chain: &[&ParsedCertificate<'_>], left: &mut usize) -> Result<(), String> {
    for (place, authority) in chain.iter().enumerate() {
        let Some(constraints) = authority.name_constraints() else {
            continue;
        };
        let subtrees = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
        let subtrees: usize = subtrees.into_iter().flatten().map(Vec::len).sum();
        for name in chain[..place].iter().flat_map(|below| below.names()) {
            let each = if matches!(name, GeneralName::URI(_)) {
                URI_COMPARISONS
            } else {
                1
            };
            *left = left.checked_sub(subtrees * each).ok_or_else(|| {
                *left = 0;
                format!("the name constraints of its chain need more than {COMPARISONS} comparisons")
            })?;
            if !permits(constraints, name) {
                let authority = authority.subject_text();
                return Err(format!("{authority} is not allowed to sign for {}", text(name)));
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

/// Whether a name is not excluded and, if the constraints permit any names of its kind, is one of them (RFC 5280
/// section 4.2.1.10).
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

/// Whether a name is within a constraint. Returns `None` if they are of different kinds, and `if_unknown`, which leads
/// to a refusal, for a mail address or a URI that cannot be compared.
fn is_within(constraint: &GeneralName<'_>, name: &GeneralName<'_>, if_unknown: bool) -> Option<bool> {
    match (constraint, name) {
        // A wildcard must not match any excluded name.
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
        (GeneralName::RFC822Name(constraint), GeneralName::RFC822Name(name)) => {
            Some(is_mail_within(constraint, name).unwrap_or(if_unknown))
        }
        (GeneralName::URI(constraint), GeneralName::URI(name)) => {
            Some(host_of(name).map_or(if_unknown, |host| is_below(constraint, &host, false)))
        }
        _ => None,
    }
}

/// Whether a mail address is within a constraint, which is a mailbox, or a host with all its subdomains.
fn is_mail_within(constraint: &str, name: &str) -> Option<bool> {
    let (local, domain) = name.rsplit_once('@')?;
    Some(match constraint.rsplit_once('@') {
        Some((one, host)) => one == local && host.eq_ignore_ascii_case(domain),
        None => is_below(constraint, domain, false),
    })
}

/// The host of a URI. Returns `None` if there is no host, or if it is an address, which cannot be compared (RFC 5280
/// section 4.2.1.10).
fn host_of(uri: &str) -> Option<String> {
    let uri = url::Url::parse(uri).ok()?;
    let host = uri
        .host_str()
        .filter(|host| !host.is_empty() && !host.starts_with('['))?;
    host.parse::<IpAddr>().is_err().then(|| host.to_owned())
}

/// Whether a DNS name equals a constraint or is below it. If the constraint starts with a dot, the name must be below
/// it. `wide`: whether a `*` in the name matches any label.
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

#[cfg(test)]
mod tests {
    use super::{is_below, matches, permits};
    use x509_parser::extensions::GeneralSubtree;
    use x509_parser::prelude::{GeneralName, NameConstraints};

    #[test]
    fn mail_addresses_and_uris_are_compared_by_their_hosts() {
        let within = |constraint: GeneralName<'static>, name: GeneralName<'static>| {
            let one = |excluded: bool| NameConstraints {
                permitted_subtrees: (!excluded).then(|| {
                    vec![GeneralSubtree {
                        base: constraint.clone(),
                    }]
                }),
                excluded_subtrees: excluded.then(|| {
                    vec![GeneralSubtree {
                        base: constraint.clone(),
                    }]
                }),
            };
            (permits(&one(false), &name), permits(&one(true), &name))
        };
        let mail = |constraint, name| within(GeneralName::RFC822Name(constraint), GeneralName::RFC822Name(name));
        let uri = |constraint, name| within(GeneralName::URI(constraint), GeneralName::URI(name));
        let (inside, outside, unknown) = ((true, false), (false, true), (false, false));
        assert_eq!(mail("x.test", "a@x.test"), inside);
        assert_eq!(mail("a@x.test", "a@X.test"), inside);
        assert_eq!(mail("a@x.test", "b@x.test"), outside);
        assert_eq!(mail("x.test", "a@y.test"), outside);
        assert_eq!(mail("x.test", "nobody"), unknown);
        assert_eq!(uri("x.test", "spiffe://a.x.test/service"), inside);
        assert_eq!(uri(".x.test", "spiffe://x.test/service"), outside);
        assert_eq!(uri("x.test", "https://y.test:443/"), outside);
        assert_eq!(uri("x.test", "https://192.0.2.1/"), unknown);
        assert_eq!(uri("x.test", "urn:x.test"), unknown);
    }

    #[test]
    fn a_wildcard_is_one_label() {
        assert!(matches("app.example", "app.example") && matches("APP.example", "app.EXAMPLE"));
        assert!(matches("*.example", "app.example") && matches("*.Example", "app.example"));
        assert!(matches("app_1.example", "app_1.example"));
        for (pattern, name) in [
            ("app.example", "example"),
            ("*.example", "a.app.example"),
            ("*.example", "example"),
            ("*.example", ".example"),
            ("*", "localhost"),
            ("*.", "localhost"),
            ("a*.example", "app.example"),
            ("app.*", "app.example"),
            ("", "example"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn names_lie_below_a_constraint_by_whole_labels() {
        for (constraint, name) in [
            ("example", "example"),
            ("example", "app.example"),
            ("Example", "app.eXample"),
            (".example", "app.example"),
            ("", "anything"),
        ] {
            assert!(is_below(constraint, name, false), "{constraint} {name}");
        }
        for (constraint, name) in [
            ("example", "bad-example"),
            (".example", "example"),
            ("app.example", "example"),
            ("app.example", "*.example"),
        ] {
            assert!(!is_below(constraint, name, false), "{constraint} {name}");
        }
        assert!(is_below("app.example", "*.example", true));
    }

    #[test]
    fn what_is_excluded_or_not_permitted_is_refused() {
        let subtree = |base| vec![GeneralSubtree { base }];
        let constraints =
            |permitted: Option<GeneralName<'static>>, excluded: Option<GeneralName<'static>>| NameConstraints {
                permitted_subtrees: permitted.map(subtree),
                excluded_subtrees: excluded.map(subtree),
            };
        let (app, network) = (
            GeneralName::DNSName("app.example"),
            GeneralName::IPAddress(&[10, 0, 0, 0, 255, 0, 0, 0]),
        );
        let (address, other_address) = (
            GeneralName::IPAddress(&[10, 1, 2, 3]),
            GeneralName::IPAddress(&[11, 1, 2, 3]),
        );
        let six = GeneralName::IPAddress(&[0; 16]);
        let permitted = constraints(Some(GeneralName::DNSName("example")), None);
        assert!(permits(&permitted, &app) && !permits(&permitted, &GeneralName::DNSName("app.test")));
        // There are no constraints for other kinds.
        assert!(permits(&permitted, &address));
        let excluded = constraints(None, Some(GeneralName::DNSName("example")));
        assert!(!permits(&excluded, &app) && permits(&excluded, &GeneralName::DNSName("app.test")));
        let within = constraints(Some(network.clone()), None);
        assert!(permits(&within, &address) && !permits(&within, &other_address) && !permits(&within, &six));
        let without = constraints(None, Some(network));
        assert!(!permits(&without, &address) && permits(&without, &other_address));
        let mail = GeneralName::RFC822Name("a@example");
        let all = constraints(Some(GeneralName::RFC822Name("example")), None);
        let none = constraints(None, Some(GeneralName::RFC822Name("example")));
        assert!(permits(&all, &mail) && !permits(&none, &mail) && permits(&all, &app));
        // A constraint with an invalid length.
        let odd = constraints(Some(GeneralName::IPAddress(&[10, 0, 0, 0, 255])), None);
        assert!(!permits(&odd, &address));
    }
}
