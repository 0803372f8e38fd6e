//! Lists whose entries have weights (RFC 9110 section 12.4.2).

/// Whether an `Accept-Encoding` field accepts a coding (RFC 9110 section 12.5.3). Names are compared as written.
#[must_use]
pub fn accepts(field: &str, coding: &str) -> bool {
    let mut any = false;
    for (range, weight) in ranges(field) {
        match range.split(';').next().unwrap_or_default().trim() {
            known if known == coding => return weight > 0.0,
            "*" => any = weight > 0.0,
            _ => {}
        }
    }
    any
}

/// The list entries with their weights; the default weight is 1.
#[must_use = "an iterator does nothing until it is used"]
pub fn ranges(field: &str) -> impl Iterator<Item = (&str, f64)> {
    field.split(',').map(|part| {
        let mut parameters = part.split(';').skip(1).map(str::trim);
        let weight = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim().parse::<f64>().ok()?;
            name.trim().eq_ignore_ascii_case("q").then_some(value.clamp(0.0, 1.0))
        });
        (part, weight.unwrap_or(1.0))
    })
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
