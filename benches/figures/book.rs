//! Results of the measurements: printed immediately, and collected for the tables in `docs/performance.md` and for the
//! JSON file.

use serde_json::{Value, json};
use std::fmt::{self, Write as _};

/// One figure: a sample of each program per round. The rounds of the programs alternate.
#[derive(Default)]
pub struct Row {
    pub part: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub ours: Vec<f64>,
    pub peer: Vec<f64>,
    pub floor: Vec<f64>,
    pub bound: Option<Bound>,
}

/// Bound of a figure.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Maximum of the median.
    Most(f64),
    /// Maximum ratio to `blackbox_exporter` in the same round, at the median.
    OfPeers(f64),
}

/// All rows.
#[derive(Default)]
pub struct Book(Vec<Row>);

impl Book {
    /// Adds and prints a row.
    pub fn take(&mut self, row: Row) {
        println!("  {row}");
        self.0.push(row);
    }

    /// Adds a figure of `glassbox_exporter` alone, with its bound.
    pub fn check(&mut self, part: &'static str, what: &str, unit: &'static str, figure: f64, most: f64) {
        self.take(Row {
            part,
            what: what.to_owned(),
            unit,
            ours: vec![figure],
            bound: Some(Bound::Most(most)),
            ..Row::default()
        });
    }

    /// Ratio of the processor time to the floor's, for each cost figure.
    pub fn costs_beside_the_floor(&self) -> impl Iterator<Item = (&str, f64)> {
        let rows = self.0.iter().filter(|row| row.part == "cost" && row.unit == "s");
        rows.filter_map(|row| Some((&*row.what, ratio(&row.ours, &row.floor)?)))
    }

    /// The rows that exceed their bounds.
    pub fn missed(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| !row.holds())
    }

    /// All rows as Markdown tables, one for each part.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        let mut part = "";
        for row in &self.0 {
            if row.part != part {
                part = row.part;
                let _ = write!(
                    text,
                    "\n### {part}\n\n| | glassbox_exporter | blackbox_exporter | floor | ÷ blackbox | ÷ floor | bound |\n\
                     |---|---|---|---|---|---|---|\n"
                );
            }
            let _ = writeln!(text, "{row}");
        }
        text
    }

    /// All rows as JSON, with all samples in the order of the rounds.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "part": row.part,
                "what": row.what,
                "unit": row.unit,
                "ours": row.ours,
                "peer": row.peer,
                "floor": row.floor,
                "of_peers": ratio(&row.ours, &row.peer),
                "of_floor": ratio(&row.ours, &row.floor),
                "bound": row.bound.map(|bound| bound.to_string()),
                "holds": row.holds(),
            })
        };
        self.0.iter().map(row).collect()
    }
}

impl Row {
    pub fn holds(&self) -> bool {
        match self.bound {
            None => true,
            Some(Bound::Most(most)) => median(&self.ours) <= most,
            Some(Bound::OfPeers(most)) => ratio(&self.ours, &self.peer).is_some_and(|ratio| ratio <= most),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |figures: &[f64]| match figures {
            [] => "—".to_owned(),
            [one] => shown(*one),
            many => {
                let (least, most) = (quantile(many, 0.0), quantile(many, 1.0));
                format!("{} ({}–{})", shown(median(many)), shown(least), shown(most))
            }
        };
        let of =
            |others: &[f64]| ratio(&self.ours, others).map_or_else(|| "—".to_owned(), |ratio| format!("{ratio:.3}"));
        let bound = self.bound.map(|bound| bound.to_string()).unwrap_or_default();
        let missed = if self.holds() { "" } else { " **missed**" };
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(", {}", self.unit)
        };
        write!(
            f,
            "| {}{unit} | {} | {} | {} | {} | {} | {bound}{missed} |",
            self.what,
            spread(&self.ours),
            spread(&self.peer),
            spread(&self.floor),
            of(&self.peer),
            of(&self.floor),
        )
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(most) => write!(f, "≤ {}", shown(*most)),
            Self::OfPeers(most) => write!(f, "÷ blackbox ≤ {}", shown(*most)),
        }
    }
}

/// A figure with three significant digits.
fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{figure:.3}"),
    }
}

/// The median of the ratios of each round.
fn ratio(ours: &[f64], others: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = ours.iter().zip(others).map(|(one, other)| one / other).collect();
    (!ratios.is_empty()).then(|| median(&ratios))
}

/// Median of unsorted figures.
pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// Quantile of unsorted figures: 0.5 is the median.
pub fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a list"
    )]
    let place = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
