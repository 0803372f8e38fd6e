//! Builds the limits for all probes from the `limits` block.

use super::file::{ConfigFile, LimitsFile};
use glassbox_probe::file::{ConfigIssue, Spanned, at, units};
use glassbox_probe::limits::Limits;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A key of `limits` and its value in the file.
struct Bound<'a, T> {
    key: &'static str,
    written: Option<&'a Spanned<T>>,
}

pub(super) fn build(file: &ConfigFile) -> Result<Limits, ConfigIssue> {
    let LimitsFile {
        leases,
        probes,
        queue,
        per_destination,
        matched_body,
        json_values,
        response_head,
        response_fields,
        interim_responses,
        redirects,
        parameter,
        history_bytes,
        probe_memory,
        connections,
        request_head,
        diagnostics,
    } = file.limits.clone().unwrap_or_default();
    let usual = Limits::default();
    let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let (history_bytes, probe_memory) = memory(history_bytes.as_ref(), probe_memory.as_ref(), &usual)?;
    Ok(Limits {
        leases: count("leases", leases.as_ref(), 0..=10_000_000, usual.leases)?,
        probes: count("probes", probes.as_ref(), 1..=100_000, usual.probes)?,
        queue: duration("queue", queue.as_ref(), seconds(0, 10), usual.queue)?,
        per_destination: Some(count("per_destination", per_destination.as_ref(), 0..=100_000, 0)?).filter(|n| *n > 0),
        json_values: count("json_values", json_values.as_ref(), 100..=10_000_000, usual.json_values)?,
        matched_body: size("matched_body", matched_body.as_ref(), 1..=1 << 30, usual.matched_body)?,
        response_head: bytes(
            "response_head",
            response_head.as_ref(),
            8 << 10..=16 << 20,
            usual.response_head,
        )?,
        response_fields: count(
            "response_fields",
            response_fields.as_ref(),
            1..=10_000,
            usual.response_fields,
        )?,
        interim_responses: count(
            "interim_responses",
            interim_responses.as_ref(),
            0..=1000,
            usual.interim_responses,
        )?,
        redirects: count("redirects", redirects.as_ref(), 0..=100, usual.redirects)?,
        parameter: bytes("parameter", parameter.as_ref(), 64..=64 << 10, usual.parameter)?,
        history_bytes,
        probe_memory,
        connections: count("connections", connections.as_ref(), 8..=100_000, usual.connections)?,
        request_head: duration(
            "request_head",
            request_head.as_ref(),
            seconds(1, 300),
            usual.request_head,
        )?,
        diagnostics: units::rate(diagnostics.as_ref(), "limits", "diagnostics", usual.diagnostics)?,
    })
}

/// The memory limits of the evidence history and of all probes.
fn memory(
    history: Option<&Spanned<String>>,
    probes: Option<&Spanned<String>>,
    usual: &Limits,
) -> Result<(usize, usize), ConfigIssue> {
    let history = bytes("history_bytes", history, 1 << 20..=64 << 30, usual.history_bytes)?;
    Ok((
        history,
        bytes("probe_memory", probes, 16 << 20..=1 << 40, usual.probe_memory)?,
    ))
}

fn count(
    key: &'static str,
    written: Option<&Spanned<i64>>,
    range: RangeInclusive<usize>,
    usual: usize,
) -> Result<usize, ConfigIssue> {
    let bound = Bound { key, written };
    bound.read(|number| usize::try_from(*number).ok(), &range, "a number", usual)
}

fn size(
    key: &'static str,
    written: Option<&Spanned<String>>,
    range: RangeInclusive<u64>,
    usual: u64,
) -> Result<u64, ConfigIssue> {
    let bound = Bound { key, written };
    bound.read(
        |text| units::size(text),
        &range,
        "a size in bytes (such as 512KB)",
        usual,
    )
}

fn bytes(
    key: &'static str,
    written: Option<&Spanned<String>>,
    range: RangeInclusive<usize>,
    usual: usize,
) -> Result<usize, ConfigIssue> {
    let bound = Bound { key, written };
    let read = |text: &String| usize::try_from(units::size(text)?).ok();
    bound.read(read, &range, "a size in bytes (such as 512KB)", usual)
}

fn duration(
    key: &'static str,
    written: Option<&Spanned<String>>,
    range: RangeInclusive<Duration>,
    usual: Duration,
) -> Result<Duration, ConfigIssue> {
    let bound = Bound { key, written };
    let range = Seconds(*range.start())..=Seconds(*range.end());
    let read = |text: &String| units::duration(text).map(Seconds);
    Ok(bound
        .read(read, &range, "a duration (such as 200ms)", Seconds(usual))?
        .0)
}

/// A duration that is displayed in seconds.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

impl<T: Display> Bound<'_, T> {
    fn read<N: PartialOrd + Display>(
        self,
        read: impl FnOnce(&T) -> Option<N>,
        range: &RangeInclusive<N>,
        what: &str,
        usual: N,
    ) -> Result<N, ConfigIssue> {
        let Some(written) = self.written else {
            return Ok(usual);
        };
        read(&written.value)
            .filter(|bound| range.contains(bound))
            .ok_or_else(|| {
                let (value, least, most) = (&written.value, range.start(), range.end());
                let words = format!("invalid value \"{value}\": expected {what} from {least} to {most}");
                at(written, "limits", self.key, words)
            })
    }
}
