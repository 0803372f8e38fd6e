//! The assertions on a response, in the order of `blackbox_exporter`: status, headers, body, version, TLS.

use super::{HeaderAssertion, HttpProber};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Reply;
use std::time::Duration;

/// A failed assertion: the reason and an explanation.
type Objection = (Reason, String);

impl HttpProber {
    /// Checks the version and TLS. `https` is whether the response arrived over TLS; `None` skips both checks, since
    /// they apply only to the edge.
    pub(super) fn objection_to_protocol(&self, reply: &Reply, https: Option<bool>) -> Option<Objection> {
        let https = https?;
        self.objection_to_version(reply)
            .or_else(|| self.objection_to_tls(https))
    }

    /// Checks status and headers, before the body is evaluated. `endless` is the number of followed redirects if the
    /// limit is reached and the response is another redirect.
    pub(super) fn objection_to_head(&self, reply: &Reply, endless: Option<usize>) -> Option<Objection> {
        let status = reply.status;
        let accepted = match self.valid_status_codes.as_slice() {
            [] => (200..300).contains(&status),
            valid => valid.contains(&status),
        };
        if !accepted {
            return Some(if let Some(redirects) = endless {
                let detail = format!("After {redirects} redirects, the status is still {status}.");
                (Reason::HttpResponseRedirectLoop, detail)
            } else {
                (
                    Reason::HttpStatus,
                    format!(
                        "The response status is {status}; accepted statuses: {}.",
                        self.accepted_codes()
                    ),
                )
            });
        }
        let unwanted = |rule: &&HeaderAssertion| match values(reply, rule) {
            None => !rule.allow_missing,
            Some(found) => found,
        };
        let missing = |rule: &&HeaderAssertion| match values(reply, rule) {
            None => !rule.allow_missing,
            Some(found) => !found,
        };
        let said = |what: &str, rule: &HeaderAssertion| {
            let detail = format!("Header {} {what} {:?}.", rule.header, rule.pattern.as_str());
            (Reason::ContentHeader, detail)
        };
        self.fail_if_header_matches
            .iter()
            .find(unwanted)
            .map(|rule| said("is missing or matches", rule))
            .or_else(|| {
                self.fail_if_header_not_matches
                    .iter()
                    .find(missing)
                    .map(|rule| said("is missing or does not match", rule))
            })
    }

    fn objection_to_version(&self, reply: &Reply) -> Option<Objection> {
        let valid = &self.valid_http_versions;
        if valid.is_empty() || valid.iter().any(|version| version == reply.version) {
            return None;
        }
        let detail = format!(
            "The response uses {}; accepted versions: {}.",
            reply.version,
            valid.join(", ")
        );
        Some((Reason::ContentVersion, detail))
    }

    fn objection_to_tls(&self, https: bool) -> Option<Objection> {
        if self.fail_if_ssl && https {
            return Some((
                Reason::ContentTlsForbidden,
                "The response arrived over TLS (fail_if_ssl).".to_owned(),
            ));
        }
        if self.fail_if_not_ssl && !https {
            return Some((
                Reason::ContentTlsRequired,
                "The response arrived without TLS (fail_if_not_ssl).".to_owned(),
            ));
        }
        None
    }

    /// Checks the response time.
    pub(super) fn objection_to_time(&self, took: Duration) -> Option<Objection> {
        let limit = self.slower_than.filter(|limit| took > *limit)?;
        let detail = format!(
            "The response took {} ms; allowed: {} ms.",
            took.as_millis(),
            limit.as_millis()
        );
        Some((Reason::HttpSlow, detail))
    }

    fn accepted_codes(&self) -> String {
        if self.valid_status_codes.is_empty() {
            return "200 to 299".to_owned();
        }
        let codes: Vec<_> = self.valid_status_codes.iter().map(u16::to_string).collect();
        codes.join(", ")
    }
}

/// Whether any value of the header matches the rule; `None` if the header is missing.
fn values(reply: &Reply, rule: &HeaderAssertion) -> Option<bool> {
    let mut values = reply.headers.get_all(&rule.header).iter().peekable();
    values.peek()?;
    Some(values.any(|value| rule.pattern.is_match(value.as_bytes())))
}
