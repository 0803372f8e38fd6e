//! Shortens a finding to what the evidence shows, and to its share of the memory.

use super::memory_size;
use glassbox_probe::limits::{HEADER_EXCERPT, LIST_EXCERPT, SENTENCE, TEXT_EXCERPT, URL_EXCERPT};
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::Investigation;
use glassbox_verdict::report::{Exchange, Report, TlsFacts};
use http::header::{HeaderMap, HeaderValue};
use std::sync::Arc;

/// Shortens a finding's strings, because the target determines their length. If the finding is still larger than its
/// share, also removes the least important parts. Returns the remaining size in bytes, which exceeds the share only if
/// nothing more can be removed.
pub(super) fn shorten(finding: &mut Finding, share: usize) -> usize {
    cut_texts(finding);
    let mut size = memory_size::of(finding);
    for leave_out in LEAST_IMPORTANT_FIRST {
        if size <= share {
            break;
        }
        leave_out(finding);
        size = memory_size::of(finding);
    }
    size
}

/// Steps that shorten a finding, applied in this order until it fits its share.
const LEAST_IMPORTANT_FIRST: [fn(&mut Finding); 6] = [
    |finding| {
        for exchange in earlier(&mut finding.report) {
            exchange
                .reply
                .iter_mut()
                .for_each(|reply| reply.headers = HeaderMap::new());
        }
    },
    |finding| {
        earlier(&mut finding.report)
            .flat_map(|exchange| &mut exchange.tls)
            .for_each(first_certificates);
    },
    |finding| {
        for report in investigated(finding) {
            report
                .exchanges
                .iter_mut()
                .flat_map(|exchange| &mut exchange.tls)
                .for_each(first_certificates);
        }
    },
    |finding| {
        let exchanges = finding.report.exchanges.iter_mut();
        exchanges
            .flat_map(|exchange| &mut exchange.tls)
            .for_each(first_certificates);
    },
    |finding| cut_heads(finding, 4 * FEW, HEADER_EXCERPT / 2),
    |finding| cut_heads(finding, FEW, HEADER_EXCERPT / 4),
];

/// Number of elements that remain of a shortened list.
const FEW: usize = 8;

/// All exchanges except the last one, which decides the result.
fn earlier(report: &mut Report) -> impl Iterator<Item = &mut Exchange> {
    let last = report.exchanges.len().saturating_sub(1);
    report.exchanges.iter_mut().take(last)
}

/// Reports of the investigation. A shared investigation is skipped, because it was already shortened when it was
/// stored.
fn investigated(finding: &mut Finding) -> impl Iterator<Item = &mut Report> {
    let investigation = finding.investigation.as_mut().and_then(Arc::get_mut);
    investigation.into_iter().flat_map(Investigation::reports_mut)
}

fn cut_heads(finding: &mut Finding, fields: usize, length: usize) {
    for reply in finding
        .report
        .exchanges
        .iter_mut()
        .filter_map(|exchange| exchange.reply.as_mut())
    {
        reply.headers = excerpt(&reply.headers, fields, length);
    }
}

fn first_certificates(tls: &mut TlsFacts) {
    keep(&mut tls.chain, FEW);
    for certificate in &mut tls.chain {
        keep(&mut certificate.dns_names, FEW);
    }
}

/// Keeps the first `most` elements and releases the unused capacity.
fn keep<T>(list: &mut Vec<T>, most: usize) {
    list.truncate(most);
    list.shrink_to_fit();
}

fn cut_texts(finding: &mut Finding) {
    shorten_report(&mut finding.report);
    for report in investigated(finding) {
        // The investigation may be reused by another probe within seconds. The attribution then still needs the body
        // and the trailers of the last response.
        let judged = report.exchanges.last_mut().and_then(|exchange| exchange.reply.as_mut());
        let judged = judged.map(|reply| {
            (
                std::mem::take(&mut reply.body_start),
                std::mem::take(&mut reply.trailers),
            )
        });
        shorten_report(report);
        for exchange in earlier(report) {
            exchange
                .reply
                .iter_mut()
                .for_each(|reply| reply.headers = HeaderMap::new());
        }
        if let Some((reply, (body, trailers))) = report
            .exchanges
            .last_mut()
            .and_then(|exchange| exchange.reply.as_mut())
            .zip(judged)
        {
            (reply.body_start, reply.trailers) = (body, usual_excerpt(&trailers));
            reply.body_start.shrink_to_fit();
        }
    }
    if let Some(verdict) = &mut finding.verdict {
        cut_to(&mut verdict.summary, SENTENCE);
    }
}

fn shorten_report(report: &mut Report) {
    report.exchanges.shrink_to_fit();
    for exchange in &mut report.exchanges {
        if exchange.url.len() > URL_EXCERPT {
            cut_to(&mut exchange.url, URL_EXCERPT);
            exchange.url.push('…');
        }
        keep(&mut exchange.addresses, LIST_EXCERPT);
        exchange.wire.excerpt.shrink_to_fit();
        if let Some(reply) = &mut exchange.reply {
            reply.headers = usual_excerpt(&reply.headers);
            reply.body_start = Vec::new();
            reply.trailers = HeaderMap::new();
            if let Some(phrase) = &mut reply.reason_phrase {
                cut_to(phrase, HEADER_EXCERPT);
            }
        }
        exchange
            .tls
            .iter_mut()
            .for_each(|tls| keep(&mut tls.chain, LIST_EXCERPT));
        for certificate in exchange.tls.iter_mut().flat_map(|tls| &mut tls.chain) {
            cut_to(&mut certificate.subject, TEXT_EXCERPT);
            cut_to(&mut certificate.issuer, TEXT_EXCERPT);
            cut_to(&mut certificate.serial, TEXT_EXCERPT);
            keep(&mut certificate.dns_names, LIST_EXCERPT);
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
    let end = text.floor_char_boundary(limit);
    if end < text.len() {
        text.truncate(end);
        text.shrink_to_fit();
    }
}

fn usual_excerpt(headers: &HeaderMap) -> HeaderMap {
    excerpt(headers, LIST_EXCERPT, HEADER_EXCERPT)
}

/// Returns the first `fields` header fields with values of up to `length` bytes. Skips names longer than `length`.
fn excerpt(headers: &HeaderMap, fields: usize, length: usize) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| name.as_str().len() <= length);
    let shown: Vec<_> = shown.take(fields).collect();
    let mut excerpt = HeaderMap::with_capacity(shown.len());
    for (name, value) in shown {
        let text = String::from_utf8_lossy(value.as_bytes());
        // A value may contain bytes above 0x7f, because some servers send UTF-8.
        let value = HeaderValue::from_bytes(text[..text.floor_char_boundary(length)].as_bytes());
        excerpt.append(name, value.unwrap_or(HeaderValue::from_static("")));
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::excerpt;
    use http::HeaderValue;
    use http::header::{HeaderMap, SERVER};

    #[test]
    fn a_non_ascii_value_is_cut_at_a_character_boundary() {
        for (value, shown) in [("café", "café"), ("cafés à la carte", "cafés à "), ("plain", "plain")] {
            let headers = HeaderMap::from_iter([(SERVER, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
            assert_eq!(excerpt(&headers, 1, 10)[SERVER].as_bytes(), shown.as_bytes());
        }
        let latin1 = HeaderMap::from_iter([(SERVER, HeaderValue::from_bytes(b"caf\xe9").unwrap())]);
        assert_eq!(excerpt(&latin1, 1, 10)[SERVER].as_bytes(), "caf\u{fffd}".as_bytes());
    }
}
