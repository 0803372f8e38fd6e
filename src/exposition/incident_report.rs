//! The incident report: the facts of a failed probe as plain text, for a ticket or a mail to the team that must act.

use super::plain;
use super::reproduce;
use crate::history::HistoryEntry;
use glassbox_verdict::report::Exchange;
use glassbox_verdict::utc::rfc3339;
use std::fmt::Write as _;

/// The incident report.
#[must_use]
pub fn text(entry: &HistoryEntry) -> String {
    let finding = &entry.finding;
    let report = &finding.report;
    let mut out = String::new();
    let mut put = |words: &str| {
        // Text from a remote host must not start a line.
        out.extend(words.chars().map(plain));
        out.push('\n');
    };
    if let Some(verdict) = &finding.verdict {
        put(&verdict.summary);
        put("");
        put(&format!(
            "Reason: {} ({})",
            verdict.reason.as_str(),
            verdict.certainty.as_str()
        ));
    }
    put(&format!("Time (UTC): {}", rfc3339(report.began)));
    for exchange in &report.exchanges {
        put(&exchange_lines(exchange));
    }
    if let Some(command) = reproduce::of_target(finding) {
        put(&format!("To reproduce: {command}"));
        if let Some(note) = reproduce::note(finding) {
            put(&note);
        }
    }
    put(&format!(
        "Evidence: {}",
        entry.url().unwrap_or_else(|| entry.id.to_string())
    ));
    out
}

fn exchange_lines(exchange: &Exchange) -> String {
    let mut line = format!("{} {}", exchange.method.as_deref().unwrap_or("Request"), exchange.url);
    // Writing to a String cannot fail.
    let mut add = |words: &str| line.write_str(words).expect("writing to a String cannot fail");
    if exchange.for_credentials {
        add(" (for credentials)");
    }
    if let Some(proxy) = &exchange.proxy {
        add(&format!(" through the proxy {proxy}"));
    }
    if let Some(peer) = exchange.peer {
        add(&format!(" at {peer}"));
    }
    if let Some(local) = exchange.local {
        add(&format!(" from {local}"));
    }
    if let Some(reply) = &exchange.reply {
        add(&format!(": {} {}", reply.version, reply.status));
    }
    for timing in exchange.stage_log.timings() {
        let took = timing.took().as_secs_f64() * 1000.0;
        add(&format!("; {} {took:.1} ms", timing.stage().phase()));
    }
    line
}
