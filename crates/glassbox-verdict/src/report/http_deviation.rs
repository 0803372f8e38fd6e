//! Deviations of a response from HTTP: the closed list of kinds, and those found in one response.

/// Declares [`Deviation`] from its table: variant, name, specification, sentence.
macro_rules! deviations {
    ($($variant:ident = $name:literal, $section:literal, $sentence:literal;)+) => {
        /// One way in which a response deviates from HTTP.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Deviation { $(#[doc = $sentence] $variant,)+ }

        impl Deviation {
            /// All deviations, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Name in the evidence.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Section of the specification that the response violates.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $(Self::$variant => $section,)+ }
            }

            /// Description, as a sentence without a full stop.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

deviations! {
    EmptyLine = "empty_line_before_status_line", "RFC 9112 section 2.1", "An empty line precedes the status line";
    StatusLineSpace = "space_before_status_code", "RFC 9112 section 4", "More than one space precedes the status code";
    ReasonSpace = "no_space_after_status_code", "RFC 9112 section 4", "No space follows the status code";
    ReasonBytes = "control_character_in_reason_phrase", "RFC 9112 section 4", "The reason phrase contains a control character";
    Version = "http_version", "RFC 9112 section 2.3", "The HTTP version in the status line is neither 1.0 nor 1.1";
    StatusCode = "status_code_out_of_range", "RFC 9110 section 15", "The status code is outside 100 to 599";
    BareLf = "bare_lf", "RFC 9112 section 2.2", "A header line ends with LF without CR";
    ObsFold = "obs_fold", "RFC 9112 section 5.2", "A field value is folded over several lines";
    SpaceBeforeColon = "space_before_colon", "RFC 9112 section 5.1", "A space precedes the colon of a field";
    SpaceInName = "space_in_field_name", "RFC 9110 section 5.1", "A field name contains a space";
    RepeatedLength = "repeated_content_length", "RFC 9110 section 8.6", "Content-Length is repeated with the same value";
    EmptyLength = "empty_content_length", "RFC 9110 section 8.6", "Content-Length has no value";
    LengthBesideCoding = "content_length_with_transfer_encoding", "RFC 9112 section 6.2", "The response contains both Content-Length and Transfer-Encoding";
    CodingInHttp10 = "transfer_encoding_in_http_1_0", "RFC 9112 section 6.1", "An HTTP/1.0 response contains Transfer-Encoding";
    FramingWithoutBody = "framing_without_body", "RFC 9110 section 8.6", "A response with status 1xx or 204 contains Content-Length or Transfer-Encoding";
    ResetContent = "content_in_reset_content", "RFC 9110 section 15.3.6", "A response with status 205 contains content";
    UnexpectedBody = "unexpected_body", "RFC 9112 section 6.3", "Bytes follow the header of a response without a body";
    MissingBody = "missing_body", "RFC 9113 section 8.1.1", "An HTTP/2 response ends after its header but declares a Content-Length above 0";
    UnaskedUpgrade = "unrequested_upgrade", "RFC 9110 section 15.2.2", "The server switched protocols without a request to do so";
    SpaceAfterSize = "space_after_chunk_size", "RFC 9112 section 7.1", "A space follows a chunk size";
    SpaceAfterExtension = "space_after_chunk_extension", "RFC 9112 section 7.1.1", "A space follows a chunk extension";
    ExcessBytes = "excess_bytes", "RFC 9112 section 6.3", "Additional bytes follow the end of the response";
    CrlfAfterBody = "crlf_after_body", "RFC 9112 section 6.3", "An empty line follows the end of the response";
    ConnectionField = "connection_specific_field", "RFC 9113 section 8.2.2", "An HTTP/2 response contains a field that is specific to HTTP/1 connections";
    NoCloseNotify = "no_close_notify", "RFC 9112 section 9.8", "Only the end of the connection marks the end of the body, but TLS was closed without `close_notify`";
    FramingInTrailers = "framing_field_in_trailers", "RFC 9110 section 6.5.1", "A trailer field frames the message";

    NotHttp = "not_http", "RFC 9112 section 4", "The response does not begin with HTTP/";
    StatusLine = "invalid_status_line", "RFC 9112 section 4", "The status line does not contain a three-digit status code";
    VersionFormat = "invalid_http_version", "RFC 9112 section 2.3", "The HTTP version does not have the form HTTP/1.1";
    NoColon = "field_line_without_colon", "RFC 9112 section 5", "A field line has no colon";
    FieldName = "invalid_field_name", "RFC 9110 section 5.1", "A field name is empty or contains an invalid character";
    FieldValue = "control_character_in_field_value", "RFC 9110 section 5.5", "A field value contains a control character";
    FoldedFirst = "space_before_first_field", "RFC 9112 section 2.2", "Whitespace precedes the first field";
    UpperCase = "uppercase_field_name", "RFC 9113 section 8.2.1", "An HTTP/2 field name contains an upper-case letter";
    PseudoField = "invalid_pseudo_header_field", "RFC 9113 section 8.3", "A pseudo-header field is missing, repeated, misplaced or invalid";
    LengthInvalid = "invalid_content_length", "RFC 9110 section 8.6", "Content-Length is not a number of bytes";
    LengthsDiffer = "conflicting_content_length", "RFC 9112 section 6.3", "Several Content-Length fields have different values";
    CodingUnknown = "unsupported_transfer_encoding", "RFC 9112 section 6.1", "Transfer-Encoding is not chunked";
    CodingRepeated = "repeated_transfer_encoding", "RFC 9112 section 6.1", "Transfer-Encoding is repeated";
    TrailerName = "framing_field_announced_as_trailer", "RFC 9110 section 6.5.1", "The Trailer field announces a field that frames the message";
    ChunkSize = "invalid_chunk_size", "RFC 9112 section 7.1", "A chunk size is not a hexadecimal number of up to 16 digits";
    ChunkLineEnd = "invalid_chunk_line_end", "RFC 9112 section 7.1", "A chunk size line does not end with CRLF";
    ChunkDataEnd = "invalid_chunk_data_end", "RFC 9112 section 7.1", "Chunk data is not followed by CRLF";
    ChunkLineLong = "chunk_line_too_long", "RFC 9112 section 7.1.1", "A chunk size line is longer than 4096 bytes";
    ChunkOverhead = "chunk_extensions_too_long", "RFC 9112 section 7.1.1", "The chunk extensions are much longer than the data";
    TrailersLong = "trailers_too_long", "RFC 9112 section 7.1.2", "The trailer section is longer than 4096 bytes";
}

/// Maximum number of deviations per exchange. A server tends to repeat the same ones.
const MOST: usize = 16;

/// Maximum length of a stored field name, in bytes.
const LONGEST_NAME: usize = 64;

/// One deviation of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviationFound {
    /// Kind of the deviation.
    pub deviation: Deviation,
    /// Name of the affected field, if there is one: up to 64 printable characters, then `…` if it is longer.
    pub field: Option<String>,
}

impl DeviationFound {
    /// A deviation with the name of the affected field.
    #[must_use]
    pub fn of_field(deviation: Deviation, name: &[u8]) -> Self {
        let kept = &name[..name.len().min(LONGEST_NAME)];
        let printable = kept.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => char::REPLACEMENT_CHARACTER,
        });
        // The secret masker treats `…` as a sign that the rest of a secret may be missing.
        let printable = printable.chain((kept.len() < name.len()).then_some('…'));
        Self {
            deviation,
            field: Some(printable.collect()),
        }
    }

    /// Description, as a sentence with the affected field.
    #[must_use]
    pub fn words(&self) -> String {
        let sentence = self.deviation.sentence();
        match &self.field {
            Some(field) => format!("{sentence}: {field:?}."),
            None => format!("{sentence}."),
        }
    }
}

