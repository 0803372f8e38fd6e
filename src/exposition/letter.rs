//! The facts as a letter to whoever must act: plain text, to be pasted into a ticket or a mail.

use super::plain;
use super::repeat;
use crate::history::Entry;
use crate::report::Leg;
use crate::utc::rfc3339;
use std::fmt::Write as _;

/// The letter.
#[must_use]
pub fn text(entry: &Entry) -> String {
    let finding = &entry.finding;
    let report = &finding.report;
    let mut out = String::new();
    let mut put = |words: &str| {
        // What a peer wrote must not begin a line of its own.
        out.extend(words.chars().map(plain));
        out.push('\n');
    };
    if let Some(verdict) = &finding.verdict {
        put(&verdict.sentence);
        put("");
        put(&format!(
            "Reason: {} ({})",
            verdict.reason.as_str(),
            verdict.certainty.as_str()
        ));
    }
    put(&format!("Time (UTC): {}", rfc3339(report.began)));
    for leg in &report.legs {
        put(&exchange(leg));
    }
    if let Some(command) = repeat::command(report) {
        put(&format!("To repeat: {command}"));
        if finding.module.prober.has_own_fields(&finding.aim) {
            put("The module's own header fields, credentials and body are not in it.");
        }
    }
    put(&format!("Evidence: {}", entry.id));
    out
}

fn exchange(leg: &Leg) -> String {
    let mut line = format!("{} {}", leg.method.as_deref().unwrap_or("Request"), leg.url);
    // Writing to a String cannot fail.
    let mut add = |words: &str| line.write_str(words).expect("writing to a String cannot fail");
    if leg.for_credentials {
        add(" (for credentials)");
    }
    if let Some(proxy) = &leg.proxy {
        add(&format!(" through the proxy {proxy}"));
    }
    if let Some(peer) = leg.peer {
        add(&format!(" at {peer}"));
    }
    if let Some(local) = leg.local {
        add(&format!(" from {local}"));
    }
    if let Some(reply) = &leg.reply {
        add(&format!(": {} {}", reply.version, reply.status));
    }
    for lap in leg.ledger.laps() {
        let took = lap.took().as_secs_f64() * 1000.0;
        add(&format!("; {} {took:.1} ms", lap.stage().phase()));
    }
    line
}
