//! The measured table, parsed once.

use super::Acceptance;
use super::version::MeasuredVersion;
use std::sync::OnceLock;

const MEASURED: &str = include_str!("../tolerance.txt");

pub(super) struct Table {
    /// `product/version` of each column.
    pub gateways: Vec<&'static str>,
    rows: Vec<(&'static str, &'static str, &'static str)>,
    limit_units: Vec<(&'static str, &'static str)>,
    outcomes: Vec<(&'static str, Vec<Cell>)>,
    limits: Vec<(&'static str, Vec<Limit>)>,
}

/// The outcomes of one response and one gateway, such as `502~cut`.
#[derive(Clone, Copy)]
pub(super) struct Cell(&'static str);

/// The largest accepted size.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// Larger sizes are refused.
    AtMost(usize),
    /// The search ended here.
    AtLeast(usize),
    /// Not even the smallest size is accepted.
    Nothing,
    NotMeasured,
}

impl Cell {
    /// The kind of all its outcomes. Refused and changed together count as refused: the client does not receive the
    /// response.
    pub fn acceptance(&self) -> Acceptance {
        let kinds = || self.0.split('~').map(outcome);
        let accepted = kinds().filter(|kind| *kind == Acceptance::Accepted).count();
        if accepted > 0 && accepted < kinds().count() {
            return Acceptance::Unknown;
        }
        let has = |wanted: Acceptance| kinds().any(|kind| kind == wanted);
        let order = [Acceptance::Unknown, Acceptance::Refused, Acceptance::Changed];
        let worst = order.into_iter().find(|kind| has(*kind));
        worst.unwrap_or(Acceptance::Accepted)
    }
}

/// The kind of one outcome, as in `tests/gateway_tolerance/table.py`.
fn outcome(word: &str) -> Acceptance {
    match word {
        "ok" | "drop" | "edit" | "heal" => Acceptance::Accepted,
        "cut" | "less" | "more" | "other" | "raw" => Acceptance::Changed,
        "-" => Acceptance::Unknown,
        _ if word.starts_with("as-") => Acceptance::Changed,
        _ => Acceptance::Refused,
    }
}

impl Limit {
    fn read(text: &str) -> Self {
        if text == "none" {
            return Self::Nothing;
        }
        match text.strip_prefix(">=") {
            Some(number) => number.parse().map_or(Self::NotMeasured, Self::AtLeast),
            None => text.parse().map_or(Self::NotMeasured, Self::AtMost),
        }
    }

    /// The largest size that is known to be accepted.
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::AtMost(size) | Self::AtLeast(size) => Some(size),
            Self::Nothing => Some(0),
            Self::NotMeasured => None,
        }
    }

    /// Whether a size is accepted, if that is known.
    pub const fn accepts(self, value: usize) -> Option<bool> {
        match self {
            Self::AtMost(size) => Some(value <= size),
            Self::AtLeast(size) if value <= size => Some(true),
            Self::Nothing => Some(value == 0),
            Self::AtLeast(_) | Self::NotMeasured => None,
        }
    }
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(Self::read)
    }

    fn read() -> Self {
        let columns = |title| section(title).map(|line| line.split(" | "));
        let first_columns = |title| columns(title).map(|mut columns| columns.next().unwrap_or_default());
        Self {
            gateways: first_columns("gateways").collect(),
            rows: columns("rows")
                .filter_map(|mut row| Some((row.next()?, row.next()?, row.next()?)))
                .collect(),
            limit_units: columns("limits")
                .filter_map(|mut row| Some((row.next()?, row.next()?)))
                .collect(),
            outcomes: cells("outcomes", Cell),
            limits: cells("thresholds", Limit::read),
        }
    }

    /// The measured versions of a product, in ascending order. `None` if there are none.
    pub fn versions(&self, product: &str) -> Option<Vec<MeasuredVersion>> {
        let named = self.gateways.iter().enumerate().filter_map(|(column, name)| {
            let (name, version) = name.split_once('/')?;
            let version = super::version::parse(version)?;
            (name == product).then_some(MeasuredVersion { column, version })
        });
        let versions: Vec<_> = named.collect();
        (!versions.is_empty()).then_some(versions)
    }

    /// Section and sentence of a row.
    pub fn row(&self, id: &str) -> Option<(&'static str, &'static str)> {
        let (_, section, sentence) = self.rows.iter().find(|(row, ..)| *row == id)?;
        Some((section, sentence))
    }

    /// What a limit counts.
    pub fn limit_unit(&self, id: &str) -> Option<&'static str> {
        let (_, unit) = self.limit_units.iter().find(|(row, _)| *row == id)?;
        Some(unit)
    }

    pub fn outcomes(&self, id: &str) -> Option<&[Cell]> {
        let (_, cells) = self.outcomes.iter().find(|(row, _)| *row == id)?;
        Some(cells)
    }

    pub fn limits(&self, id: &str) -> Option<&[Limit]> {
        let (_, limits) = self.limits.iter().find(|(row, _)| *row == id)?;
        Some(limits)
    }
}

/// The lines of a section.
fn section(title: &str) -> impl Iterator<Item = &'static str> {
    let lines = MEASURED
        .lines()
        .skip_while(move |line| line.trim_matches(['[', ']']) != title);
    lines.skip(1).take_while(|line| !line.is_empty())
}

/// A section of cells separated by spaces, without its header line.
fn cells<T>(title: &str, read: fn(&'static str) -> T) -> Vec<(&'static str, Vec<T>)> {
    let rows = section(title).skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.map(read).collect()))
    });
    rows.collect()
}