impl From<Deviation> for DeviationFound {
    fn from(deviation: Deviation) -> Self {
        Self { deviation, field: None }
    }
}

/// Up to 16 distinct deviations of one exchange, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deviations(Vec<DeviationFound>);

impl Deviations {
    /// Adds a deviation, unless it is already in the list or the list is full.
    pub fn note(&mut self, found: impl Into<DeviationFound>) {
        let found = found.into();
        if self.0.len() < MOST && !self.0.contains(&found) {
            self.0.push(found);
        }
    }

    /// Adds a deviation that affects a field.
    pub fn note_field(&mut self, deviation: Deviation, name: &[u8]) {
        self.note(DeviationFound::of_field(deviation, name));
    }

    /// Adds all deviations of another list.
    pub fn append(&mut self, others: Self) {
        for found in others.0 {
            self.note(found);
        }
    }

    /// Replaces the field names for which `other` returns a text. Removes duplicates afterwards.
    pub fn map_fields(&mut self, other: impl Fn(&str) -> Option<String>) {
        for mut found in std::mem::take(&mut self.0) {
            if let Some(field) = found.field.as_deref().and_then(&other) {
                found.field = Some(field);
            }
            self.note(found);
        }
    }

    /// Whether the list is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list contains this kind of deviation.
    #[must_use]
    pub fn has(&self, deviation: Deviation) -> bool {
        self.0.iter().any(|found| found.deviation == deviation)
    }

    /// The deviations.
    pub fn iter(&self) -> impl Iterator<Item = &DeviationFound> {
        self.0.iter()
    }

    /// The distinct names of the deviations.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for found in &self.0 {
            if !names.contains(&found.deviation.as_str()) {
                names.push(found.deviation.as_str());
            }
        }
        names
    }

    /// All deviations in one line, with the affected fields; `None` if there are none.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let words = self.0.iter().map(|found| match &found.field {
            Some(field) => format!("{} ({field})", found.deviation.as_str()),
            None => found.deviation.as_str().to_owned(),
        });
        (!self.0.is_empty()).then(|| format!("Deviations from HTTP: {}.", words.collect::<Vec<_>>().join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Deviation, DeviationFound, Deviations};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_words_and_each_has_its_rule() {
        let names: HashSet<_> = Deviation::ALL.iter().map(|deviation| deviation.as_str()).collect();
        assert_eq!(names.len(), Deviation::ALL.len());
        for deviation in Deviation::ALL {
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(deviation.as_str().chars().all(is_word), "{deviation:?}");
            assert!(deviation.section().starts_with("RFC 91"), "{deviation:?}");
            assert!(!deviation.sentence().ends_with('.'), "{deviation:?}");
        }
    }

    #[test]
    fn a_list_is_bounded_and_has_each_once() {
        let mut found = Deviations::default();
        assert_eq!(found.line(), None);
        for _ in 0..3 {
            found.note(Deviation::BareLf);
        }
        assert_eq!(found.names(), ["bare_lf"]);
        for number in 0..1000 {
            found.note_field(
                Deviation::ObsFold,
                format!("x-{number}\x1b{}", "y".repeat(500)).as_bytes(),
            );
        }
        assert_eq!(found.iter().count(), super::MOST);
        assert_eq!(found.names(), ["bare_lf", "obs_fold"]);
        let line = found.line().unwrap();
        assert!(line.len() < 2000 && !line.contains('\x1b'), "{line}");
        let one = DeviationFound::of_field(Deviation::ObsFold, b"x-a");
        assert_eq!(one.words(), "A field value is folded over several lines: \"x-a\".");
    }
}
