//! The peer's plain-text page of one probe: its log, its metrics, its module.

use crate::history::Entry;
use crate::probe::Finding;
use crate::verdict::Verdict;
use std::fmt::Write as _;

/// Renders the page. `metrics` is what was or would be returned; `module` is the module's configuration as YAML, secrets
/// masked.
#[must_use]
pub fn text(entry: &Entry, metrics: &str, module: &str) -> String {
    let page = format!(
        "Logs for the probe:\n{}\n\n\nMetrics that would have been returned:\n{metrics}\n\n\nModule configuration:\n{module}\n",
        log(&entry.finding),
    );
    // People read it in terminals; a label may hold what does something there.
    page.replace(
        |letter: char| letter.is_control() && letter != '\n' && letter != '\t',
        "\u{fffd}",
    )
}

/// One logfmt line for each lap, and one for the end.
fn log(finding: &Finding) -> String {
    let report = &finding.report;
    let mut out = String::new();
    let mut put = |level: &str, words: &str, fields: &[(&str, String)]| {
        write!(
            out,
            "level={level} msg={words:?} module={:?} target={:?}",
            finding.module.name,
            finding.aim.target.to_string()
        )
        .expect("writing to a String cannot fail");
        for (name, value) in fields {
            write!(out, " {name}={value:?}").expect("writing to a String cannot fail");
        }
        out.push('\n');
    };
    put(
        "info",
        "Beginning probe",
        &[("timeout_seconds", report.timeout.as_secs_f64().to_string())],
    );
    for leg in &report.legs {
        for lap in leg.ledger.laps() {
            let mut fields = vec![
                ("url", leg.url.clone()),
                ("phase", lap.stage().phase().to_owned()),
                ("duration_seconds", lap.took().as_secs_f64().to_string()),
            ];
            fields.extend(leg.proxy.clone().map(|proxy| ("proxy", proxy)));
            fields.extend(leg.peer.map(|peer| ("peer", peer.to_string())));
            match lap.failed() {
                None => put("info", "Phase finished", &fields),
                Some(reason) => {
                    fields.push(("reason", reason.as_str().to_owned()));
                    put("error", "Phase failed", &fields);
                }
            }
        }
        if let Some(failed) = leg.dialogue().and_then(|dialogue| dialogue.failed.as_ref()) {
            let mut fields = vec![("step", failed.number.to_string())];
            fields.extend(failed.expected.clone().map(|expected| ("expected", expected)));
            fields.push(("received", failed.received.join("\n")));
            put("error", "Step of the dialogue failed", &fields);
        }
        if let Some(code) = leg.dialogue().and_then(|dialogue| dialogue.close_code) {
            put(
                "error",
                "WebSocket closed by the server",
                &[("close_code", code.to_string())],
            );
        }
        if let Some(reply) = &leg.reply {
            put(
                "info",
                "Received HTTP response",
                &[("status_code", reply.status.to_string())],
            );
        }
    }
    let (level, words, mut fields) = match &finding.verdict {
        None => ("info", "Probe succeeded", Vec::new()),
        Some(verdict) if verdict.masked => ("warn", "Probe succeeded, and hides a fault", blame(verdict)),
        Some(verdict) => ("error", "Probe failed", blame(verdict)),
    };
    fields.insert(0, ("duration_seconds", report.took.as_secs_f64().to_string()));
    put(level, words, &fields);
    out
}

fn blame(verdict: &Verdict) -> Vec<(&'static str, String)> {
    vec![
        ("link", verdict.link.as_str().to_owned()),
        ("reason", verdict.reason.as_str().to_owned()),
        ("sentence", verdict.sentence.clone()),
    ]
}
