//! The content of a stored probe: its documents, compressed, with a checksum.
//!
//! The documents are stored as they were rendered. They do not depend on the types of this version of the exporter, so
//! a later version shows them unchanged.

use super::EvidenceSummary;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _};

/// Maximum size of the documents of one probe, in bytes. Protects against a damaged length.
const LARGEST: u64 = 64 << 20;

/// Compression level of zstd: its default, about 0.1 ms for the documents of a probe.
const LEVEL: i32 = 3;

/// The rendered evidence of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceDocuments {
    /// Title of the page.
    pub title: String,
    /// Content of the page, as HTML without the header and its links.
    pub page: String,
    /// The response of `/evidence/{id}.json`.
    pub json: String,
    /// The response of `/evidence/{id}.har`.
    pub har: String,
    /// The query of a request that repeats the probe. It may contain secrets of the target, so no page shows it. Empty
    /// if an earlier version stored the probe.
    pub repeat: String,
}

/// Compresses documents: the length (4 bytes, little-endian) and the bytes of each.
///
/// # Errors
/// When a document exceeds 4 GiB, or zstd fails.
pub(super) fn pack(documents: &EvidenceDocuments) -> io::Result<Vec<u8>> {
    let EvidenceDocuments {
        title,
        page,
        json,
        har,
        repeat,
    } = documents;
    let parts = [title, page, json, har, repeat];
    let mut raw = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).map_err(io::Error::other)?;
        raw.extend_from_slice(&length.to_le_bytes());
        raw.extend_from_slice(part.as_bytes());
    }
    zstd::bulk::compress(&raw, LEVEL)
}

/// Restores documents. Returns `None` if the bytes are not the result of [`pack`].
pub(super) fn unpack(bytes: &[u8]) -> Option<EvidenceDocuments> {
    let mut raw = Vec::new();
    let decoder = zstd::Decoder::new(bytes).ok()?;
    decoder.take(LARGEST).read_to_end(&mut raw).ok()?;
    let mut rest = raw.as_slice();
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        String::from_utf8(part.to_vec()).ok()
    };
    Some(EvidenceDocuments {
        title: next()?,
        page: next()?,
        json: next()?,
        har: next()?,
        repeat: next().unwrap_or_default(),
    })
}

/// Checksum of a stored probe: the first 16 bytes of the SHA-256 of its id, module, target and content. A content that
/// belongs to another probe does not match.
pub(super) fn checksum(summary: &EvidenceSummary, packed: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [
        summary.id.to_string().as_bytes(),
        summary.module.as_bytes(),
        summary.target.as_bytes(),
        packed,
    ] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..16].to_vec()
}

#[cfg(test)]
mod tests {
    use super::{EvidenceDocuments, pack, unpack};

    #[test]
    fn documents_read_back() {
        let documents = EvidenceDocuments {
            title: "Broken: Edge".to_owned(),
            page: "<h1>ä</h1>".repeat(100),
            json: "{}\n".to_owned(),
            har: String::new(),
            repeat: "target=a&module=m".to_owned(),
        };
        let packed = pack(&documents).unwrap();
        assert!(packed.len() < documents.page.len());
        assert_eq!(unpack(&packed), Some(documents));
    }

    #[test]
    fn damaged_documents_are_refused() {
        let packed = pack(&EvidenceDocuments::default()).unwrap();
        assert_eq!(unpack(&packed[..packed.len() - 1]), None);
        assert_eq!(unpack(b""), None);
        let too_long = zstd::bulk::compress(&u32::MAX.to_le_bytes(), 1).unwrap();
        assert_eq!(unpack(&too_long), None);
    }
}
