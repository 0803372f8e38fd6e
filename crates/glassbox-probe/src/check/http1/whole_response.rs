//! Parses a complete HTTP/1 response from bytes that have already arrived, without a connection.

use super::chunks::Chunks;
use super::framing::{Framing, body_of};
use super::head::{Head, HeadError, HeadLimits, HeadReader};
use crate::limits::Limits;
use glassbox_verdict::report::{Deviation, Deviations};
use http::HeaderMap;

/// A complete response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WholeResponse {
    /// The status code of the final response.
    pub status: u16,
    /// Its version, such as `HTTP/1.1`.
    pub version: &'static str,
    /// Number of interim responses before it.
    pub interims: usize,
    /// Its fields.
    pub headers: HeaderMap,
    /// The length that the head declares.
    pub declared_length: Option<u64>,
    /// Its content, without the transfer coding.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: HeaderMap,
    /// Number of bytes after its end.
    pub excess: usize,
    /// The deviations from HTTP.
    pub deviations: Deviations,
}

/// Reads a response from pieces that arrived before the connection ended. It uses the same parsers as a connection,
/// with the default limits of a module.
///
/// # Errors
/// A message, if the response is not HTTP, ends early, or has a head that exceeds the limits.
pub fn read_response<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, is_head: bool) -> Result<WholeResponse, String> {
    let mut reading = Reading {
        pieces: pieces.into_iter(),
        unread: Vec::new(),
        deviations: Deviations::default(),
    };
    let mut interims = 0;
    let limits = Limits::default();
    loop {
        let head = reading.head(&limits).map_err(words)?;
        let head = head.ok_or("The connection ended before the response header did.")?;
        let body = body_of(&head, is_head, &mut reading.deviations).map_err(words)?;
        if head.status_line.is_interim() {
            interims += 1;
            if interims > limits.interim_responses {
                return Err("There are too many interim responses.".to_owned());
            }
            continue;
        }
        let mut response = WholeResponse {
            status: head.status_line.status,
            version: head.status_line.version,
            interims,
            headers: head.fields,
            declared_length: body.declared,
            ..WholeResponse::default()
        };
        if response.status == 101 {
            // The bytes that follow belong to another protocol.
            while reading.more() {}
        } else {
            reading.body(body.framing, &mut response)?;
        }
        response.excess = reading.unread.len();
        response.deviations = reading.deviations;
        return Ok(response);
    }
}

struct Reading<I> {
    pieces: I,
    unread: Vec<u8>,
    deviations: Deviations,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Reading<I> {
    fn more(&mut self) -> bool {
        let piece = self.pieces.next();
        self.unread.extend_from_slice(piece.unwrap_or_default());
        piece.is_some()
    }

    fn head(&mut self, limits: &Limits) -> Result<Option<Head>, HeadError> {
        let mut reader = HeadReader::new(HeadLimits {
            bytes: limits.response_head,
            fields: limits.response_fields,
        });
        loop {
            let (taken, has_ended) = reader.advance(&self.unread)?;
            self.unread.drain(..taken);
            if has_ended {
                let (head, deviations) = reader.end();
                self.deviations.append(deviations);
                return Ok(Some(head));
            }
            if !self.more() {
                return Ok(None);
            }
        }
    }

    fn body(&mut self, framing: Framing, response: &mut WholeResponse) -> Result<(), String> {
        match framing {
            Framing::Chunked => self.chunks(response)?,
            _ => while self.more() {},
        }
        while self.more() {}
        let length = match framing {
            Framing::None | Framing::Chunked => 0,
            Framing::Close => self.unread.len(),
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        };
        if length > self.unread.len() {
            return Err("The connection ended within the body.".to_owned());
        }
        response.body.extend(self.unread.drain(..length));
        match self.unread[..] {
            [] => {}
            [b'\r', b'\n'] | [b'\n'] => self.deviations.note(Deviation::CrlfAfterBody),
            _ if framing == Framing::None => self.deviations.note(Deviation::UnexpectedBody),
            _ => self.deviations.note(Deviation::ExcessBytes),
        }
        Ok(())
    }

    fn chunks(&mut self, response: &mut WholeResponse) -> Result<(), String> {
        let mut chunks = Chunks::default();
        loop {
            let decoded = chunks.decode(&mut self.unread).map_err(words)?;
            response
                .body
                .extend_from_slice(&self.unread[decoded.start..decoded.end]);
            self.unread.drain(..decoded.taken);
            if chunks.has_ended() {
                let (trailers, deviations) = chunks.end();
                response.trailers = trailers;
                self.deviations.append(deviations);
                return Ok(());
            }
            if decoded.start == decoded.end && !self.more() {
                return Err("The connection ended within the body.".to_owned());
            }
        }
    }
}

fn words(error: HeadError) -> String {
    match error {
        HeadError::Invalid(found) => found.words(),
        HeadError::TooLong(limit) => format!("The response header has more than {limit} bytes."),
        HeadError::TooManyFields(limit) => format!("The response header has more than {limit} fields."),
    }
}

#[cfg(test)]
mod tests {
    use super::{WholeResponse, read_response};
    use crate::limits::Limits;

    fn read(text: &str) -> Result<WholeResponse, String> {
        read_response([text.as_bytes()], false)
    }

