//! Versions of gateways, and the measured versions nearest to one.

use std::ops::Range;

/// The numbers of a version.
pub(super) type Version = Vec<u32>;

/// One measured version of a product, and its column in the table.
pub(super) struct MeasuredVersion {
    pub column: usize,
    pub version: Version,
}

/// The leading numbers of a text such as `1.22.1` or `2.4.62 (Debian)`. `None` if there are none.
pub(super) fn parse(text: &str) -> Option<Version> {
    let numbers = text
        .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .next()?;
    let numbers: Result<Version, _> = numbers
        .split('.')
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect();
    numbers.ok().filter(|numbers| !numbers.is_empty())
}

/// Indices of the measured versions that count for a version, and whether it was measured itself. Between two measured
/// versions, both count. Before the first and after the last, the nearest counts. A version with fewer numbers, such as
/// `1.22`, stands for all of its releases.
pub(super) fn neighbours(measured: &[MeasuredVersion], wanted: &Version) -> (Range<usize>, bool) {
    let matching = |one: &MeasuredVersion| one.version.starts_with(wanted);
    if let Some(first) = measured.iter().position(matching) {
        let count = measured[first..].iter().take_while(|one| matching(one)).count();
        return (first..first + count, count == 1);
    }
    let after = measured
        .iter()
        .position(|one| one.version > *wanted)
        .unwrap_or(measured.len());
    let first = after.saturating_sub(1);
    (first..(after + 1).min(measured.len()).max(first + 1), false)
}
