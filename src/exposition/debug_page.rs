//! The plain-text debug page of one probe (`debug=true`, as in `blackbox_exporter`): its log, its metrics, its module.

use crate::history::HistoryEntry;
use glassbox_probe::probe::Finding;
use glassbox_verdict::report::{Dialogue, Exchange};
use glassbox_verdict::verdict::Verdict;
use std::fmt::Write as _;

/// Renders the page. `metrics` is the metrics response; `module` is the module's configuration as YAML,
/// with secrets masked.
#[must_use]
pub fn text(entry: &HistoryEntry, metrics: &str, module: &str) -> String {
    let page = format!(
        "Logs for the probe:\n{}\n\n\nMetrics that would have been returned:\n{metrics}\n\n\nModule configuration:\n{module}\n",
        log(&entry.finding),
    );
    // The page may be read in a terminal, and a label may contain control characters.
    page.replace(
        |letter: char| letter.is_control() && letter != '\n' && letter != '\t',
        "\u{fffd}",
    )
}

/// One logfmt line per stage, and one for the end.
fn log(finding: &Finding) -> String {
    let report = &finding.report;
    let mut lines = Lines {
        head: format!(
            "module={:?} target={:?}",
            finding.module.name,
            finding.requested.target.to_string()
        ),
        text: String::new(),
    };
    let timeout = report.timeout.as_secs_f64().to_string();
    lines.put("INFO", "Beginning probe", &[("timeout_seconds", timeout)]);
    for exchange in &report.exchanges {
        lines.exchange(exchange);
    }
    let (level, words, mut fields) = match &finding.verdict {
        None => ("INFO", "Probe succeeded", Vec::new()),
        Some(verdict) if verdict.masked => ("WARN", "Probe succeeded but masks a fault", blame(verdict)),
        Some(verdict) => ("ERROR", "Probe failed", blame(verdict)),
    };
    let detail = report.fault.as_ref().map(|fault| ("err", fault.detail.clone()));
    fields.splice(0..0, detail);
    fields.insert(0, ("duration_seconds", report.took.as_secs_f64().to_string()));
    lines.put(level, words, &fields);
    lines.text
}

/// The log lines of one probe, with the same keys as the exporter's own log.
struct Lines {
    /// The common fields of all lines.
    head: String,
    text: String,
}

impl Lines {
    fn put(&mut self, level: &str, words: &str, fields: &[(&str, String)]) {
        write!(self.text, "level={level} msg={words:?} {}", self.head).expect("writing to a String cannot fail");
        for (name, value) in fields {
            write!(self.text, " {name}={value:?}").expect("writing to a String cannot fail");
        }
        self.text.push('\n');
    }

    fn exchange(&mut self, exchange: &Exchange) {
        for timing in exchange.stage_log.timings() {
            let mut fields = vec![
                ("url", exchange.url.clone()),
                ("phase", timing.stage().phase().to_owned()),
                ("duration_seconds", timing.took().as_secs_f64().to_string()),
            ];
            fields.extend(exchange.proxy.clone().map(|proxy| ("proxy", proxy)));
            fields.extend(exchange.peer.map(|peer| ("peer", peer.to_string())));
            match timing.failed() {
                None => self.put("INFO", "Phase finished", &fields),
                Some(reason) => {
                    fields.push(("reason", reason.as_str().to_owned()));
                    self.put("ERROR", "Phase failed", &fields);
                }
            }
        }
        if let Some(dialogue) = exchange.dialogue() {
            self.dialogue(dialogue);
        }
        if let Some(reply) = &exchange.reply {
            let status = reply.status.to_string();
            self.put("INFO", "Received HTTP response", &[("status_code", status)]);
        }
    }

    fn dialogue(&mut self, dialogue: &Dialogue) {
        if let Some(failed) = &dialogue.failed {
            let mut fields = vec![("step", failed.number.to_string())];
            fields.extend(failed.expected.clone().map(|expected| ("expected", expected)));
            fields.push(("received", failed.received.join("\n")));
            self.put("ERROR", "Dialogue step failed", &fields);
        }
        if let Some(code) = dialogue.close_code {
            let code = code.to_string();
            self.put("ERROR", "WebSocket closed by the server", &[("close_code", code)]);
        }
    }
}

fn blame(verdict: &Verdict) -> Vec<(&'static str, String)> {
    vec![
        ("link", verdict.link.as_str().to_owned()),
        ("reason", verdict.reason.as_str().to_owned()),
        ("sentence", verdict.summary.clone()),
    ]
}
