//! A strict parser of the text format. It rejects everything unknown.

use std::collections::{BTreeMap, HashSet};

/// The series of a page, by name with labels as written.
#[derive(Debug)]
pub struct Page {
    series: BTreeMap<String, f64>,
}

impl Page {
    /// Parses a page. Every series must be unique and follow the `# TYPE` of its family.
    pub fn parse(text: &str) -> Self {
        let mut series = BTreeMap::new();
        let mut families = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(families.insert(name.to_owned()), "duplicate family {name}");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
            let family = name.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| family.strip_suffix(suffix).filter(|base| families.contains(*base)))
                .unwrap_or(family);
            assert!(families.contains(base), "{line:?} belongs to no declared family");
            let value = value.replace("+Inf", "inf").parse().unwrap();
            assert!(
                series.insert(name.to_owned(), value).is_none(),
                "duplicate series {name}"
            );
        }
        Self { series }
    }

    /// Value of a series, which must exist: `name` or `name{label="value"}`.
    pub fn value(&self, series: &str) -> f64 {
        self.find(series)
            .unwrap_or_else(|| panic!("{series} is not in {:#?}", self.series))
    }

    /// Value of a series, if it exists.
    pub fn find(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The series that start with a text.
    pub fn starting(&self, start: &str) -> impl Iterator<Item = (&str, f64)> {
        self.series
            .iter()
            .filter(move |(name, _)| name.starts_with(start))
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }
}
