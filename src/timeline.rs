//! What happened to a target over time: its probes, its incidents, and what changed between two probes.
//!
//! The state of each target in memory contains marks of its latest probes and incidents. The store on disk adds those
//! of earlier processes.

use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::Link;
use glassbox_verdict::reason::Reason;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Maximum number of incidents of a target in memory, and on a page.
pub const INCIDENTS: usize = 10;

/// One probe of a target. Small, because the state of each target contains many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeMark {
    /// Evidence id.
    pub id: EvidenceId,
    /// Start of the probe.
    pub began: ProbeTime,
    /// The broken link; `None` if there is none.
    pub link: Option<Link>,
    /// Reason of the verdict. `None` also for a reason that only a later version of the exporter knows.
    pub reason: Option<Reason>,
    /// Whether a successful response hid the broken link. Always false for a probe that is known from disk only.
    pub masked: bool,
    /// Whether its evidence is stored.
    pub is_stored: bool,
}

/// Start of a probe, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeTime {
    /// Seconds since 1970.
    seconds: u32,
    milliseconds: u16,
}

/// Consecutive unhealthy probes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The first unhealthy probe.
    pub first: ProbeMark,
    /// The last unhealthy probe.
    pub last: ProbeMark,
    /// The healthy probe before it. If there is none, the incident may have started earlier.
    pub before: Option<ProbeMark>,
    /// The healthy probe after it; `None` while it continues.
    pub after: Option<ProbeMark>,
    /// Number of its unhealthy probes in this process, and in earlier ones.
    counts: [u32; 2],
}

/// Facts of a probe that a reader compares with those of another probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeFacts {
    /// Status code of the final response.
    pub status: Option<u16>,
    /// Address of the last connection attempt.
    pub address: Option<IpAddr>,
    /// Certificate of the server.
    pub certificate: Option<CertificateFacts>,
}

/// A certificate in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// First 8 bytes of the SHA-256 fingerprint.
    pub fingerprint: u64,
    /// End of the validity period, in seconds since 1970.
    pub not_after: i64,
}

impl ProbeMark {
    /// Describes a finding.
    #[must_use]
    pub fn of(finding: &Finding, id: EvidenceId) -> Self {
        let verdict = finding.verdict.as_ref();
        Self {
            id,
            began: ProbeTime::of(finding.report.began),
            link: verdict.map(|verdict| verdict.link),
            reason: verdict.map(|verdict| verdict.reason),
            masked: verdict.is_some_and(|verdict| verdict.masked),
            is_stored: false,
        }
    }

    /// Order of probes: by time, and by number within a millisecond.
    #[must_use]
    pub const fn order(&self) -> (ProbeTime, u32) {
        (self.began, self.id.number)
    }
}

impl ProbeTime {
    /// Cuts a time to the millisecond. A time before 1970 becomes 1970, and a time after 2106 becomes 2106.
    #[must_use]
    pub fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
            milliseconds: u16::try_from(since.subsec_millis()).unwrap_or_default(),
        }
    }

    /// The time since 1970.
    fn since_1970(self) -> Duration {
        Duration::from_secs(self.seconds.into()) + Duration::from_millis(self.milliseconds.into())
    }

    /// The time as the system counts it.
    #[must_use]
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + self.since_1970()
    }
}

impl Incident {
    /// An incident of one probe of this process.
    const fn of(mark: ProbeMark, before: Option<ProbeMark>) -> Self {
        Self {
            first: mark,
            last: mark,
            before,
            after: None,
            counts: [1, 0],
        }
    }

    /// Number of unhealthy probes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.counts[0].saturating_add(self.counts[1])
    }

    /// Returns whether the probe is in the incident.
    #[must_use]
    pub fn contains(&self, mark: &ProbeMark) -> bool {
        mark.link.is_some() && self.first.order() <= mark.order() && mark.order() <= self.last.order()
    }

    /// Duration from the first unhealthy probe to the first healthy one, or to the last probe.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let end = self.after.unwrap_or(self.last).began;
        end.since_1970().saturating_sub(self.first.began.since_1970())
    }

    /// Adds what another source knows about the same incident.
    fn join(&mut self, other: &Self) {
        if other.first.order() < self.first.order() {
            self.first = other.first;
            self.before = other.before;
        } else if other.first.id == self.first.id {
            // The disk has one success an hour, the memory has all.
            self.before = [self.before, other.before]
                .into_iter()
                .flatten()
                .max_by_key(ProbeMark::order);
        }
        if other.last.order() > self.last.order() {
            self.last = other.last;
            self.after = other.after;
        } else if other.last.id == self.last.id {
            self.after = self.after.or(other.after);
        }
        // The disk lacks the latest probes of this process, and the memory has none of the earlier processes.
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count = (*count).max(other);
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first.order() <= other.last.order() && other.first.order() <= self.last.order()
    }
}

