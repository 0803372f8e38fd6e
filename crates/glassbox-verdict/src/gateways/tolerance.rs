//! Which responses of a backend gateways accept. `tolerance.txt`, which `make tolerance` generates, contains what was
//! measured for each product and version with its default configuration.

mod table;
mod version;

use crate::conformance::{Feature, Features, Size};
use std::ops::Range;
use table::{Cell, Table};

/// What a gateway does with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It forwards status and body.
    Accepted,
    /// It forwards a different status or body, or aborts the transfer.
    Changed,
    /// It returns an error of its own, or closes the connection.
    Refused,
    /// Not measured, or the measured versions or attempts differ.
    Unknown,
}

/// The measured tolerance of one product, in one version or in all that may be in use.
#[derive(Clone, Debug)]
pub struct Tolerance {
    columns: Range<usize>,
    is_exact: bool,
}

/// Whether a gateway accepts a response, and why not.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The result for the whole response.
    pub acceptance: Acceptance,
    /// Everything in the response that the gateway does not accept, in the order of its bytes. For
    /// [`Acceptance::Unknown`]: everything that it may not accept.
    pub causes: Vec<Cause>,
}

/// One thing that a gateway does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Row of `tolerance.txt`.
    pub row: &'static str,
    /// Section of the specification; empty for limits.
    pub section: &'static str,
    /// Description, as a sentence.
    pub sentence: String,
    /// The bytes that show it. `None` for limits, which concern the whole response.
    pub at: Option<Range<usize>>,
    /// What the gateway does.
    pub acceptance: Acceptance,
}

impl Tolerance {
    /// The tolerance of a product. `version` is the text of a `Server` field, such as `1.22.1`. Between two measured
    /// versions, both neighbours count. Without a version, all measured versions count. `None` if the product was not
    /// measured.
    #[must_use]
    pub fn of(product: &str, version: Option<&str>) -> Option<Self> {
        let versions = Table::get().versions(product)?;
        let (columns, is_exact) = match version.and_then(version::parse) {
            Some(wanted) => version::neighbours(&versions, &wanted),
            None => (0..versions.len(), false),
        };
        let first = versions.first()?.column;
        Some(Self {
            columns: first + columns.start..first + columns.end,
            is_exact,
        })
    }

    /// Whether exactly this version was measured.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The measured versions that count, such as `nginx/1.22.1`.
    #[must_use]
    pub fn gateways(&self) -> &'static [&'static str] {
        &Table::get().gateways[self.columns.clone()]
    }

    /// What the gateway does with a response that has this feature and no other deviation.
    #[must_use]
    pub fn acceptance(&self, row: &str) -> Acceptance {
        let Some(cells) = Table::get().outcomes(row) else {
            return Acceptance::Unknown;
        };
        let mut cells = cells[self.columns.clone()].iter().map(Cell::acceptance);
        let first = cells.next().unwrap_or(Acceptance::Unknown);
        if cells.all(|cell| cell == first) {
            first
        } else {
            Acceptance::Unknown
        }
    }

    /// Whether all versions that count accept this size. `None` if they differ or the size was not measured.
    #[must_use]
    pub fn accepts_size(&self, row: &str, value: usize) -> Option<bool> {
        let limits = &Table::get().limits(row)?[self.columns.clone()];
        let mut accepted = limits.iter().map(|limit| limit.accepts(value));
        let first = accepted.next()??;
        accepted.all(|other| other == Some(first)).then_some(first)
    }

    /// Judges a whole response. A feature that is not measured makes the result unknown, unless another one is refused.
    #[must_use]
    pub fn judge(&self, found: &Features) -> Judgement {
        let features = found.features().iter().map(|feature| self.cause(feature));
        let sizes = found.sizes().iter().map(|size| self.size_cause(*size));
        let causes: Vec<Cause> = features.chain(sizes).flatten().collect();
        let worst = [Acceptance::Refused, Acceptance::Changed, Acceptance::Unknown];
        let mut worst = worst.into_iter();
        let acceptance = worst.find(|kind| causes.iter().any(|cause| cause.acceptance == *kind));
        let acceptance = acceptance.unwrap_or(Acceptance::Accepted);
        Judgement {
            acceptance,
            causes: causes
                .into_iter()
                .filter(|cause| cause.acceptance == acceptance)
                .collect(),
        }
    }

    fn cause(&self, feature: &Feature) -> Option<Cause> {
        let acceptance = self.acceptance(feature.row);
        let (section, sentence) = Table::get()
            .row(feature.row)
            .unwrap_or(("", "An unusual form, which was not measured."));
        (acceptance != Acceptance::Accepted).then(|| Cause {
            row: feature.row,
            section,
            sentence: sentence.to_owned(),
            at: Some(feature.at.clone()),
            acceptance,
        })
    }

    fn size_cause(&self, size: Size) -> Option<Cause> {
        let acceptance = match self.accepts_size(size.row, size.value) {
            Some(true) => return None,
            Some(false) => Acceptance::Refused,
            None => Acceptance::Unknown,
        };
        let unit = Table::get().limit_unit(size.row)?;
        Some(Cause {
            row: size.row,
            section: "",
            sentence: format!("{} {unit}.", size.value),
            at: None,
            acceptance,
        })
    }
}

/// The measured gateways that accept a response, such as `haproxy/2.6.12`.
#[must_use]
pub fn accepted_by(found: &Features) -> Vec<&'static str> {
    let gateways = Table::get().gateways.iter().enumerate();
    let accepting = gateways.filter(|(column, _)| {
        let one = Tolerance {
            columns: *column..column + 1,
            is_exact: true,
        };
        one.judge(found).acceptance == Acceptance::Accepted
    });
    accepting.map(|(_, name)| *name).collect()
}

/// Size of a response header, in bytes, that every measured version of a product accepts. A larger header may fail,
/// depending on the version and on the length of its lines. `None` for products without a measurement.
#[must_use]
pub fn head_limit(product: &str) -> Option<usize> {
    let all = Tolerance::of(product, None)?;
    let limits = ["line", "head"].into_iter().filter_map(|row| Table::get().limits(row));
    let sizes = limits.flat_map(|limits| limits[all.columns.clone()].iter().filter_map(|limit| limit.size()));
    sizes.min()
}

#[cfg(test)]
mod tests;
