//! Names the link of the chain that broke, from the facts of a failed probe.
//!
//! A probe collects facts in a [`Report`]. [`attribute`] evaluates an ordered table of rules on these [`Facts`] and
//! returns a [`Verdict`]: the [`Link`], the [`Reason`], the [`Certainty`] and the rule that matched. The crate is pure:
//! no clock, no async runtime, no I/O.
//!
//! # A 502 page
//!
//! ```
//! use glassbox_verdict::{Baseline, Facts, Link, Reason, Reply, ReportBuilder, Stage, attribute};
//! use std::time::Duration;
//!
//! let page = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>\
//!             <hr><center>nginx</center></body></html>";
//! let mut reply = Reply { status: 502, body_start: page.into(), body_length: page.len() as u64, ..Reply::default() };
//! reply.headers.insert("server", "nginx".parse()?);
//! let report = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .stage(Stage::Connect, Duration::from_millis(2))
//!     .stage(Stage::Wait, Duration::from_millis(3))
//!     .reply(reply, Duration::from_millis(1))
//!     .reject(Reason::HttpStatus);
//! let facts = Facts { edge: &report, diagnostics: None, baseline: &Baseline::default(), vantage: None };
//! let verdict = attribute(&facts).expect("a failed probe has a verdict");
//! assert_eq!(verdict.link, Link::Upstream);
//! assert_eq!(verdict.answered_by, "nginx");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A refused connection
//!
//! ```
//! use glassbox_verdict::{Baseline, Facts, Link, Reason, ReportBuilder, Stage, attribute};
//! use std::time::Duration;
//!
//! let report = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .fail(Stage::Connect, Duration::from_millis(2), Reason::TcpRefused);
//! let facts = Facts { edge: &report, diagnostics: None, baseline: &Baseline::default(), vantage: None };
//! let verdict = attribute(&facts).expect("a failed probe has a verdict");
//! assert_eq!((verdict.link, verdict.stage), (Link::Edge, Stage::Connect));
//! ```
//!
//! # A healthy response that hides a broken backend
//!
//! ```
//! use glassbox_verdict::{
//!     Backend, Baseline, DiagnosticKind, DiagnosticOutcome, DiagnosticResult, DirectRequest, Facts, Investigation, Link,
//!     Reason, Reply, ReportBuilder, Stage, attribute,
//! };
//! use std::time::Duration;
//!
//! let report = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .reply(Reply { status: 200, ..Reply::default() }, Duration::from_millis(1))
//!     .accept();
//! let refused = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .fail(Stage::Connect, Duration::from_millis(2), Reason::TcpRefused);
//! let backend = Backend { trusted: true, ..Backend::new("app", "10.0.0.7:80")? };
//! let direct = DirectRequest { backend, reachable: false, held_back: false, report: refused, handshake: None };
//! let mut diagnostics = Investigation::default();
//! let outcome = DiagnosticOutcome::Direct(vec![direct]);
//! diagnostics.put(DiagnosticResult { kind: DiagnosticKind::Backends, outcome });
//! let facts =
//!     Facts { edge: &report, diagnostics: Some(&diagnostics), baseline: &Baseline::default(), vantage: None };
//! let verdict = attribute(&facts).expect("the broken backend is hidden");
//! assert!(verdict.masked);
//! assert_eq!(verdict.link, Link::Upstream);
//! assert_eq!(verdict.reason, Reason::UpstreamConnectionRefused);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! - The facts: [`report`] (exchanges with their stage timings, certificates, sockets and responses), [`investigation`]
//!   (results of additional requests, and of controls that test the observer's own network), [`baseline`] (what earlier
//!   responses of the target had in common).
//! - The words of a verdict: [`chain`] (stages and links), [`reason`] (a closed list), [`rule_id`], [`verdict`].
//! - The judgment: [`gateways`] recognises who generated a response from its fields and its page; [`attribution`] contains
//!   the rules in order of trust. [`attribution::RULES`] and [`attribution::MASKS`] are the tables.
//!
//! [`Certainty::Certain`] means proven. A rule that infers from the look of a response is [`Certainty::Likely`].
//!
//! # Stability
//!
//! The lists that grow with each version are `#[non_exhaustive]`: [`Reason`], [`reason::ReasonFamily`], [`RuleId`],
//! [`DiagnosticKind`], [`report::Deviation`], [`report::ProtocolFacts`]. Labels of released variants do not change.
//! [`Stage`], [`Link`], [`Side`], [`Certainty`] and [`DiagnosticOutcome`] are exhaustive: code that draws the chain or
//! accounts for memory must handle each of them. The facts are structs with public fields and defaults; create them with
//! [`ReportBuilder`] or with `..Default::default()`, since fields are added.
#![forbid(unsafe_code)]

pub mod attribution;
pub mod backend;
pub mod baseline;
pub mod chain;
pub mod conformance;
pub mod gateways;
pub mod host_port;
pub mod investigation;
pub mod reason;
pub mod report;
pub mod rule_id;
pub mod stage_log;
pub mod utc;
pub mod verdict;

pub use attribution::{Facts, attribute};
pub use backend::Backend;
pub use baseline::Baseline;
pub use chain::{Link, Stage};
pub use investigation::{DiagnosticKind, DiagnosticOutcome, DiagnosticResult, DirectRequest, Investigation, Vantage};
pub use reason::Reason;
pub use report::{Exchange, Fault, Reply, Report, ReportBuilder};
pub use rule_id::RuleId;
pub use verdict::{Certainty, Side, Verdict};
