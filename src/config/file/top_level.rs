//! The top-level blocks of the configuration file: controls, policy and limits.

use glassbox_probe::block;
use glassbox_probe::file::{ConfigIssue, Fill, Node, NodeKind, Read, Spanned};
use serde::Serialize;

block! {
    /// The exporter's limits.
    LimitsFile {
        leases: Spanned<i64>,
        probes: Spanned<i64>,
        queue: Spanned<String>,
        per_destination: Spanned<i64>,
        matched_body: Spanned<String>,
        json_values: Spanned<i64>,
        response_head: Spanned<String>,
        response_fields: Spanned<i64>,
        interim_responses: Spanned<i64>,
        redirects: Spanned<i64>,
        parameter: Spanned<String>,
        history_bytes: Spanned<String>,
        probe_memory: Spanned<String>,
        connections: Spanned<i64>,
        request_head: Spanned<String>,
        diagnostics: Spanned<String>,
    } unserved {}
}

block! {
    /// A control: a name or a server that is expected to be always available.
    ControlFile {
        name: Spanned<String>,
        expect: Vec<Spanned<String>>,
        address: Spanned<String>,
        url: Spanned<String>,
    } unserved {}
}

block! {
    /// The connection policy.
    PolicyFile {
        mode: Spanned<String>,
        networks: ListsFile,
        ports: ListsFile,
        unix: ListsFile,
    } unserved {}
}

block! {
    /// Allowed and denied entries.
    ListsFile {
        allow: Vec<Spanned<String>>,
        deny: Vec<Spanned<String>>,
    } unserved {}
}

/// A policy. A single value is the mode.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Shorthand(pub PolicyFile);

impl Read for Shorthand {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        Ok(Self(match &node.kind {
            NodeKind::Block(_) => Read::read(node, path)?,
            _ => PolicyFile {
                mode: Some(Read::read(node, path)?),
                ..PolicyFile::default()
            },
        }))
    }
}

impl Fill for Shorthand {
    fn fill(self, from: &Self) -> Self {
        Self(self.0.fill(&from.0))
    }
}

/// The members of a backend. A single value is a name whose addresses are the members.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Members(pub Vec<Spanned<String>>);

impl Read for Members {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        Ok(Self(match &node.kind {
            NodeKind::List(_) => Read::read(node, path)?,
            _ => vec![Read::read(node, path)?],
        }))
    }
}

impl Fill for Members {
    fn fill(self, _: &Self) -> Self {
        self
    }
}
