//! Errors of an HTTP/1 response and their reasons.

use super::{ResponsePart, closed, reason_of_io};
use crate::check::memory_limit::NoMemory;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::DeviationFound;
use std::io;

/// The error of an HTTP/1 response.
#[derive(Debug, thiserror::Error)]
pub(in crate::check) enum Http1Error {
    /// The connection failed.
    #[error("The connection failed: {0}.")]
    Io(#[from] io::Error),
    /// The connection ended before or within the response.
    #[error("The connection ended before the response did.")]
    Closed,
    /// The response is not valid HTTP.
    #[error("{}", .0.words())]
    Invalid(DeviationFound),
    /// The head exceeds the maximum size.
    #[error("The response header has more than {0} bytes.")]
    HeadTooLong(usize),
    /// The head exceeds the maximum number of fields.
    #[error("The response header has more than {0} fields.")]
    TooManyFields(usize),
    /// The response exceeds the maximum number of interim responses.
    #[error("More than {0} interim responses preceded the final one.")]
    TooManyInterim(usize),
    /// The memory limit is reached.
    #[error("Cannot store the response: {0}.")]
    NoMemory(#[from] NoMemory),
}

impl Http1Error {
    pub fn reason(&self, part: ResponsePart) -> Reason {
        match self {
            Self::Io(error) => reason_of_io(error, part).unwrap_or(Reason::HttpFailed),
            Self::Closed => closed(part),
            Self::Invalid(_) => Reason::HttpResponseInvalid,
            Self::HeadTooLong(_) | Self::TooManyFields(_) => Reason::HttpResponseHeaderTooLarge,
            Self::TooManyInterim(_) => Reason::HttpResponseTooManyInterim,
            Self::NoMemory(_) => Reason::LocalOverloaded,
        }
    }
}
