//! What a client says that it takes.

/// Whether an `Accept-Encoding` field accepts a coding (RFC 9110 section 12.5.3). Names are compared as written.
#[must_use]
pub fn accepts(field: &str, coding: &str) -> bool {
    let mut any = false;
    for part in field.split(',') {
        let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = parameters
            .split(';')
            .find_map(|parameter| parameter.trim().strip_prefix("q=")?.trim().parse::<f64>().ok())
            .unwrap_or(1.0);
        match name.trim() {
            known if known == coding => return weight > 0.0,
            "*" => any = weight > 0.0,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn a_coding_is_accepted_by_name_or_star_with_weight() {
        assert!(accepts("gzip, br", "br"));
        assert!(accepts("*", "gzip"));
        assert!(accepts("gzip;q=0.5", "gzip"));
        assert!(!accepts("gzip;q=0, *", "gzip"));
        assert!(!accepts("br", "gzip"));
        assert!(!accepts("*;q=0.0", "gzip"));
    }
}
