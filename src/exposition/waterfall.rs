//! A finding as text for a terminal: the stage timings on one time axis, and a summary of the verdict.

use super::chain_view::{self, LinkState};
use super::durations::millis;
use super::evidence::notes;
use super::plain;
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::ControlOutcome;
use glassbox_verdict::report::{Exchange, Report};
use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: u32 = 40;

/// The output style.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colouring {
    /// Plain text.
    #[default]
    Plain,
    /// Terminal colours (ECMA-48 SGR).
    Colours,
}

/// The colours with a meaning.
#[derive(Clone, Copy)]
enum Colour {
    Good,
    Bad,
    Doubt,
    Faint,
}

impl Colouring {
    fn text(self, colour: Colour, text: &str) -> String {
        let code = match (self, colour) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Colours, Colour::Good) => "32",
            (Self::Colours, Colour::Bad) => "1;31",
            (Self::Colours, Colour::Doubt) => "33",
            (Self::Colours, Colour::Faint) => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Draws the finding: its stage timings on one time axis, its chain, and a summary of the verdict.
#[must_use]
pub fn text(finding: &Finding, paint: Colouring) -> String {
    let report = &finding.report;
    let mut out = String::new();
    let backends = finding.investigation.iter().flat_map(|asked| asked.backends());
    let after = |asked: &Report| asked.began.duration_since(report.began).unwrap_or_default();
    let ends = backends
        .clone()
        .map(|backend| after(&backend.report) + backend.report.took);
    let axis = ends.fold(report.took, Duration::max);
    exchanges(&mut out, report, Duration::ZERO, axis, paint);
    for backend in backends {
        line(
            &mut out,
            &format!("Direct request to {} ({}):", backend.backend.name, backend.backend),
        );
        exchanges(&mut out, &backend.report, after(&backend.report), axis, paint);
    }
    controls(&mut out, finding, paint);
    out.push_str(&chain(finding, paint));
    let took = millis(report.took);
    let (colour, head, summary) = match &finding.verdict {
        None => (Colour::Good, "OK", format!(" in {took} ms.")),
        Some(verdict) if verdict.masked => (Colour::Doubt, "OK", format!(" in {took} ms, but: {}", verdict.summary)),
        Some(verdict) => (Colour::Bad, "FAILED", format!(" in {took} ms. {}", verdict.summary)),
    };
    out.push_str(&paint.text(colour, head));
    line(&mut out, &summary);
    out
}

/// The exchanges of one report on the time axis. `after` is the offset from the request to the edge.
fn exchanges(out: &mut String, report: &Report, after: Duration, axis: Duration, paint: Colouring) {
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
            let colour = if timing.finished() { Colour::Good } else { Colour::Bad };
            let bar = paint.text(colour, &bar(after + timing.begun(), timing.took(), axis));
            let end = paint.text(colour, timing.failed().map_or("", |reason| reason.as_str()));
            let (phase, took) = (timing.stage().phase(), millis(timing.took()));
            writeln!(out, "  {phase:<10} {took:>10} ms |{bar}| {end}").expect("writing to a String cannot fail");
        }
        about(out, exchange);
    }
}

/// The controls, if the module configures any.
fn controls(out: &mut String, finding: &Finding, paint: Colouring) {
    for control in finding.vantage.iter().flat_map(|vantage| &vantage.controls) {
        let (colour, word) = match control.outcome {
            ControlOutcome::Answered => (Colour::Good, "answered"),
            ControlOutcome::NoName => (Colour::Bad, "not resolved"),
            ControlOutcome::NoConnection => (Colour::Bad, "not connected"),
            ControlOutcome::NotAsked => (Colour::Faint, "not asked"),
        };
        line(out, &format!("control {}:", control.what));
        writeln!(out, "  {}", paint.text(colour, word)).expect("writing to a String cannot fail");
    }
}

/// The links from the exporter to the content, with the broken one marked.
fn chain(finding: &Finding, paint: Colouring) -> String {
    let links: Vec<_> = chain_view::marks(finding)
        .iter()
        .map(|mark| {
            let (sign, colour) = match mark.state {
                LinkState::Healthy => ("+", Colour::Good),
                LinkState::Broken => ("X", Colour::Bad),
                LinkState::Suspect => ("?", Colour::Doubt),
                LinkState::Unseen => (" ", Colour::Faint),
            };
            paint.text(colour, &format!("[{sign}] {}", chain_view::short_name(mark.link)))
        })
        .collect();
    format!("{}\n", links.join(" - "))
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

fn bar(begun: Duration, took: Duration, whole: Duration) -> String {
    let column = |at: Duration| {
        let share = at.as_nanos() * u128::from(WIDTH) / whole.as_nanos().max(1);
        usize::try_from(share).unwrap_or(0).min(WIDTH as usize)
    };
    let start = column(begun).min(WIDTH as usize - 1);
    let length = (column(begun + took).saturating_sub(start)).max(1);
    let rest = (WIDTH as usize).saturating_sub(start + length);
    format!("{}{}{}", " ".repeat(start), "█".repeat(length), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, bar, line};
    use std::time::Duration;

    #[test]
    fn a_bar_has_its_place_and_the_line_its_width() {
        let ms = Duration::from_millis;
        assert!(bar(ms(0), ms(50), ms(100)).starts_with("████████████████████ "));
        for (begun, took) in [(0, 0), (100, 0), (99, 1), (0, 100), (50, 500)] {
            let drawn = bar(ms(begun), ms(took), ms(100));
            assert_eq!(drawn.chars().count(), WIDTH as usize, "{begun} {took}");
        }
    }

    #[test]
    fn control_bytes_of_a_peer_are_not_printed() {
        let mut out = String::new();
        line(&mut out, "a\x1b[2Jb");
        assert_eq!(out, "a\u{fffd}[2Jb\n");
    }
}
