//! The evidence ring: the latest findings, failing ones longest.

use crate::limits::{HEADER_EXCERPT, LIST_EXCERPT, SENTENCE, TEXT_EXCERPT, cut};
use crate::probe::Finding;
use crate::report::Report;
use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of one piece of evidence: the process that made it and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceId {
    process: u32,
    number: u32,
}

impl fmt::Display for EvidenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.process, self.number)
    }
}

/// A text that is no evidence id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an evidence id is 16 hexadecimal digits")]
pub struct NoEvidenceId;

impl FromStr for EvidenceId {
    type Err = NoEvidenceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoEvidenceId);
        }
        let half = |part: &str| u32::from_str_radix(part, 16).map_err(|_| NoEvidenceId);
        Ok(Self {
            process: half(&text[..8])?,
            number: half(&text[8..])?,
        })
    }
}

/// A finding that is kept.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: EvidenceId,
    /// The finding, with header values cut to what evidence shows.
    pub finding: Arc<Finding>,
}

/// The ring.
#[derive(Debug)]
pub struct History {
    limit: usize,
    process: u32,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    number: u32,
    entries: VecDeque<Entry>,
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

    /// Keeps a finding, and gives the name under which it can be had.
    pub fn add(&self, mut finding: Finding) -> Entry {
        shorten(&mut finding);
        let mut kept = self.kept();
        if kept.entries.len() >= self.limit {
            kept.drop_one();
        }
        kept.number = kept.number.wrapping_add(1);
        let entry = Entry {
            id: EvidenceId {
                process: self.process,
                number: kept.number,
            },
            finding: Arc::new(finding),
        };
        kept.entries.push_back(entry.clone());
        entry
    }

    /// One piece of evidence.
    #[must_use]
    pub fn get(&self, id: EvidenceId) -> Option<Entry> {
        self.kept().entries.iter().rev().find(|entry| entry.id == id).cloned()
    }

    /// All of it, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Entry> {
        self.kept().entries.iter().rev().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change leaves the ring whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Drops the oldest good finding while good ones are more than a tenth; else the oldest of all.
    fn drop_one(&mut self) {
        let good = |entry: &Entry| entry.finding.verdict.is_none();
        let goods = self.entries.iter().filter(|entry| good(entry)).count();
        let place = if goods * 10 > self.entries.len() {
            self.entries.iter().position(good)
        } else {
            None
        };
        self.entries.remove(place.unwrap_or(0));
    }
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
        cut_to(&mut leg.url, TEXT_EXCERPT);
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

#[cfg(test)]
mod tests {
    use super::EvidenceId;

    #[test]
    fn an_id_reads_back() {
        let id = EvidenceId {
            process: 0xdead_beef,
            number: 7,
        };
        assert_eq!(id.to_string(), "deadbeef00000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "xyz", "deadbeef0000000", "+eadbeef00000007"] {
            assert!(wrong.parse::<EvidenceId>().is_err(), "{wrong}");
        }
    }
}
