//! Assertions on the records of one section of a response.

use go_regexp::Regexp;

/// `validate_answer_rrs` and similar keys: regular expressions that are matched against each record.
#[derive(Debug, Default)]
pub struct RecordRules {
    /// Fail if any record matches any of these.
    pub fail_if_matches: Vec<Regexp>,
    /// Fail unless every record matches all of these. This is what `fail_if_all_match_regexp` means in
    /// `blackbox_exporter`.
    pub fail_if_all_match: Vec<Regexp>,
    /// Fail unless there is a record and every record matches all of these.
    pub fail_if_not_matches: Vec<Regexp>,
    /// Fail unless a record matches one of these.
    pub fail_if_none_matches: Vec<Regexp>,
}

impl RecordRules {
    /// Which assertion on the section failed; `None` if all hold.
    pub(super) fn objection(&self, section: &str, records: &[String]) -> Option<String> {
        let found = |pattern: &Regexp, record: &String| pattern.is_match(record.as_bytes());
        let every = |patterns: &[Regexp]| {
            let mut pairs = records
                .iter()
                .flat_map(|record| patterns.iter().map(move |pattern| (pattern, record)));
            pairs.all(|(pattern, record)| found(pattern, record))
        };
        let any = |patterns: &[Regexp]| {
            patterns
                .iter()
                .any(|pattern| records.iter().any(|record| found(pattern, record)))
        };
        let missing =
            records.is_empty() && !(self.fail_if_not_matches.is_empty() && self.fail_if_none_matches.is_empty());
        let words = if missing {
            "contains no records, but the module expects some"
        } else if any(&self.fail_if_matches) {
            "contains a record that matches fail_if_matches_regexp"
        } else if !every(&self.fail_if_all_match) {
            "contains a record that does not match fail_if_all_match_regexp"
        } else if !every(&self.fail_if_not_matches) {
            "contains a record that does not match fail_if_not_matches_regexp"
        } else if !self.fail_if_none_matches.is_empty() && !any(&self.fail_if_none_matches) {
            "contains no record that matches fail_if_none_matches_regexp"
        } else {
            return None;
        };
        Some(format!("The {section} section {words}."))
    }
}

#[cfg(test)]
mod tests {
    use super::RecordRules;
    use go_regexp::Regexp;

    #[test]
    fn each_rule_has_the_peers_meaning() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Regexp::new(text).unwrap()).collect::<Vec<_>>();
        let records = ["a 1".to_owned(), "b 2".to_owned()];
        let fails = |rules: RecordRules, records: &[String]| rules.objection("answer", records).is_some();
        for (texts, matches, all, not, none) in [
            (&["a"][..], true, true, true, false),
            (&["[ab]"], true, false, false, false),
            (&["c"], false, true, true, true),
            (&["a", "b"], true, true, true, false),
            (&["[ab]", " "], true, false, false, false),
        ] {
            let rules = |matches: bool, all: bool, not: bool, none: bool| {
                let of = |is: bool| if is { patterns(texts) } else { Vec::new() };
                RecordRules {
                    fail_if_matches: of(matches),
                    fail_if_all_match: of(all),
                    fail_if_not_matches: of(not),
                    fail_if_none_matches: of(none),
                }
            };
            assert_eq!(fails(rules(true, false, false, false), &records), matches, "{texts:?}");
            assert_eq!(fails(rules(false, true, false, false), &records), all, "{texts:?}");
            assert_eq!(fails(rules(false, false, true, false), &records), not, "{texts:?}");
            assert_eq!(fails(rules(false, false, false, true), &records), none, "{texts:?}");
            // No records.
            assert!(!fails(rules(true, false, false, false), &[]));
            assert!(!fails(rules(false, true, false, false), &[]));
            assert!(fails(rules(false, false, true, false), &[]));
            assert!(fails(rules(false, false, false, true), &[]));
        }
    }
}
