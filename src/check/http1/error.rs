//! How a response over HTTP/1 failed, and what that is called.

use super::head::HeadError;
use crate::check::memory_limit::NoMemory;
use crate::check::pending_response::{ResponsePart, closed, reason_of_io};
use crate::reason::Reason;
use crate::report::DeviationFound;
use std::io;

/// How a response over HTTP/1 failed.
#[derive(Debug, thiserror::Error)]
pub enum Http1Error {
    /// The connection failed.
    #[error("The connection failed: {0}.")]
    Io(#[from] io::Error),
    /// The connection ended within the response, or before it.
    #[error("The connection ended before the response did.")]
    Closed,
    /// The response is not valid HTTP.
    #[error("{}", .0.words())]
    Invalid(DeviationFound),
    /// More bytes of a head than there may be.
    #[error("The response head has more than {0} bytes.")]
    HeadTooLong(usize),
    /// More fields than there may be.
    #[error("The response head has more than {0} fields.")]
    TooManyFields(usize),
    /// More interim responses than there may be.
    #[error("More than {0} interim responses came before the final one.")]
    TooManyInterim(usize),
    /// There is no room for what comes.
    #[error("The response: {0}.")]
    NoMemory(#[from] NoMemory),
}

impl From<HeadError> for Http1Error {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Invalid(found) => Self::Invalid(found),
            HeadError::TooLong(limit) => Self::HeadTooLong(limit),
            HeadError::TooManyFields(limit) => Self::TooManyFields(limit),
        }
    }
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
