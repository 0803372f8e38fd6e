//! Summarises many probes of one target for a terminal: percentiles of each phase, a histogram, the share of each
//! verdict.

use super::durations::millis;
use glassbox_probe::probe::Finding;
use glassbox_verdict::report::Report;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Upper bounds of the histogram's rows, in milliseconds.
const BOUNDS: [u32; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

const WIDTH: usize = 40;

/// The results of the probes so far.
#[derive(Debug, Default)]
pub struct CheckSummary {
    probes: usize,
    good: usize,
    /// The phases in the order of their first occurrence, with the durations of all probes.
    phases: Vec<(&'static str, Vec<Duration>)>,
    wholes: Vec<Duration>,
    verdicts: BTreeMap<String, usize>,
}

impl CheckSummary {
    /// Adds a probe.
    pub fn add(&mut self, finding: &Finding) {
        self.probes += 1;
        self.good += usize::from(finding.report.succeeded());
        self.wholes.push(finding.report.took);
        for (name, sum) in sums(&finding.report) {
            match self.phases.iter_mut().find(|(known, _)| *known == name) {
                Some((_, times)) => times.push(sum),
                None => self.phases.push((name, vec![sum])),
            }
        }
        let verdict = finding.verdict.as_ref().map_or_else(
            || "healthy".to_owned(),
            |verdict| format!("{} {}", verdict.link.as_str(), verdict.reason.as_str()),
        );
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    /// Number of probes so far.
    #[must_use]
    pub const fn probes(&self) -> usize {
        self.probes
    }

    /// Whether all probes succeeded.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.good == self.probes
    }

    /// One progress line: the number of probes and the median duration of each phase.
    #[must_use]
    pub fn progress(&self, of: usize) -> String {
        const BAR: usize = 20;
        let done = self.probes * BAR / of.max(1);
        let mut out = format!("[{}{}] {}/{of}", "#".repeat(done), " ".repeat(BAR - done), self.probes);
        for (phase, times) in &self.phases {
            add(&mut out, &format!("  {phase} {}", millis(quantile(times, 50))));
        }
        if !self.is_good() {
            add(&mut out, &format!("  {} failed", self.probes - self.good));
        }
        out
    }

    /// The complete summary.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} probes, {} succeeded ({})\n\n",
            self.probes,
            self.good,
            self.share(self.good)
        );
        add(
            &mut out,
            &format!("{:<12}{:>12}{:>12}{:>12}\n", "ms", "p50", "p95", "p99"),
        );
        let whole = [("total", self.wholes.clone())];
        for (name, times) in self.phases.iter().chain(&whole) {
            let [median, high, highest] = [50, 95, 99].map(|percent| millis(quantile(times, percent)));
            add(&mut out, &format!("{name:<12}{median:>12}{high:>12}{highest:>12}\n"));
        }
        out.push('\n');
        self.histogram(&mut out);
        out.push('\n');
        for (verdict, count) in &self.verdicts {
            add(&mut out, &format!("{verdict:<40}{count:>8}  {}\n", self.share(*count)));
        }
        out
    }

    fn histogram(&self, out: &mut String) {
        let row = |time: &Duration| BOUNDS.partition_point(|bound| Duration::from_millis((*bound).into()) < *time);
        let rows: Vec<_> = self.wholes.iter().map(row).collect();
        let (Some(first), Some(last)) = (rows.iter().min(), rows.iter().max()) else {
            return;
        };
        for place in *first..=*last {
            let count = rows.iter().filter(|row| **row == place).count();
            let label = BOUNDS
                .get(place)
                .map_or_else(|| "more".to_owned(), |bound| format!("<= {bound} ms"));
            let bar = "#".repeat((count * WIDTH).div_ceil(self.probes.max(1)));
            add(out, &format!("{label:>12} |{bar:<WIDTH$}| {count}\n"));
        }
    }

    fn share(&self, count: usize) -> String {
        // Never 100% if a probe failed.
        let permille = count * 1000 / self.probes.max(1);
        format!("{}.{} %", permille / 10, permille % 10)
    }
}

/// Duration of each phase of one probe, summed over its exchanges. Only phases that finished in each exchange count, as
/// in the histograms.
fn sums(report: &Report) -> Vec<(&'static str, Duration)> {
    let mut sums: Vec<(&'static str, Option<Duration>)> = Vec::new();
    for (stage, took) in report.known_times() {
        let name = stage.phase();
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.zip(took).map(|(sum, took)| sum + took),
            None => sums.push((name, took)),
        }
    }
    sums.into_iter().filter_map(|(name, sum)| Some((name, sum?))).collect()
}

fn add(out: &mut String, text: &str) {
    out.write_str(text).expect("writing to a String cannot fail");
}

/// The given percentile.
fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quantile;
    use std::time::Duration;

    #[test]
    fn quantiles_are_observed_values() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50), Duration::from_millis(50));
        assert_eq!(quantile(&times, 99), Duration::from_millis(99));
        assert_eq!(quantile(&times[..1], 99), Duration::from_millis(100));
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }
}
