//! The evidence ring: the latest findings, failing ones longest.

use crate::evidence_id::EvidenceId;
use crate::limits::{HEADER_EXCERPT, LIST_EXCERPT, SENTENCE, TEXT_EXCERPT, URL_EXCERPT, cut};
use crate::probe::Finding;
use crate::report::Report;
use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A finding that is kept.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: EvidenceId,
    /// The finding, with header values cut to what evidence shows.
    pub finding: Arc<Finding>,
}

/// Failures that are looked through for one that may go.
const LOOKED_THROUGH: usize = 64;

/// The ring.
#[derive(Debug)]
pub struct History {
    limit: usize,
    process: u32,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Probes that got a name.
    named: u64,
    /// Findings without a verdict, oldest first, and those with one: the place in time, and what is kept.
    good: VecDeque<(u64, Entry)>,
    failing: VecDeque<(u64, Entry)>,
    /// The newest failure of each target and module: alerts lead to it.
    newest: HashMap<(Arc<str>, String), u64>,
}

impl History {
    /// A ring of at most `limit` findings. `process` tells the evidence of this process from that of another.
    #[must_use]
    pub fn new(limit: usize, process: u32) -> Self {
        Self {
            limit: limit.max(1),
            process,
            kept: Mutex::default(),
        }
    }

    /// The name for the evidence of the next finding.
    pub fn name(&self) -> EvidenceId {
        let mut kept = self.kept();
        kept.named += 1;
        EvidenceId {
            process: self.process,
            // Names may come again after 4 billion probes: nothing is kept that long.
            number: u32::try_from(kept.named & u64::from(u32::MAX)).unwrap_or_default(),
        }
    }

    /// Keeps a finding under its name.
    pub fn add(&self, id: EvidenceId, mut finding: Finding) -> Entry {
        shorten(&mut finding);
        let entry = Entry {
            id,
            finding: Arc::new(finding),
        };
        let mut kept = self.kept();
        if kept.good.len() + kept.failing.len() >= self.limit {
            kept.drop_one();
        }
        let at = kept.named;
        if entry.finding.verdict.is_some() {
            kept.newest.insert(owner(&entry), at);
        }
        let side = if entry.finding.verdict.is_none() {
            &mut kept.good
        } else {
            &mut kept.failing
        };
        side.push_back((at, entry.clone()));
        entry
    }

    /// One piece of evidence.
    #[must_use]
    pub fn get(&self, id: EvidenceId) -> Option<Entry> {
        let kept = self.kept();
        let mut all = kept.good.iter().chain(&kept.failing);
        all.find(|(_, entry)| entry.id == id).map(|(_, entry)| entry.clone())
    }

    /// All of it, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Entry> {
        let mut all: Vec<_> = {
            let kept = self.kept();
            kept.good.iter().chain(&kept.failing).cloned().collect()
        };
        all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        all.into_iter().map(|(_, entry)| entry).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change leaves the ring whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Drops the oldest good finding while good ones are more than a tenth; else the oldest of all. Of failures, one that
    /// is not its target's newest goes first, if there is one among the oldest.
    fn drop_one(&mut self) {
        let oldest = |side: &VecDeque<(u64, Entry)>| side.front().map_or(u64::MAX, |(at, _)| *at);
        let many_good = self.good.len() * 10 > self.good.len() + self.failing.len();
        if many_good || oldest(&self.good) < oldest(&self.failing) {
            self.good.pop_front();
        } else {
            let mut oldest = self.failing.iter().take(LOOKED_THROUGH);
            let repeated = oldest.position(|(at, entry)| self.newest.get(&owner(entry)) != Some(at));
            let dropped = self.failing.remove(repeated.unwrap_or(0));
            if let Some((_, entry)) = dropped.filter(|_| repeated.is_none()) {
                self.newest.remove(&owner(&entry));
            }
        }
    }
}

/// Whose newest failure is kept: module and target.
fn owner(entry: &Entry) -> (Arc<str>, String) {
    let Finding { module, aim, .. } = &*entry.finding;
    (module.name.clone(), aim.target.written().to_owned())
}

/// Cuts what a peer wrote: it decides the size of its texts, not of our memory.
fn shorten(finding: &mut Finding) {
    shorten_report(&mut finding.report);
    // An investigation that others hold, too, came from here and is short.
    if let Some(investigation) = finding.investigation.as_mut().and_then(Arc::get_mut) {
        for report in investigation.reports_mut() {
            // It may stand for a new one within seconds: what its last answer says of itself is still judged then.
            let judged = report.legs.last_mut().and_then(|leg| leg.reply.as_mut());
            let judged = judged.map(|reply| {
                (
                    std::mem::take(&mut reply.body_start),
                    std::mem::take(&mut reply.trailers),
                )
            });
            shorten_report(report);
            let legs = report.legs.len();
            for leg in report.legs.iter_mut().take(legs.saturating_sub(1)) {
                leg.reply.iter_mut().for_each(|reply| reply.headers.clear());
            }
            if let Some((reply, (body, trailers))) =
                report.legs.last_mut().and_then(|leg| leg.reply.as_mut()).zip(judged)
            {
                (reply.body_start, reply.trailers) = (body, excerpt(&trailers));
            }
        }
    }
    if let Some(verdict) = &mut finding.verdict {
        cut_to(&mut verdict.sentence, SENTENCE);
    }
}

fn shorten_report(report: &mut Report) {
    for leg in &mut report.legs {
        if leg.url.len() > URL_EXCERPT {
            cut_to(&mut leg.url, URL_EXCERPT);
            leg.url.push('…');
        }
        leg.addresses.truncate(LIST_EXCERPT);
        if let Some(reply) = &mut leg.reply {
            reply.headers = excerpt(&reply.headers);
            reply.body_start = Vec::new();
            reply.trailers = HeaderMap::new();
            if let Some(phrase) = &mut reply.reason_phrase {
                cut_to(phrase, HEADER_EXCERPT);
            }
        }
        for certificate in leg.tls.iter_mut().flat_map(|tls| &mut tls.chain) {
            cut_to(&mut certificate.subject, TEXT_EXCERPT);
            cut_to(&mut certificate.issuer, TEXT_EXCERPT);
            cut_to(&mut certificate.serial, TEXT_EXCERPT);
            certificate.dns_names.truncate(LIST_EXCERPT);
            for name in &mut certificate.dns_names {
                cut_to(name, HEADER_EXCERPT);
            }
        }
    }
    if let Some(fault) = &mut report.fault {
        cut_to(&mut fault.detail, TEXT_EXCERPT);
    }
}

fn cut_to(text: &mut String, limit: usize) {
    let end = cut(text, limit).len();
    if end < text.len() {
        text.truncate(end);
        text.shrink_to_fit();
    }
}

/// The first fields, with each value cut.
fn excerpt(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().len() <= HEADER_EXCERPT)
        .map(|(name, value): (&HeaderName, &HeaderValue)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let value = HeaderValue::from_str(cut(&text, HEADER_EXCERPT));
            (name.clone(), value.unwrap_or(HeaderValue::from_static("")))
        })
        .take(LIST_EXCERPT)
        .collect()
}
