//! A finding as text for a terminal: the stage timings on one time axis, and a summary of the verdict.

use super::chain_view::{self, LinkState};
use super::durations::millis;
use super::evidence::notes;
use super::plain;
use anstyle::{AnsiColor, Style};
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::ControlOutcome;
use glassbox_verdict::report::{Exchange, Report};
use glassbox_verdict::stage_log::StageTiming;
use std::fmt::Write as _;
use std::time::Duration;

/// Number of columns of a bar, if there is room.
const WIDEST_BAR: usize = 40;
const NARROWEST_BAR: usize = 8;

/// Number of columns of a line besides its bar and its reason.
const BESIDE_BAR: usize = 32;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBT: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Draws the finding: its stage timings on one time axis, its chain, and a summary of the verdict. Drawings fit into
/// `columns`, if that is known; the caller wraps the other lines. The text contains terminal colours (ECMA-48 SGR), which
/// the caller removes for other outputs.
#[must_use]
pub fn text(finding: &Finding, columns: Option<usize>) -> String {
    let report = &finding.report;
    let mut out = String::new();
    let backends = finding.investigation.iter().flat_map(|asked| asked.backends());
    let after = |asked: &Report| asked.began.duration_since(report.began).unwrap_or_default();
    let ends = backends
        .clone()
        .map(|backend| after(&backend.report) + backend.report.took);
    let axis = ends.fold(report.took, Duration::max);
    let axis = Axis {
        whole: axis,
        width: bar_width(finding, columns),
    };
    exchanges(&mut out, report, Duration::ZERO, axis);
    for backend in backends {
        line(
            &mut out,
            &format!("Direct request to {} ({}):", backend.backend.name, backend.backend),
        );
        exchanges(&mut out, &backend.report, after(&backend.report), axis);
    }
    controls(&mut out, finding);
    out.push_str(&chain(finding, columns));
    let took = millis(report.took);
    let (style, head, summary) = match &finding.verdict {
        None => (GOOD, "OK", format!(" in {took} ms.")),
        Some(verdict) if verdict.masked => (DOUBT, "OK", format!(" in {took} ms, but: {}", verdict.summary)),
        Some(verdict) => (BAD, "FAILED", format!(" in {took} ms. {}", verdict.summary)),
    };
    out.push_str(&styled(style, head));
    line(&mut out, &summary);
    out
}

/// The exchanges of one report on the time axis. `after` is the offset from the request to the edge.
fn exchanges(out: &mut String, report: &Report, after: Duration, axis: Axis) {
    for exchange in &report.exchanges {
        line(out, &exchange.url);
        if exchange.for_credentials {
            line(out, "  for credentials");
        }
        if let Some(proxy) = &exchange.proxy {
            line(out, &format!("  through the proxy {proxy}"));
        }
        if let Some(peer) = exchange.peer {
            line(out, &format!("  at {peer}"));
        }
        for timing in exchange.stage_log.timings() {
            let style = if timing.finished() { GOOD } else { BAD };
            let bar = styled(style, &axis.bar(after + timing.begun(), timing.took()));
            let end = styled(style, timing.failed().map_or("", |reason| reason.as_str()));
            let (phase, took) = (timing.stage().phase(), millis(timing.took()));
            writeln!(out, "  {phase:<10} {took:>10} ms |{bar}| {end}").expect("writing to a String cannot fail");
        }
        about(out, exchange);
    }
}

/// The controls, if the module configures any.
fn controls(out: &mut String, finding: &Finding) {
    for control in finding.vantage.iter().flat_map(|vantage| &vantage.controls) {
        let style = match control.outcome {
            ControlOutcome::Answered => GOOD,
            ControlOutcome::NoName | ControlOutcome::NoConnection => BAD,
            ControlOutcome::NotAsked => FAINT,
        };
        line(out, &format!("control {}:", control.what));
        writeln!(out, "  {}", styled(style, control.outcome.as_str())).expect("writing to a String cannot fail");
    }
}

