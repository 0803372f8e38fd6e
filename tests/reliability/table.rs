//! The table of figures.

use std::fmt;

/// One figure of this exporter beside its bound and the peer's.
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
    /// The peer's, where it can run the same test.
    pub peer: Option<f64>,
    /// The most that it may be.
    pub most: f64,
    pub unit: &'static str,
}

impl Table {
    /// Takes a figure, and tells it at once.
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

    /// Something could not be run here: the table says so.
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

    /// Whether no bound was missed.
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
        writeln!(f, "| | what | this exporter | bound | blackbox_exporter |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
