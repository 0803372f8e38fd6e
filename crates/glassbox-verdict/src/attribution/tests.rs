//! Tests of the rules, by family: for each rule, evidence that matches it and similar evidence that must not match.

mod backends;
mod certainty;
mod gateways;
mod local;
mod masked;
mod module_proxy;
mod pages;
mod properties;
mod stages;
mod tiers;
mod twins;

use super::{Facts, MASKS, RULES, attribute};
use crate::backend::Backend;
use crate::baseline::Baseline;
use crate::chain::{Link, Stage};
use crate::investigation::{DiagnosticKind, DiagnosticOutcome, DirectRequest, Investigation, Vantage};
use crate::outcomes::{EarlierOutcomes, Outcomes};
use crate::reason::Reason;
use crate::report::{AnsweredReport, Reply, Report, ReportBuilder};
use crate::rule_id::RuleId;
use crate::stage_log::StageLog;
use crate::verdict::Verdict;
use std::time::Duration;

/// Input of an attribution, with builder methods.
#[derive(Clone, Debug)]
struct World {
    edge: Report,
    diagnostics: WorldDiagnostics,
    baseline: Baseline,
    vantage: Option<Vantage>,
    earlier: Option<EarlierOutcomes>,
}

/// The results of the diagnostics, to be filled.
#[derive(Clone, Debug, Default)]
struct WorldDiagnostics {
    backends: Vec<DirectRequest>,
    /// The repeated requests to the edge. By default, all requests were repeated twice with the same result.
    repeated: Option<Vec<Report>>,
    bypass: Option<Report>,
    again: Option<Report>,
    reference: Option<Report>,
    handshake: Option<Report>,
}

impl WorldDiagnostics {
    fn investigation(&self, edge: &Report) -> Investigation {
        let mut investigation = Investigation::default();
        let mut put = |kind, outcome| investigation.put(kind, outcome);
        if !self.backends.is_empty() {
            put(
                DiagnosticKind::Backends,
                DiagnosticOutcome::Direct(self.backends.clone()),
            );
            let edge = self.repeated.clone().unwrap_or_else(|| vec![edge.clone(); 2]);
            if !edge.is_empty() {
                let direct = std::iter::repeat_n(&self.backends, edge.len())
                    .flatten()
                    .cloned()
                    .collect();
                put(DiagnosticKind::Repetition, DiagnosticOutcome::Repeated { edge, direct });
            }
        }
        for (kind, report) in [
            (DiagnosticKind::CacheBypass, &self.bypass),
            (DiagnosticKind::Http1Retry, &self.again),
            (DiagnosticKind::ReferenceRequest, &self.reference),
            (DiagnosticKind::Handshake, &self.handshake),
        ] {
            if let Some(report) = report {
                put(kind, DiagnosticOutcome::Edge(Box::new(report.clone())));
            }
        }
        investigation
    }
}

impl World {
    fn of(edge: Report) -> Self {
        Self {
            edge,
            diagnostics: WorldDiagnostics::default(),
            baseline: Baseline::default(),
            vantage: None,
            earlier: None,
        }
    }

    fn backend(mut self, report: Report) -> Self {
        let name = format!("backend{}", self.diagnostics.backends.len());
        self.diagnostics.backends.push(DirectRequest {
            backend: Backend {
                trusted: true,
                ..Backend::new(&name, "10.0.0.7:80").unwrap()
            },
            reachable: false,
            held_back: false,
            report,
            handshake: None,
        });
        self
    }

    /// Adds another member to the last backend.
    fn member(self, report: Report) -> Self {
        let name = self.diagnostics.backends.last().unwrap().backend.name.clone();
        let mut world = self.backend(report);
        world.diagnostics.backends.last_mut().unwrap().backend.name = name;
        world
    }

    /// The results of the repeated requests to the edge. The direct requests are repeated with the same result.
    fn repeated(mut self, edge: &[Report]) -> Self {
        self.diagnostics.repeated = Some(edge.to_vec());
        self
    }

    /// The outcomes of earlier probes, oldest first: of the edge and of the first backend.
    fn earlier(mut self, probes: &[(Report, Report)]) -> Self {
        let outcomes = probes.iter().rev().map(|(edge, direct)| {
            let world = Self::of(edge.clone()).backend(direct.clone()).repeated(&[]);
            Outcomes::of(edge, Some(&world.diagnostics.investigation(edge)))
        });
        let outcomes: Vec<_> = outcomes.collect();
        self.earlier = Some(EarlierOutcomes::of(&outcomes));
        self
    }