impl ProbeFacts {
    /// Extracts the facts of a finding.
    #[must_use]
    pub fn of(finding: &Finding) -> Self {
        let exchange = finding.report.last_exchange();
        let certificate = exchange.and_then(|exchange| exchange.tls.as_ref()?.chain.first());
        Self {
            status: finding.report.final_reply().map(|reply| reply.status),
            address: exchange.and_then(|exchange| exchange.peer).map(|peer| peer.ip()),
            certificate: certificate.and_then(|leaf| CertificateFacts::new(&leaf.fingerprint_sha256, leaf.not_after)),
        }
    }
}

impl CertificateFacts {
    /// Creates the facts from the fingerprint in hex. `None` if it is not valid.
    #[must_use]
    pub fn new(fingerprint: &str, not_after: i64) -> Option<Self> {
        let fingerprint = u64::from_str_radix(fingerprint.get(..16)?, 16).ok()?;
        Some(Self { fingerprint, not_after })
    }
}

/// Adds the latest probe to the incidents of its target, oldest first. `healthy` is the latest healthy probe before it.
pub fn observe(incidents: &mut Vec<Incident>, mark: ProbeMark, healthy: Option<ProbeMark>) {
    let open = incidents.last_mut().filter(|incident| incident.after.is_none());
    match (open, mark.link) {
        (Some(open), None) => open.after = Some(mark),
        (Some(open), Some(_)) => {
            open.last = mark;
            open.counts[0] = open.counts[0].saturating_add(1);
        }
        (None, Some(_)) => {
            if incidents.len() >= INCIDENTS {
                incidents.remove(0);
            }
            incidents.push(Incident::of(mark, healthy));
        }
        (None, None) => {}
    }
}

/// Collects incidents from probes that arrive newest first.
#[derive(Debug)]
pub struct IncidentCollector {
    process: u32,
    newer_healthy: Option<ProbeMark>,
    open: Option<Incident>,
    closed: Vec<Incident>,
}

impl IncidentCollector {
    /// Creates an empty collector. `process` is that of the ids of this process.
    #[must_use]
    pub const fn new(process: u32) -> Self {
        Self {
            process,
            newer_healthy: None,
            open: None,
            closed: Vec::new(),
        }
    }

    /// Adds the next older probe. Returns false when there are enough incidents.
    pub fn add(&mut self, mark: ProbeMark) -> bool {
        if mark.link.is_some() {
            let newer = self.newer_healthy;
            let open = self.open.get_or_insert(Incident {
                after: newer,
                counts: [0, 0],
                ..Incident::of(mark, None)
            });
            open.first = mark;
            let count = &mut open.counts[usize::from(mark.id.process != self.process)];
            *count = count.saturating_add(1);
        } else {
            self.newer_healthy = Some(mark);
            if let Some(mut closed) = self.open.take() {
                closed.before = Some(mark);
                self.closed.push(closed);
            }
        }
        self.closed.len() < INCIDENTS
    }

    /// Returns the incidents, newest first.
    #[must_use]
    pub fn finish(mut self) -> Vec<Incident> {
        self.closed.extend(self.open);
        self.closed
    }
}

/// Joins the incidents of two sources. Returns up to [`INCIDENTS`], newest first.
#[must_use]
pub fn merge(in_memory: &[Incident], on_disk: &[Incident]) -> Vec<Incident> {
    let mut merged: Vec<Incident> = Vec::new();
    let mut all: Vec<_> = in_memory.iter().chain(on_disk).copied().collect();
    all.sort_by_key(|incident| std::cmp::Reverse(incident.last.order()));
    for incident in all {
        // Without a healthy probe between them, two incidents are one: the exporter restarted in between.
        let continues = |newer: &Incident| newer.before.is_none() && incident.after.is_none();
        match merged.last_mut() {
            Some(newer) if newer.overlaps(&incident) || continues(newer) => newer.join(&incident),
            _ => merged.push(incident),
        }
    }
    merged.truncate(INCIDENTS);
    merged
}

#[cfg(test)]
mod tests {
    use super::{INCIDENTS, Incident, IncidentCollector, ProbeMark, ProbeTime, merge, observe};
    use glassbox_probe::evidence_id::EvidenceId;
    use glassbox_verdict::chain::Link;
    use glassbox_verdict::reason::Reason;
    use std::time::{Duration, UNIX_EPOCH};

    fn mark(process: u32, began: u32, is_healthy: bool) -> ProbeMark {
        ProbeMark {
            id: EvidenceId { process, number: began },
            began: ProbeTime {
                seconds: began,
                milliseconds: 0,
            },
            link: (!is_healthy).then_some(Link::Edge),
            reason: (!is_healthy).then_some(Reason::TcpRefused),
            masked: false,
            is_stored: true,
        }
    }

