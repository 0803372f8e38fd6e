//! A finding as text for a terminal: the laps on one time axis, and the verdict in a sentence.

use super::durations::millis;
use super::links::{self, State};
use super::plain;
use crate::investigation::Reached;
use crate::probe::Finding;
use crate::report::{Leg, Report};
use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: u32 = 40;

/// How a text may be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// As plain text.
    #[default]
    Plain,
    /// With the terminal's own colours (ECMA-48 SGR).
    Colours,
}

/// The colours that mean something.
#[derive(Clone, Copy)]
enum Colour {
    Good,
    Bad,
    Doubt,
    Faint,
}

impl Paint {
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

/// Draws the finding: its laps on one time axis, its chain, and the verdict in a sentence.
#[must_use]
pub fn text(finding: &Finding, paint: Paint) -> String {
    let report = &finding.report;
    let mut out = String::new();
    let hops = finding.investigation.iter().flat_map(|asked| &asked.hops);
    let after = |asked: &Report| asked.began.duration_since(report.began).unwrap_or_default();
    let ends = hops.clone().map(|hop| after(&hop.report) + hop.report.took);
    let axis = ends.fold(report.took, Duration::max);
    legs(&mut out, report, Duration::ZERO, axis, paint);
    for hop in hops {
        line(&mut out, &format!("{} ({}), asked directly:", hop.hop.name, hop.hop));
        legs(&mut out, &hop.report, after(&hop.report), axis, paint);
    }
    controls(&mut out, finding, paint);
    out.push_str(&chain(finding, paint));
    let took = millis(report.took);
    let (colour, head, sentence) = match &finding.verdict {
        None => (Colour::Good, "OK", format!(" in {took} ms.")),
        Some(verdict) if verdict.masked => (Colour::Doubt, "OK", format!(" in {took} ms, but: {}", verdict.sentence)),
        Some(verdict) => (Colour::Bad, "FAILED", format!(" in {took} ms. {}", verdict.sentence)),
    };
    out.push_str(&paint.text(colour, head));
    line(&mut out, &sentence);
    out
}

/// The exchanges of one report, which began so long after the front's, on one axis.
fn legs(out: &mut String, report: &Report, after: Duration, axis: Duration, paint: Paint) {
    for leg in &report.legs {
        line(out, &leg.url);
        if leg.for_credentials {
            line(out, "  for credentials");
        }
        if let Some(proxy) = &leg.proxy {
            line(out, &format!("  through the proxy {proxy}"));
        }
        if let Some(peer) = leg.peer {
            line(out, &format!("  at {peer}"));
        }
        for lap in leg.ledger.laps() {
            let colour = if lap.finished() { Colour::Good } else { Colour::Bad };
            let bar = paint.text(colour, &bar(after + lap.begun(), lap.took(), axis));
            let end = paint.text(colour, lap.failed().map_or("", |reason| reason.as_str()));
            let (phase, took) = (lap.stage().phase(), millis(lap.took()));
            writeln!(out, "  {phase:<10} {took:>10} ms |{bar}| {end}").expect("writing to a String cannot fail");
        }
        about(out, leg);
    }
}

/// What should always answer from here, where the module's configuration names it.
fn controls(out: &mut String, finding: &Finding, paint: Paint) {
    for control in finding.vantage.iter().flat_map(|vantage| &vantage.controls) {
        let (colour, word) = match control.outcome {
            Reached::Answered => (Colour::Good, "answered"),
            Reached::NoName => (Colour::Bad, "not resolved"),
            Reached::NoConnection => (Colour::Bad, "not connected"),
            Reached::NotAsked => (Colour::Faint, "not asked"),
        };
        line(out, &format!("control {}:", control.what));
        writeln!(out, "  {}", paint.text(colour, word)).expect("writing to a String cannot fail");
    }
}

/// The links from us to the content, the broken one marked.
fn chain(finding: &Finding, paint: Paint) -> String {
    let links: Vec<_> = links::marks(finding)
        .iter()
        .map(|mark| {
            let (sign, colour) = match mark.state {
                State::Well => ("+", Colour::Good),
                State::Broken => ("X", Colour::Bad),
                State::Suspect => ("?", Colour::Doubt),
                State::Unseen => (" ", Colour::Faint),
            };
            paint.text(colour, &format!("[{sign}] {}", links::short_name(mark.link)))
        })
        .collect();
    format!("{}\n", links.join(" - "))
}

fn about(out: &mut String, leg: &Leg) {
    if let Some(tls) = &leg.tls
        && let Some(leaf) = tls.chain.first()
    {
        let version = tls.version.unwrap_or("TLS");
        line(
            out,
            &format!("  {version}, certificate of {} by {}", leaf.subject, leaf.issuer),
        );
    }
    if let Some(reply) = &leg.reply {
        line(
            out,
            &format!(
                "  {} {}, {} bytes of body",
                reply.version, reply.status, reply.body_length
            ),
        );
    }
}

/// What a peer wrote must not steer the terminal.
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