    /// Marks the last backend as recently reachable from the exporter.
    fn reachable(mut self) -> Self {
        self.diagnostics.backends.last_mut().unwrap().reachable = true;
        self
    }

    fn reference(mut self, report: Report) -> Self {
        self.diagnostics.reference = Some(report);
        self
    }

    fn try_judge(&self) -> Option<Verdict> {
        let diagnostics = self.diagnostics.investigation(&self.edge);
        let facts = Facts::new(&self.edge).with_diagnostics(Some(&diagnostics));
        let facts = facts.with_baseline(&self.baseline).with_vantage(self.vantage.as_ref());
        attribute(&facts.with_earlier(self.earlier.as_ref()))
    }

    #[track_caller]
    fn says(&self, rule: RuleId, link: Link, reason: Reason) -> Verdict {
        let verdict = self.try_judge().expect("a verdict");
        assert_eq!(
            (verdict.rule, verdict.link, verdict.reason),
            (rule, link, reason),
            "{verdict:#?}"
        );
        assert_eq!(verdict.masked, self.edge.succeeded());
        verdict
    }
}

fn stopped(stage: Stage, reason: Reason) -> Report {
    ReportBuilder::new("", Duration::from_secs(1)).fail(stage, Duration::from_millis(3), reason)
}

fn reply(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Reply {
    let fields = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    Reply {
        status,
        headers: fields.collect(),
        body_length: body.len() as u64,
        body_start: body.as_bytes().to_vec(),
        ..Reply::default()
    }
}

fn answered(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> AnsweredReport {
    let report = ReportBuilder::new("", Duration::from_secs(1));
    report.reply(reply(status, body, headers), Duration::from_millis(3))
}

/// A report with a rejected status.
fn refused(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Report {
    answered(status, body, headers).reject(Reason::HttpStatus)
}

fn good(body: &str, headers: &[(&'static str, &'static str)]) -> Report {
    answered(200, body, headers).accept()
}

/// The same report with this time to the first byte, in milliseconds.
fn after(mut report: Report, millis: u64) -> Report {
    let mut stage_log = StageLog::default();
    stage_log
        .begin(Stage::Wait, Duration::ZERO)
        .finish(Duration::from_millis(millis));
    report.exchanges[0].stage_log = stage_log;
    report.took = Duration::from_millis(millis);
    report
}

const NGINX: &[(&str, &str)] = &[("server", "nginx")];

const NGINX_502: &str = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>\
    <hr><center>nginx</center></body></html>";

const APACHE_READ: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>502 Proxy Error</title>\n\
    </head><body>\n<h1>Proxy Error</h1>\n<p>The proxy server received an invalid response from an upstream server.<br />\n\
    The proxy server could not handle the request<p>Reason: <strong>Error reading from remote server</strong></p></p></body></html>";

const APACHE_502: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>502 Bad Gateway</title>\n\
    </head><body>\n<h1>Bad Gateway</h1>\n<p>The proxy server received an invalid response from an upstream server.<br />\n\
    </p></body></html>";

const HAPROXY_502: &str =
    "<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>";

const HAPROXY_504: &str =
    "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>";

const NGINX_504: &str = "<html><head><title>504 Gateway Time-out</title></head><body><center><h1>504 Gateway Time-out\
    </h1></center><hr><center>nginx</center></body></html>";

#[test]
fn each_rule_id_has_one_row_in_the_tables() {
    let rows: Vec<RuleId> = RULES.iter().chain(MASKS).map(|rule| rule.id).collect();
    assert_eq!(rows, RuleId::ALL);
}

#[test]
fn each_rule_has_a_test_of_its_name() {
    let source = concat!(
        include_str!("tests/local.rs"),
        include_str!("tests/module_proxy.rs"),
        include_str!("tests/stages.rs"),
        include_str!("tests/backends.rs"),
        include_str!("tests/gateways.rs"),
        include_str!("tests/pages.rs"),
        include_str!("tests/masked.rs"),
    );
    for rule in RULES.iter().chain(MASKS) {
        let name = format!("fn {}()", rule.id.as_str().replace('-', "_"));
        assert!(source.contains(&name), "there is no test {name}");
        assert!(
            rule.when.contains('`') && rule.when.ends_with('.'),
            "{}: {}",
            rule.id.as_str(),
            rule.when
        );
    }
}
