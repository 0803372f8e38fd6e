//! The blocks beside the modules, as they are written: controls, policy, limits.

use super::{At, Fill, refuse_unserved};
use crate::config::keys::{plain, unknown};
use crate::config::problem::Problem;
use crate::config::read::Read;
use crate::config::tree::{Kind, Node, below};
use serde::Serialize;

block! {
    /// Bounds on what the exporter does at once.
    LimitsFile {
        leases: At<i64>,
        probes: At<i64>,
        queue: At<String>,
        per_destination: At<i64>,
        matched_body: At<String>,
        json_values: At<i64>,
        response_head: At<String>,
        response_fields: At<i64>,
        interim_responses: At<i64>,
        redirects: At<i64>,
        parameter: At<String>,
        connections: At<i64>,
        request_head: At<String>,
    } unserved {}
}

block! {
    /// Something that should always answer.
    ControlFile {
        name: At<String>,
        expect: Vec<At<String>>,
        address: At<String>,
        url: At<String>,
    } unserved {}
}

block! {
    /// What may be dialled.
    PolicyFile {
        mode: At<String>,
        networks: ListsFile,
        ports: ListsFile,
        unix: ListsFile,
    } unserved {}
}

block! {
    /// What is allowed, and what is denied.
    ListsFile {
        allow: Vec<At<String>>,
        deny: Vec<At<String>>,
    } unserved {}
}

/// A policy: one word is its mode.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct Shorthand(pub PolicyFile);

impl Read for Shorthand {
    fn read(node: &Node, path: &str) -> Result<Self, Problem> {
        Ok(Self(match &node.kind {
            Kind::Block(_) => Read::read(node, path)?,
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