/// The links from the exporter to the content, with the broken one marked.
fn chain(finding: &Finding, columns: Option<usize>) -> String {
    const BETWEEN: &str = " - ";
    let mut out = String::new();
    let mut used = 0;
    for mark in chain_view::marks(finding) {
        let (sign, style) = match mark.state {
            LinkState::Healthy => ("+", GOOD),
            LinkState::Broken => ("X", BAD),
            LinkState::Suspect => ("?", DOUBT),
            LinkState::Unseen => (" ", FAINT),
        };
        let link = format!("[{sign}] {}", chain_view::short_name(mark.link));
        let length = link.len() + BETWEEN.len();
        if used > 0 && columns.is_some_and(|columns| used + length > columns) {
            out.push_str(" -\n  ");
            used = 2;
        } else if used > 0 {
            out.push_str(BETWEEN);
        }
        used += length;
        out.push_str(&styled(style, &link));
    }
    out.push('\n');
    out
}

fn about(out: &mut String, exchange: &Exchange) {
    for note in notes(exchange) {
        line(out, &format!("  Note: {note}"));
    }
    if let Some(tls) = &exchange.tls
        && let Some(leaf) = tls.chain.first()
    {
        let version = tls.version.unwrap_or("TLS");
        line(
            out,
            &format!("  {version}, certificate of {} by {}", leaf.subject, leaf.issuer),
        );
    }
    if let Some(reply) = &exchange.reply {
        line(
            out,
            &format!(
                "  {} {}, {} bytes of body",
                reply.version, reply.status, reply.body_length
            ),
        );
        if let Some(deviations) = exchange.deviations.line() {
            line(out, &format!("  {deviations}"));
        }
    }
}

/// Text from a remote host must not be able to control the terminal.
fn line(out: &mut String, text: &str) {
    out.extend(text.chars().map(plain));
    out.push('\n');
}

/// The time axis of all bars.
#[derive(Clone, Copy)]
struct Axis {
    whole: Duration,
    /// Number of columns of a bar.
    width: usize,
}

impl Axis {
    fn bar(self, begun: Duration, took: Duration) -> String {
        let column = |at: Duration| {
            let share = at.as_nanos() * self.width as u128 / self.whole.as_nanos().max(1);
            usize::try_from(share).unwrap_or(0).min(self.width)
        };
        let start = column(begun).min(self.width - 1);
        let length = (column(begun + took).saturating_sub(start)).max(1);
        let rest = self.width.saturating_sub(start + length);
        format!("{}{}{}", " ".repeat(start), "█".repeat(length), " ".repeat(rest))
    }
}

/// Number of columns of a bar, so that its line has room for its phase, its duration and its reason.
fn bar_width(finding: &Finding, columns: Option<usize>) -> usize {
    let Some(columns) = columns else {
        return WIDEST_BAR;
    };
    let timings = finding.report.timings().filter_map(StageTiming::failed);
    let reason = timings.map(|reason| reason.as_str().len()).max().unwrap_or_default();
    columns
        .saturating_sub(BESIDE_BAR + reason)
        .clamp(NARROWEST_BAR, WIDEST_BAR)
}

#[cfg(test)]
mod tests {
    use super::{Axis, line};
    use std::time::Duration;

    #[test]
    fn a_bar_has_its_place_and_the_line_its_width() {
        let ms = Duration::from_millis;
        for width in [8, 40] {
            let axis = Axis { whole: ms(100), width };
            assert!(
                axis.bar(ms(0), ms(50))
                    .starts_with(&format!("{} ", "█".repeat(width / 2)))
            );
            for (begun, took) in [(0, 0), (100, 0), (99, 1), (0, 100), (50, 500)] {
                let drawn = axis.bar(ms(begun), ms(took));
                assert_eq!(drawn.chars().count(), width, "{begun} {took}");
            }
        }
    }

    #[test]
    fn control_bytes_of_a_peer_are_not_printed() {
        let mut out = String::new();
        line(&mut out, "a\x1b[2Jb");
        assert_eq!(out, "a\u{fffd}[2Jb\n");
    }
}