    fn field(response: &WholeResponse, name: &str) -> Option<String> {
        let value = response.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The result does not depend on how the response is cut into pieces.
    #[test]
    fn a_response_does_not_depend_on_how_it_comes() {
        for text in [
            "HTTP/1.1 103 E\r\nX: y\r\n z\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n",
            "\r\n\nHTTP/1.1  200\nX : y\nTransfer-Encoding:\r\n\tchunked\r\n\r\n2 \r\nhe\r\n03;a=b\r\nllo\r\n0\r\nX: y\r\n z\r\n\r\nmore",
            "HTTP/1.1 204 No Content\r\n\r\nhello",
            "HTTP/1.0 200 OK\n\nhello",
        ] {
            let whole = read(text).unwrap();
            for cut in 0..=text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                assert_eq!(
                    read_response([first, second], false).as_ref(),
                    Ok(&whole),
                    "{text:?} at {cut}"
                );
            }
            assert_eq!(read_response(text.as_bytes().chunks(1), false), Ok(whole), "{text:?}");
        }
    }

    #[test]
    fn folded_values_are_joined_as_go_joins_them() {
        for (lines, value) in [
            ("X: y", "y"),
            ("X:\t y \t", "y"),
            ("X:", ""),
            ("X: y\r\n z", "y z"),
            ("X: y \r\n\t z ", "y z"),
            ("X: y\n z", "y z"),
            ("X:\r\n z", "z"),
            ("X: y\r\n ", "y "),
            ("X: y\r\n  \r\n  z", "y  z"),
        ] {
            let response = read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")).unwrap();
            assert_eq!(field(&response, "x").as_deref(), Some(value), "{lines:?}");
        }
    }

    /// A field whose name contains a space is ignored, as in Go.
    #[test]
    fn a_name_with_a_space_is_no_name() {
        let response =
            read("HTTP/1.1 200 OK\r\nContent-Length : 2\r\nSet-Cookie : a=b\r\nA b: c\r\n\r\nhello").unwrap();
        assert!(response.headers.is_empty());
        assert_eq!(response.body, b"hello");
        let found: Vec<_> = response.deviations.iter().map(|found| found.field.as_deref()).collect();
        assert_eq!(found, [Some("Content-Length"), Some("Set-Cookie"), Some("A b")]);
    }

    #[test]
    fn every_version_of_two_digits_is_its_own() {
        for (major, minor) in (0..10).flat_map(|major| (0..10).map(move |minor| (major, minor))) {
            let version = format!("HTTP/{major}.{minor}");
            let response = read(&format!("{version} 200 OK\r\nContent-Length: 0\r\n\r\n")).unwrap();
            assert_eq!(response.version, version);
            assert_eq!(response.deviations.is_empty(), major == 1 && minor < 2, "{version}");
        }
    }

    #[test]
    fn data_that_came_before_a_bad_chunk_count() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
        assert!(read(text).unwrap_err().contains("chunk size"));
        let mut chunks = super::Chunks::default();
        let mut bytes = b"5\r\nhello\r\n3\r\nyou\r\nzz\r\n".to_vec();
        let decoded = chunks.decode(&mut bytes).unwrap();
        assert_eq!(&bytes[decoded.start..decoded.end], b"helloyou");
        assert!(chunks.decode(&mut bytes[decoded.taken..]).is_err());
    }

    #[test]
    fn a_trailer_section_is_read_and_bounded() {
        let with = |trailers: &str| {
            read(&format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
            ))
        };
        assert_eq!(with("Proxy-Status: a\r\n").unwrap().trailers["proxy-status"], "a");
        assert!(with("bad\r\n").is_err());
        assert!(with(&format!("X: {}\r\n", "y".repeat(4000))).is_ok());
        assert!(with(&format!("X: {}\r\n", "y".repeat(4096))).is_err());
    }

    #[test]
    fn a_head_is_bounded() {
        let Limits {
            response_head,
            response_fields,
            interim_responses,
            ..
        } = Limits::default();
        let begin = "HTTP/1.1 200 OK\r\nX: ";
        let of_length = |length: usize| read(&format!("{begin}{}\r\n\r\n", "y".repeat(length - begin.len() - 4)));
        assert!(of_length(response_head).is_ok());
        assert!(of_length(response_head + 1).is_err());
        let fields = |count: usize| read(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count)));
        assert!(fields(response_fields).is_ok());
        assert!(fields(response_fields + 1).is_err());
        let interims = |count: usize| {
            read(&format!(
                "{}HTTP/1.1 200 OK\r\n\r\n",
                "HTTP/1.1 103 E\r\n\r\n".repeat(count)
            ))
        };
        assert_eq!(interims(interim_responses).unwrap().interims, interim_responses);
        assert!(interims(interim_responses + 1).is_err());
    }

    #[test]
    fn the_reason_phrase_is_kept_where_it_is_not_the_usual_one() {
        let phrase = |line: &str| {
            let mut reader = super::HeadReader::new(super::HeadLimits {
                bytes: 1000,
                fields: 10,
            });
            assert_eq!(
                reader.advance(format!("{line}\r\n\r\n").as_bytes()),
                Ok((line.len() + 4, true))
            );
            reader.end().0.status_line.phrase
        };
        assert_eq!(phrase("HTTP/1.1 200 OK"), None);
        assert_eq!(phrase("HTTP/1.1 200 "), Some(String::new()));
        assert_eq!(phrase("HTTP/1.1 502 Upstream gone"), Some("Upstream gone".to_owned()));
        assert_eq!(phrase("HTTP/1.1 599 \u{e9}"), Some("\u{e9}".to_owned()));
    }
}
