//! The table of figures.

use std::fmt;

/// A figure of `glassbox_exporter`, its bound, and the figure of `blackbox_exporter`.
struct Row {
    id: &'static str,
    what: String,
    ours: String,
    peer: String,
    bound: String,
    holds: bool,
}

/// All figures.
#[derive(Default)]
pub struct Table(Vec<Row>);

/// A figure and its bound.
pub struct Figure {
    pub id: &'static str,
    pub what: String,
    pub ours: f64,
    /// Figure of `blackbox_exporter`, if it can run the same test.
    pub peer: Option<f64>,
    /// Bound: maximum of `ours`.
    pub most: f64,
    pub unit: &'static str,
}

impl Table {
    /// Adds and prints a figure.
    pub fn figure(&mut self, figure: Figure) {
        let Figure {
            id,
            what,
            ours,
            peer,
            most,
            unit,
        } = figure;
        let shown = |figure: f64| format!("{}{unit}", (figure * 100.0).round() / 100.0);
        let row = Row {
            id,
            what,
            ours: shown(ours),
            peer: peer.map_or_else(|| "—".to_owned(), shown),
            bound: format!("≤ {}", shown(most)),
            holds: ours <= most,
        };
        println!("  {row}");
        self.0.push(row);
    }

    /// Adds a row for a test that cannot run on this host.
    pub fn not_run(&mut self, id: &'static str, what: &str) {
        let row = Row {
            id,
            what: what.to_owned(),
            ours: "**not run**".to_owned(),
            peer: "—".to_owned(),
            bound: String::new(),
            holds: true,
        };
        println!("  {row}");
        self.0.push(row);
    }

    /// Whether all bounds hold.
    pub fn holds(&self) -> bool {
        self.0.iter().all(|row| row.holds)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = if self.holds { "" } else { " **missed**" };
        let Self {
            id,
            what,
            ours,
            peer,
            bound,
            ..
        } = self;
        write!(f, "| {id} | {what} | {ours}{missed} | {bound} | {peer} |")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | what | glassbox_exporter | bound | blackbox_exporter |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
