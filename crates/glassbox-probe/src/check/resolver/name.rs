//! Names for queries: the labels of the target's name, and the candidates that the search list adds.

use hickory_proto::rr::Name;

/// Maximum length of a name on the wire in bytes, including length bytes and the root label (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;

/// Maximum length of a label in bytes (RFC 1035 section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// Why a name is not valid for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name has an empty label: it contains two consecutive dots or starts with a dot")]
    EmptyLabel,
    #[error("a label of the name has more than 63 bytes")]
    LabelTooLong,
    #[error("the name has more than 253 bytes")]
    TooLong,
}

/// Parses a name. ASCII is accepted unchanged, because underscores, leading hyphens and slashes are in use (RFC 2317,
/// RFC 2782, RFC 6763). Other text is converted by IDNA (RFC 5891) if it can be a host name, and otherwise sent as
/// UTF-8 (RFC 6763 section 4.1.3).
pub(super) fn read(text: &str) -> Result<Name, NameError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_ascii() {
        return of_labels(text);
    }
    match idna::domain_to_ascii(text) {
        Ok(ascii) if text.chars().all(may_be_in_a_host_name) => of_labels(&ascii),
        _ => of_labels(text),
    }
}

fn may_be_in_a_host_name(char: char) -> bool {
    !char.is_ascii() || char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_')
}

fn of_labels(text: &str) -> Result<Name, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let labels = || text.split('.').map(str::as_bytes);
    if labels().any(<[u8]>::is_empty) {
        return Err(NameError::EmptyLabel);
    }
    if labels().any(|label| label.len() > LONGEST_LABEL) {
        return Err(NameError::LabelTooLong);
    }
    Name::from_labels(labels()).map_err(|_| NameError::TooLong)
}

/// Whether a name is absolute. The search list does not complete a name with a final dot.
pub(super) fn is_rooted(text: &str) -> bool {
    text.ends_with('.')
}

/// The names to query, in order (resolv.conf(5), `search` and `ndots`). A completed name that is too long is skipped.
///
/// # Errors
/// Fails if the name itself is not valid for a query.
pub(super) fn candidates(text: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, NameError> {
    let name = read(text)?;
    if is_rooted(text) {
        return Ok(vec![name]);
    }
    let completed = search.iter().filter_map(|suffix| append(&name, suffix));
    // Counts the dots of the original text, because IDNA keeps the number of labels.
    let has_enough_dots = text.matches('.').count() >= ndots;
    Ok(if has_enough_dots {
        std::iter::once(name.clone()).chain(completed).collect()
    } else {
        completed.chain([name.clone()]).collect()
    })
}

fn append(name: &Name, suffix: &Name) -> Option<Name> {
    let fits = name.len() + suffix.len() <= LONGEST_NAME;
    fits.then(|| Name::from_labels(name.iter().chain(suffix.iter())).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{NameError, candidates, read};

    fn wire(text: &str) -> Vec<Vec<u8>> {
        read(text).unwrap().iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn ascii_is_asked_as_written() {
        for text in [
            "node_exporter",
            "_sip._udp.example.test",
            "-a.example.test",
            "a-.example.test",
            "0/25.2.0.192.in-addr.arpa",
            "My Printer._ipp._tcp.example.test",
            "xn--zzzz-invalid.test",
            "UPPER.test",
            "12345",
            "*.example.test",
        ] {
            let labels: Vec<Vec<u8>> = text.split('.').map(|label| label.as_bytes().to_vec()).collect();
            assert_eq!(wire(text), labels, "{text}");
        }
    }

    #[test]
    fn other_scripts_are_converted_or_asked_as_utf_8() {
        assert_eq!(wire("bücher.test")[0], b"xn--bcher-kva");
        assert_eq!(wire("Café «1»._ipp.test")[0], "Café «1»".as_bytes());
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let long = "a".repeat(64);
        assert_eq!(read(&long), Err(NameError::LabelTooLong));
        assert!(read(&"a".repeat(63)).is_ok());
        let label = "a".repeat(49);
        let name = |labels: usize| vec![label.clone(); labels].join(".");
        assert!(read(&name(5)).is_ok());
        assert_eq!(read(&format!("{}.{}", name(5), "b".repeat(4))), Err(NameError::TooLong));
        assert!(read(&format!("{}.{}", name(5), "b".repeat(3))).is_ok());
        assert_eq!(read("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(read(".a"), Err(NameError::EmptyLabel));
        assert_eq!(read(""), Err(NameError::Empty));
        assert_eq!(read("."), Err(NameError::Empty));
    }

    #[test]
    fn the_search_list_completes_names_with_few_dots_first() {
        let search = [read("corp.test").unwrap(), read("test").unwrap()];
        let names = |text: &str, ndots| -> Vec<String> {
            let names = candidates(text, &search, ndots).unwrap();
            names.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("db", 1), ["db.corp.test.", "db.test.", "db."]);
        assert_eq!(names("db.prod", 1), ["db.prod.", "db.prod.corp.test.", "db.prod.test."]);
        assert_eq!(names("db.prod", 5), ["db.prod.corp.test.", "db.prod.test.", "db.prod."]);
        assert_eq!(names("db", 0), ["db.", "db.corp.test.", "db.test."]);
        assert_eq!(names("db.", 5), ["db."]);
        let long = vec!["a".repeat(49); 5].join(".");
        assert_eq!(names(&long, 9), [format!("{long}.")]);
    }
}