    /// The incidents of the probes of one process: `+` is healthy, `-` is unhealthy, a space stands for a pause.
    fn observed(process: u32, start: u32, probes: &str) -> Vec<Incident> {
        let (mut incidents, mut healthy) = (Vec::new(), None);
        for (at, probe) in (start..).zip(probes.chars()) {
            let mark = mark(process, at, probe == '+');
            if probe != ' ' {
                observe(&mut incidents, mark, healthy);
            }
            if probe == '+' {
                healthy = Some(mark);
            }
        }
        incidents.reverse();
        incidents
    }

    fn collected(process: u32, start: u32, probes: &str) -> Vec<Incident> {
        let marks: Vec<_> = (start..)
            .zip(probes.chars())
            .filter(|(_, probe)| *probe != ' ')
            .collect();
        let mut collector = IncidentCollector::new(process);
        let _enough = marks
            .iter()
            .rev()
            .all(|(at, probe)| collector.add(mark(1, *at, *probe == '+')));
        collector.finish()
    }

    /// First, last, healthy before, healthy after, and count.
    type Shown = (u32, u32, Option<u32>, Option<u32>, u32);

    fn shown(incidents: &[Incident]) -> Vec<Shown> {
        let began = |mark: Option<ProbeMark>| mark.map(|mark| mark.began.seconds);
        let shown = incidents.iter().map(|incident| {
            let Incident {
                first,
                last,
                before,
                after,
                ..
            } = incident;
            (
                first.began.seconds,
                last.began.seconds,
                began(*before),
                began(*after),
                incident.count(),
            )
        });
        shown.collect()
    }

    #[test]
    fn both_directions_find_the_same_incidents() {
        for probes in ["", "+++", "--", "+-", "-+", "+--++-+", "-+-+--", "++---"] {
            assert_eq!(collected(1, 1, probes), observed(1, 1, probes), "{probes}");
        }
        let expected = vec![(6, 6, Some(5), Some(7), 1), (2, 3, Some(1), Some(4), 2)];
        assert_eq!(shown(&observed(1, 1, "+--++-+")), expected);
    }

    /// Ids of different processes do not say which probe was first.
    #[test]
    fn probes_of_one_second_have_an_order() {
        let at = |process, number, milliseconds| ProbeMark {
            began: ProbeTime {
                seconds: 1,
                milliseconds,
            },
            ..mark(process, number, false)
        };
        assert!(at(1, 9, 100).order() < at(2, 1, 200).order());
        assert!(at(1, 8, 100).order() < at(1, 9, 100).order());
        let late = UNIX_EPOCH + Duration::from_millis(1_709_251_199_999);
        assert_eq!(ProbeTime::of(late).time(), late);
    }

    #[test]
    fn the_number_of_incidents_is_limited() {
        let probes = "+-".repeat(3 * INCIDENTS);
        assert_eq!(observed(1, 1, &probes).len(), INCIDENTS);
        assert_eq!(collected(1, 1, &probes).len(), INCIDENTS);
        assert_eq!(
            merge(&observed(2, 1000, &probes), &collected(2, 1, &probes)).len(),
            INCIDENTS
        );
    }

    /// The disk has only a part of the successes, and may not have the latest probes yet.
    #[test]
    fn memory_and_disk_complement_each_other() {
        // A restart during the incident: the disk has the first process, the memory has the second one.
        let merged = merge(&observed(2, 6, "--+"), &collected(2, 1, "+--"));
        assert_eq!(shown(&merged), [(2, 7, Some(1), Some(8), 4)]);
        // The disk lacks the latest failure of this process.
        let merged = merge(&observed(1, 2, "---+"), &collected(1, 1, "+--"));
        assert_eq!(shown(&merged), [(2, 4, Some(1), Some(5), 3)]);
        // The last healthy probe is in memory only.
        let merged = merge(&observed(1, 1, "+++--"), &collected(1, 1, "+  --"));
        assert_eq!(shown(&merged), [(4, 5, Some(3), None, 2)]);
        // Two incidents stay two.
        let merged = merge(&observed(2, 10, "+-"), &collected(2, 1, "+-+"));
        assert_eq!(
            shown(&merged),
            [(11, 11, Some(10), None, 1), (2, 2, Some(1), Some(3), 1)]
        );
        // An unhealthy end before a healthy start: when it ended is not known.
        let merged = merge(&observed(2, 10, "+-"), &collected(2, 1, "+-"));
        assert_eq!(shown(&merged), [(11, 11, Some(10), None, 1), (2, 2, Some(1), None, 1)]);
    }
}
