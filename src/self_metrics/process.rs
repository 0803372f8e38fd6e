//! Process metrics of `blackbox_exporter` that the collector of the `prometheus` crate lacks or gets wrong.

use glassbox_probe::metrics::{Family, MetricKind, Sample, Value};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns a family of the collector, or `None` if its value is unknown. The collector reports 0 for values that it
/// cannot read from `/proc`; 0 is never a valid value. A start time in the future is also omitted: it occurs in some
/// containers with their own `/proc/stat`.
pub(super) fn known(mut family: Family) -> Option<Family> {
    const READ: [&str; 6] = [
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ];
    if family.name == "process_cpu_seconds_total" {
        set_processor_time(&mut family);
    }
    let value = match family.samples.first().map(|sample| &sample.value) {
        Some(Value::Number(value)) if READ.contains(&&*family.name) => *value,
        _ => return Some(family),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The kernel computes the start time in whole seconds, which may be one second ahead.
    let ahead = family.name == "process_start_time_seconds" && value > now.as_secs_f64() + 1.0;
    (value > 0.0 && !ahead).then_some(family)
}

/// Sets the CPU time with full precision. The collector truncates it to whole seconds, so that an idle process appears
/// to work in bursts.
fn set_processor_time(family: &mut Family) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF)
        && let [sample] = family.samples.as_mut_slice()
    {
        let time = usage.user_time() + usage.system_time();
        let micros = u64::try_from(time.num_microseconds()).unwrap_or_default();
        sample.value = Value::Number(Duration::from_micros(micros).as_secs_f64());
    }
}

/// Returns the families that the collector lacks.
pub(super) fn left_out() -> Vec<Family> {
    let mut families = Vec::new();
    if let Ok((memory, _)) = getrlimit(Resource::RLIMIT_AS) {
        families.push(family(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            MetricKind::Gauge,
            memory,
        ));
    }
    let netstat = std::fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
    for (key, name, help) in [
        (
            "InOctets",
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
        ),
        (
            "OutOctets",
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
        ),
    ] {
        families.extend(ip_ext(&netstat, key).map(|bytes| family(name, help, MetricKind::Counter, bytes)));
    }
    families
}

/// Returns a counter of the network namespace. One line contains the names and the next line the values (proc(5)).
fn ip_ext(netstat: &str, key: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == key)?.1.parse().ok()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the numbers of the format are floats, as in blackbox_exporter"
)]
fn family(name: &'static str, help: &'static str, kind: MetricKind, value: u64) -> Family {
    Family {
        name: name.into(),
        help: help.into(),
        kind,
        rank: None,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Number(value as f64),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::{family, ip_ext, known};
    use glassbox_probe::metrics::MetricKind;

    #[test]
    fn unreadable_values_are_omitted() {
        let is_there = |name, value| known(family(name, "A value.", MetricKind::Gauge, value)).is_some();
        assert!(is_there("process_threads", 3));
        assert!(!is_there("process_threads", 0));
        assert!(!is_there("process_start_time_seconds", 0));
        assert!(is_there("process_start_time_seconds", 1_700_000_000));
        assert!(!is_there("process_start_time_seconds", 99_000_000_000));
        assert!(is_there("glassbox_series_keys", 0));
    }

    #[test]
    fn a_counter_is_below_its_name() {
        let netstat =
            "TcpExt: SyncookiesSent InOctets\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 512 1024\n";
        assert_eq!(ip_ext(netstat, "InOctets"), Some(512));
        assert_eq!(ip_ext(netstat, "OutOctets"), Some(1024));
        assert_eq!(ip_ext(netstat, "Nothing"), None);
        assert_eq!(ip_ext("", "InOctets"), None);
    }
}
