//! Collects the history of a target for the page of one of its probes: from the target's state, the evidence in memory,
//! and the store on disk.

use super::{App, probe};
use crate::exposition::target_timeline::{Comparison, TargetTimeline, stored_facts};
use crate::history::HistoryEntry;
use crate::history::store::{EvidenceSummary, HistoryQuestion, StoredEvidence, StoredHistory, StoredLookup};
use crate::series::SeriesKey;
use crate::timeline::{Incident, ProbeFacts, ProbeMark, ProbeTime, merge};
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::probe::Finding;
use glassbox_probe::probers::{Module, ProbeRequest};
use glassbox_verdict::chain::Link;
use glassbox_verdict::reason::Reason;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The probe of the page.
struct Subject {
    this: ProbeMark,
    facts: ProbeFacts,
    /// The module and the request, if the module still exists and the request is known.
    request: Option<(Arc<Module>, ProbeRequest)>,
    question: HistoryQuestion,
}

/// What the memory knows about a target.
#[derive(Default)]
struct InMemory {
    marks: Vec<ProbeMark>,
    /// Oldest first.
    incidents: Vec<Incident>,
    healthy: Option<(ProbeMark, ProbeFacts)>,
}

/// The history around a probe in memory.
pub(super) async fn of_entry(app: &App, entry: &HistoryEntry) -> TargetTimeline {
    let finding = &entry.finding;
    let requested = &finding.requested;
    let subject = Subject {
        this: ProbeMark::of(finding, entry.id),
        facts: ProbeFacts::of(finding),
        request: Some((finding.module.clone(), requested.clone())),
        question: HistoryQuestion {
            id: entry.id,
            target: requested.target.written().to_owned(),
            module: finding.module.name.to_string(),
            hostname: requested.hostname.clone(),
            process: app.scheduler.history().process(),
        },
    };
    collect(app, subject).await
}

/// The history around a probe on disk.
pub(super) async fn of_stored(app: &App, stored: &StoredEvidence) -> TargetTimeline {
    let request = probe::requested(app, &stored.documents.repeat);
    let hostname = request.as_ref().and_then(|(_, requested)| requested.hostname.clone());
    let subject = Subject {
        this: mark(&stored.summary),
        facts: stored_facts(&stored.documents.json).unwrap_or_default(),
        question: HistoryQuestion {
            id: stored.summary.id,
            target: stored.summary.target.clone(),
            module: stored.summary.module.clone(),
            hostname,
            process: app.scheduler.history().process(),
        },
        request,
    };
    collect(app, subject).await
}

async fn collect(app: &App, subject: Subject) -> TargetTimeline {
    let request = subject.request.as_ref();
    let memory = request.map(|request| in_memory(app, request)).unwrap_or_default();
    let (disk, is_partial) = match app.scheduler.history().store() {
        None => (StoredHistory::default(), false),
        Some(store) => match store.history(subject.question).await {
            Ok(disk) => (disk, false),
            Err(_unavailable) => (StoredHistory::default(), true),
        },
    };
    let this = ProbeMark {
        is_stored: true,
        ..subject.this
    };
    let marks = marks(&memory, &disk, this);
    let incidents = incidents(&memory, &disk, &marks);
    let mut timeline = TargetTimeline {
        this,
        marks,
        incidents,
        compared: None,
        can_repeat: subject.request.is_some(),
        is_partial,
    };
    if let Some(with) = timeline.reference() {
        let then = facts(app, with.id, memory.healthy).await;
        timeline.compared = Some(Comparison {
            with,
            then,
            now: subject.facts,
        });
    }
    timeline
}

/// All known probes, oldest first.
fn marks(memory: &InMemory, disk: &StoredHistory, this: ProbeMark) -> Vec<ProbeMark> {
    let mut by_id: HashMap<EvidenceId, ProbeMark> = HashMap::new();
    for mark in memory.marks.iter().chain(&disk.marks).chain([&this]) {
        let known = by_id.entry(mark.id).or_insert(*mark);
        known.is_stored |= mark.is_stored;
        known.masked |= mark.masked;
    }
    let mut marks: Vec<_> = by_id.into_values().collect();
    marks.sort_by_key(ProbeMark::order);
    marks
}

/// All known incidents, newest first. The state of the target does not know whose evidence is stored.
fn incidents(memory: &InMemory, disk: &StoredHistory, marks: &[ProbeMark]) -> Vec<Incident> {
    let known = marks.iter().chain(disk.incidents.iter().flat_map(ends));
    let stored: HashSet<_> = known.filter(|mark| mark.is_stored).map(|mark| mark.id).collect();
    let mut incidents = merge(&memory.incidents, &disk.incidents);
    for incident in &mut incidents {
        let ends = [&mut incident.first, &mut incident.last].into_iter();
        for mark in ends.chain(&mut incident.before).chain(&mut incident.after) {
            mark.is_stored = stored.contains(&mark.id);
        }
    }
    incidents
}

/// The marks of an incident that link to evidence.
fn ends(incident: &Incident) -> impl Iterator<Item = &ProbeMark> {
    let Incident {
        first,
        last,
        before,
        after,
        ..
    } = incident;
    [first, last].into_iter().chain(before).chain(after)
}

fn in_memory(app: &App, (module, requested): &(Arc<Module>, ProbeRequest)) -> InMemory {
    let belongs = |finding: &Finding| {
        let other = &finding.requested;
        finding.module.name == module.name
            && (&other.target, &other.hostname, &other.backends)
                == (&requested.target, &requested.hostname, &requested.backends)
    };
    let entries = app.scheduler.history().select(belongs);
    let stored = entries.iter().map(|entry| ProbeMark {
        is_stored: true,
        ..ProbeMark::of(&entry.finding, entry.id)
    });
    let mut memory = InMemory {
        marks: stored.collect(),
        ..InMemory::default()
    };
    if let Some(kept) = app.scheduler.state(&SeriesKey::new(module, requested)) {
        let state = kept.target_state();
        memory.marks.extend(&state.recent);
        memory.incidents.clone_from(&state.incidents);
        memory.healthy = state.healthy;
    }
    memory
}

/// The facts of another probe, if they are still known.
async fn facts(app: &App, id: EvidenceId, healthy: Option<(ProbeMark, ProbeFacts)>) -> Option<ProbeFacts> {
    if let Some((_, facts)) = healthy.filter(|(mark, _)| mark.id == id) {
        return Some(facts);
    }
    let history = app.scheduler.history();
    if let Some(entry) = history.get(id) {
        return Some(ProbeFacts::of(&entry.finding));
    }
    match history.store()?.evidence(id).await {
        Ok(StoredLookup::Found(stored)) => stored_facts(&stored.documents.json),
        _ => None,
    }
}

fn mark(summary: &EvidenceSummary) -> ProbeMark {
    let link_of = |name: &String| Link::ALL.into_iter().find(|link| link.as_str() == name);
    let reason_of = |name: &String| Reason::ALL.iter().copied().find(|reason| reason.as_str() == name);
    ProbeMark {
        id: summary.id,
        began: ProbeTime::of(summary.began),
        link: summary.link.as_ref().map(|link| link_of(link).unwrap_or(Link::Unknown)),
        reason: summary.reason.as_ref().and_then(reason_of),
        masked: false,
        is_stored: true,
    }
}
