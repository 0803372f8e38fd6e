//! What the `prometheus` crate's collector of the process does not say, or not well, and the peer's does.

use crate::metrics::{Family, Kind, Sample, Value};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use std::time::Duration;

/// The collector cuts it to whole seconds, which shows an idle process as one that works in bursts.
pub(super) fn with_precise_processor_time(mut family: Family) -> Family {
    if family.name == "process_cpu_seconds_total"
        && let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF)
        && let [sample] = family.samples.as_mut_slice()
    {
        let time = usage.user_time() + usage.system_time();
        let micros = u64::try_from(time.num_microseconds()).unwrap_or_default();
        sample.value = Value::Number(Duration::from_micros(micros).as_secs_f64());
    }
    family
}

/// What the collector leaves out.
pub(super) fn left_out() -> Vec<Family> {
    let mut families = Vec::new();
    if let Ok((memory, _)) = getrlimit(Resource::RLIMIT_AS) {
        families.push(family(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            Kind::Gauge,
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
        families.extend(ip_ext(&netstat, key).map(|bytes| family(name, help, Kind::Counter, bytes)));
    }
    families
}

/// A counter of the network namespace: the names stand in one line, and the values in the next (proc(5)).
fn ip_ext(netstat: &str, key: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == key)?.1.parse().ok()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the format's numbers are floats; the peer's are, too"
)]
fn family(name: &'static str, help: &'static str, kind: Kind, value: u64) -> Family {
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
    use super::ip_ext;

    #[test]
    fn a_counter_stands_below_its_name() {
        let netstat =
            "TcpExt: SyncookiesSent InOctets\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 512 1024\n";
        assert_eq!(ip_ext(netstat, "InOctets"), Some(512));
        assert_eq!(ip_ext(netstat, "OutOctets"), Some(1024));
        assert_eq!(ip_ext(netstat, "Nothing"), None);
        assert_eq!(ip_ext("", "InOctets"), None);
    }
}
