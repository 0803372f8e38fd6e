//! The identifier of the evidence of one probe.

use std::fmt;
use std::str::FromStr;

/// Identifier of one piece of evidence: the process that created it and a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceId {
    /// Identifies the process.
    pub process: u32,
    /// Sequence number of the probe within the process.
    pub number: u32,
}

impl fmt::Display for EvidenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.process, self.number)
    }
}

/// The string is not a valid evidence ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid evidence ID: expected 16 hexadecimal digits")]
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
