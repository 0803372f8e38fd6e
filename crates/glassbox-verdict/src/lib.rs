//! Names the link of the chain that broke, from the facts of a failed probe.
//!
//! A probe collects facts in a [`Report`]. [`attribute`] evaluates an ordered table of rules on these [`Facts`] and
//! returns a [`Verdict`]: the [`Link`], the [`Reason`], the [`Certainty`] and the rule that matched. The crate is pure:
//! no clock, no async runtime, no I/O.
//!
//! # A 502 page
//!
//! ```
//! use glassbox_verdict::{Facts, Link, Reason, Reply, ReportBuilder, Stage, attribute};
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! let page = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>\
//!             <hr><center>nginx</center></body></html>";
//! let mut reply = Reply { status: 502, body_start: page.into(), body_length: page.len() as u64, ..Reply::default() };
//! reply.headers.insert("server", "nginx".parse()?);
//! let report = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .began(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
//!     .method("GET")
//!     .connected("203.0.113.5:80".parse()?, "192.0.2.1:50000".parse()?)
//!     .stage(Stage::Connect, Duration::from_millis(2))
//!     .stage(Stage::Wait, Duration::from_millis(3))
//!     .reply(reply, Duration::from_millis(1))
//!     .reject(Reason::HttpStatus);
//! let facts = Facts::new(&report);
//! let verdict = attribute(&facts).expect("a failed probe has a verdict");
//! assert_eq!(verdict.link, Link::Upstream);
//! assert_eq!(verdict.answered_by, Some("nginx"));
//! let at = "From 192.0.2.1 at 2027-01-15T08:00:00.000Z, GET http://shop.example/";
//! assert!(verdict.summary.starts_with(&format!("{at}: nginx (203.0.113.5:80) returned 502 in 3.0 ms")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A refused connection
//!
//! ```
//! use glassbox_verdict::{Facts, Link, Reason, ReportBuilder, Stage, attribute};
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! let report = ReportBuilder::new("http://shop.example/", Duration::from_secs(5))
//!     .began(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
//!     .method("GET")
//!     .fail(Stage::Connect, Duration::from_millis(2), Reason::TcpRefused);
//! let facts = Facts::new(&report);
//! let verdict = attribute(&facts).expect("a failed probe has a verdict");
//! assert_eq!((verdict.link, verdict.stage), (Link::Edge, Stage::Connect));
//! let at = "At 2027-01-15T08:00:00.000Z, GET http://shop.example/";
//! assert!(verdict.summary.starts_with(&format!("{at}: The connection was refused. The edge itself is at fault")));
//! ```
//!
//! # A healthy response that hides a broken backend
//!
//! ```
//! use glassbox_verdict::{
//!     Backend, DiagnosticKind, DiagnosticOutcome, DirectRequest, Facts, Investigation, Link,
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
//! let mut diagnostics = Investigation::default();
//! let direct = vec![DirectRequest::new(backend, refused)];
//! diagnostics.put(DiagnosticKind::Backends, DiagnosticOutcome::Direct(direct));
//! let facts = Facts::new(&report).with_diagnostics(Some(&diagnostics));
//! let verdict = attribute(&facts).expect("the broken backend is hidden");
//! assert!(verdict.masked && verdict.summary.contains("A direct request to app (10.0.0.7:80) failed"));
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
//! What grows with each version is `#[non_exhaustive]`: the lists [`Reason`], [`reason::ReasonFamily`], [`RuleId`],
//! [`DiagnosticKind`], [`report::Deviation`], [`report::ProtocolFacts`] and the signatures of [`gateways`], and the
//! structs [`Facts`], [`Verdict`], [`DirectRequest`] and [`DiagnosticResult`], which have constructors. Labels of
//! released variants do not change. [`Stage`], [`Link`], [`Side`], [`Certainty`] and [`DiagnosticOutcome`] are
//! exhaustive: code that draws the chain or accounts for memory must handle each of them. [`ReportBuilder`] creates
//! reports. [`Exchange`] and [`Reply`] have defaults; their fields are public, and new ones are added.
#![forbid(unsafe_code)]

pub mod attribution;
pub mod backend;
pub mod baseline;
pub mod chain;
pub mod conformance;
pub mod gateways;
pub mod host_port;
pub mod investigation;
pub mod outcomes;
pub mod reason;
pub mod report;
pub mod rule_id;
pub mod stage_log;
pub mod statistics;
#[doc(hidden)]
pub mod utc;
pub mod verdict;

pub use attribution::{Facts, attribute};
pub use backend::Backend;
pub use baseline::Baseline;
pub use chain::{Link, Stage};
pub use gateways::{catalogue, recognise};
pub use http::HeaderMap;
pub use investigation::{DiagnosticKind, DiagnosticOutcome, DiagnosticResult, DirectRequest, Investigation, Vantage};
pub use reason::Reason;
pub use report::{Exchange, Fault, Reply, Report, ReportBuilder};
pub use rule_id::RuleId;
pub use verdict::{Certainty, Side, Verdict};
