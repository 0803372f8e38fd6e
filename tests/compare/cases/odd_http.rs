//! http: responses that deviate from the standard.

use super::Table;
use crate::support::peer::{Peer, read_head};
use crate::support::quic::QuicServer;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const FIVE: &[u8] = b"Content-Length: 5\r\n";
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";
const HELLO: &[u8] = b"hello";
const CHUNKS: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

/// Status lines, without the line ending.
const STATUS_LINES: &[&[u8]] = &[
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 200  OK",
    b"HTTP/1.1   200   OK ",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 099 OK",
    b"HTTP/1.1 000 OK",
    b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 -20 OK",
    b"HTTP/1.1 -00 OK",
    b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 2 00 OK",
    b"HTTP/1.1 0200 OK",
    b"HTTP/1.1 600 OK",
    b"HTTP/1.1 999 OK",
    b"HTTP/1.1 OK",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 200\tOK",
    b"HTTP/1.1: 200 OK",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/1.9 200 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/3.0 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/0.0 200 OK",
    b"HTTP/9.9 200 OK",
    b"HTTP/2 200 OK",
    b"HTTP/1 200 OK",
    b"HTTP/1. 200 OK",
    b"HTTP/11 200 OK",
    b"HTTP/1,1 200 OK",
    b"HTTP/1.10 200 OK",
    b"HTTP/01.1 200 OK",
    b"HTTP/A.B 200 OK",
    b"http/1.1 200 OK",
    b"Http/1.1 200 OK",
    b"ICY 200 OK",
    b"HTTP/1.1\0 200 OK",
    b" HTTP/1.1 200 OK",
    b"\rHTTP/1.1 200 OK",
    b"\0HTTP/1.1 200 OK",
    b"\xef\xbb\xbfHTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r",
    b"HTTP/1.1 200 \xc3\xa9",
    b"HTTP/1.1 200 a\0b",
    b"HTTP/1.1 200 a\rb",
    b"HTTP/1.1 404 Not\x01Found",
    b"HTTP/1.1 \xb2\xb0\xb0 OK",
];

/// Header fields, without the line ending.
const FIELDS: &[&[u8]] = &[
    b"X : y",
    b"X y: z",
    b"X\t: y",
    b" X: y",
    b"\tX: y",
    b"X:y",
    b"X:",
    b"X",
    b": y",
    b":",
    b"X(: y",
    b"X@: y",
    b"X/Y: z",
    b"X;Y: z",
    b"X=Y: z",
    b"X[0]: z",
    b"\"X\": z",
    b"X_Y: z",
    b"X!#$%&'*+-.^_`~: z",
    b"X\0: y",
    b"X\x01: y",
    b"X\x7f: y",
    b"X\xe9: y",
    b"X: a\0b",
    b"X: a\x01b",
    b"X: a\x1b[31mb",
    b"X: a\x7fb",
    b"X: a\xe9b",
    b"X: \xff",
    b"X: a\tb",
    b"X: a\rb",
    b"X: y\r",
    b"X: y\n z",
    b"X: y\r\n z",
    b"X: y\r\n\tz",
    b"X: y\r\n ",
    b"X: y\r\n  \r\n  z",
    b"X: y\nZ: w",
    b"X:::y",
    b"Content-Length : 7",
    b"Transfer-Encoding : chunked",
    b"Transfer_Encoding: chunked",
    b"Set-Cookie : a=b",
    b"HTTP/1.1 200 OK",
    b"<html>",
];

const LENGTHS: &[&[u8]] = &[
    b"5",
    b" 5 ",
    b"\t5\t",
    b"+5",
    b"-5",
    b"-0",
    b"05",
    b"0x5",
    b"5.0",
    b"5, 5",
    b"5 5",
    b"5;",
    b"5_0",
    b"\"5\"",
    b"four",
    b"",
    b" ",
    b"4",
    b"6",
    b"0",
    b"5\xa0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
];

const TWO_LENGTHS: &[(&str, &str)] = &[
    ("5", "5"),
    ("5", " 5 "),
    ("5", "6"),
    ("6", "5"),
    ("5", "05"),
    ("5", ""),
    ("", ""),
    ("5", "x"),
];

const CODINGS: &[&[u8]] = &[
    b"chunked",
    b"Chunked",
    b" chunked ",
    b"identity",
    b"gzip",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, identity",
    b"chunked,",
    b"chunked;q=1",
    b"\"chunked\"",
    b"xchunked",
    b"",
    b"chunked\r\nTransfer-Encoding: chunked",
    b"gzip\r\nTransfer-Encoding: chunked",
    b"chunked\r\nTrailer: X",
    b"chunked\r\nTrailer: X, Content-Length",
    b"chunked\r\nTrailer: transfer-encoding",
];

/// Bodies of responses with `Transfer-Encoding: chunked`, valid and invalid.
const CHUNKED_BODIES: &[(&str, &[u8])] = &[
    ("two", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    ("ones", b"1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n"),
    ("leading zeros", b"0005\r\nhello\r\n000\r\n\r\n"),
    ("16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("17 digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("more than there is", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("space after the size", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("tab after the size", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("space before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("extension", b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    ("extension after a space", b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    ("extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
    ("extension in quotes", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
    ("space after an extension", b"5;a=b \r\nhello\r\n0\r\n\r\n"),
    ("extension of the last chunk", b"5\r\nhello\r\n0;x\r\n\r\n"),
    ("extension with LF", b"5;a\nhello\r\n0\r\n\r\n"),
    ("extension with CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("extension with NUL", b"5;\0\r\nhello\r\n0\r\n\r\n"),
    ("lower case", b"a\r\nhellohello\r\n0\r\n\r\n"),
    ("upper case", b"A\r\nhellohello\r\n0\r\n\r\n"),
    ("prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("no size", b"\r\nhello\r\n0\r\n\r\n"),
    ("no number", b"g\r\nhello\r\n0\r\n\r\n"),
    ("LF after the size", b"5\nhello\r\n0\r\n\r\n"),
    ("LF after the data", b"5\r\nhello\n0\r\n\r\n"),
    ("LF everywhere", b"5\nhello\n0\n\n"),
    ("LF after the last size", b"5\r\nhello\r\n0\n\r\n"),
    ("LF at the end", b"5\r\nhello\r\n0\r\n\n"),
    ("CR after the size", b"5\rhello\r\n0\r\n\r\n"),
    ("two CR after the size", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("nothing after the data", b"5\r\nhello0\r\n\r\n"),
    ("more data", b"5\r\nhelloo\r\n0\r\n\r\n"),
    ("no end", b"5\r\nhello\r\n0\r\n"),
    ("half an end", b"5\r\nhello\r\n0\r\n\r"),
    ("no last chunk", b"5\r\nhello\r\n"),
    ("half a last chunk", b"5\r\nhello\r\n0"),
    ("cut", b"9\r\nhello"),
    ("cut in a size", b"5\r\nhello\r\n1"),
    ("nothing", b""),
    ("only the last", b"0\r\n\r\n"),
    ("empty line before", b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("empty line between", b"2\r\nhe\r\n\r\n3\r\nllo\r\n0\r\n\r\n"),
    ("trailer", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    ("two trailers", b"5\r\nhello\r\n0\r\nX: y\r\nZ: w\r\n\r\n"),
    ("trailer without a colon", b"5\r\nhello\r\n0\r\nbad\r\n\r\n"),
    ("trailer with LF", b"5\r\nhello\r\n0\r\nX: y\n\r\n"),
    ("trailer that is folded", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    ("trailer that is cut", b"5\r\nhello\r\n0\r\nX: y\r\n"),
    ("trailer with a space", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
    ("trailer after a space", b"5\r\nhello\r\n0\r\n X: y\r\n\r\n"),
    ("trailer with NUL", b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
    ("trailer that frames", b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
    ("excess", b"5\r\nhello\r\n0\r\n\r\nmore"),
    ("excess CRLF", b"5\r\nhello\r\n0\r\n\r\n\r\n"),
    ("data after the last", b"5\r\nhello\r\n0\r\nmore"),
];

/// Complete responses.
const WHOLE: &[(&str, &[u8])] = &[
    (
        "empty line before",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "empty lines before",
        b"\n\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    (
        "LF after the status line",
        b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "LF after the fields",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
    ),
    ("CR everywhere", b"HTTP/1.1 200 OK\rContent-Length: 5\r\rhello"),
    (
        "two CR after a field",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\r\n\r\nhello",
    ),
    (
        "two CR at the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\r\nhello",
    ),
    (
        "first field after a space",
        b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "first field folded",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
    ),
    (
        "length and an empty line of it",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n \r\n\r\nhello",
    ),
    (
        "coding and an empty line of it",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "coding folded",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("name folded", b"HTTP/1.1 200 OK\r\nContent-\r\n Length: 5\r\n\r\nhello"),
    ("no fields", b"HTTP/1.1 200 OK\r\n\r\nhello"),
    ("cut in the status line", b"HTTP/1.1 200"),
    ("cut after the status line", b"HTTP/1.1 200 OK\r\n"),
    ("cut after a field", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
    ("excess", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello"),
    ("excess CRLF", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n"),
    ("short", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
    (
        "HTTP/1.0 that is kept",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
    ),
    (
        "kept without a length",
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
    ),
    (
        "HTTP/2.0 chunked",
        b"HTTP/2.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "100",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103",
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "199",
        b"HTTP/1.1 199 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 of HTTP/1.0",
        b"HTTP/1.0 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with LF",
        b"HTTP/1.1 103 E\nX: y\n\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with a length",
        b"HTTP/1.1 103 E\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with a body",
        b"HTTP/1.1 103 E\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with a coding",
        b"HTTP/1.1 103 E\r\nTransfer-Encoding: gzip\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with a bad length",
        b"HTTP/1.1 103 E\r\nContent-Length: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 with a bad field",
        b"HTTP/1.1 103 E\r\nbad\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "103 and an empty line",
        b"HTTP/1.1 103 E\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("103 and nothing", b"HTTP/1.1 103 E\r\n\r\n"),
    (
        "103 and 502",
        b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    ),
    ("101", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    (
        "101 to x",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ),
    (
        "101 to x and bytes",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nbytes",
    ),
    (
        "101 with a length",
        b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\nbytes",
    ),
    ("HTML", b"<html>hello</html>"),
    ("SMTP", b"220 mail.test ESMTP\r\n"),
    ("TLS alert", b"\x15\x03\x01\0\x02\x02\x46"),
    ("HTTP/2 frames", b"\0\0\0\x04\0\0\0\0\0"),
];

/// Statuses that do not allow a body, and similar ones that do.
const STATUSES: [&str; 6] = [
    "200 OK",
    "204 No Content",
    "205 Reset",
    "304 Not Modified",
    "404 Not Found",
    "500 X",
];

/// Fields and bodies that follow such a status line.
const CONTENTS: &[(&str, &[u8])] = &[
    ("nothing", b"\r\n"),
    ("a body", b"\r\nhello"),
    ("a length", b"Content-Length: 5\r\n\r\n"),
    ("a length and a body", b"Content-Length: 5\r\n\r\nhello"),
    ("a bad length", b"Content-Length: x\r\n\r\n"),
    ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ("an empty length", b"Content-Length:\r\n\r\n"),
    ("chunks", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("chunks to come", b"Transfer-Encoding: chunked\r\n\r\n"),
    ("another coding", b"Transfer-Encoding: gzip\r\n\r\n"),
];

const DATES: &[&str] = &[
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Mon, 21 Oct 2015 07:28:00 GMT",
    "wed, 21 OCT 2015 07:28:00 GMT",
    "Wed, 21 Oct 2015 07:28:00 gmt",
    "Wed, 21 Oct 2015 07:28:00 UTC",
    "Wed, 21 Oct 2015 07:28:00 +0000",
    "Wed, 1 Oct 2015 07:28:00 GMT",
    "Wed, 21 Oct 2015 7:28:00 GMT",
    "Wed, 21 Oct 2015  07:28:00 GMT",
    "Wed,21 Oct 2015 07:28:00 GMT",
    "Wed, 21 Oct 2015 07:28:00.5 GMT",
    "Wed, 21 Oct 2015 07:28:00, GMT",
    "Wed, 21 Oct 2015 24:00:00 GMT",
    "Wed, 21 Oct 2015 23:59:60 GMT",
    "Wed, 29 Feb 2015 07:28:00 GMT",
    "Wed, 29 Feb 2016 07:28:00 GMT",
    "Wed, 29 Feb 1900 07:28:00 GMT",
    "Wed, 00 Oct 2015 07:28:00 GMT",
    "Wed, 31 Dec 1969 23:59:59 GMT",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Wednesday, 21-Oct-15 07:28:00 GMT",
    "Wed, 21-Oct-15 07:28:00 GMT",
    "Wednesday, 21-Oct-68 07:28:00 GMT",
    "Wednesday, 21-Oct-69 07:28:00 GMT",
    "Wednesday, 21-Oct-15 07:28:00 CET",
    "Wednesday, 21-Oct-15 07:28:00 GMT-3",
    "Wednesday, 21-Oct-15 07:28:00 GMT+30",
    "Wednesday, 21-Oct-15 07:28:00 +03",
    "Wednesday, 21-Oct-15 07:28:00 WITA",
    "Wednesday, 21-Oct-15 07:28:00 ABCD",
    "Wednesday, 21-Oct-15 07:28:00 ABCST",
    "Wed Oct 21 07:28:00 2015",
    "Mon Oct  1 07:28:00 2015",
    "Mon Oct 1 07:28:00.25 2015",
    "2015-10-21T07:28:00Z",
    "1445412480",
    "0",
    "",
];

/// All responses, by name.
fn answers() -> Vec<(String, Vec<u8>)> {
    let mut answers: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |group: &str, name: &[u8], parts: &[&[u8]]| {
        answers.push((format!("{group} {}", name.escape_ascii()), parts.concat()));
    };
    for line in STATUS_LINES {
        add("status", line, &[line, b"\r\n", FIVE, b"\r\n", HELLO]);
    }
    for line in FIELDS {
        add("field", line, &[OK, FIVE, line, b"\r\n\r\n", HELLO]);
    }
    for value in LENGTHS {
        add("length", value, &[OK, b"Content-Length: ", value, b"\r\n\r\n", HELLO]);
    }
    for (one, two) in TWO_LENGTHS {
        let lines = format!("Content-Length: {one}\r\nContent-Length: {two}\r\n\r\n");
        let name = format!("{one} and {two}");
        add("lengths", name.as_bytes(), &[OK, lines.as_bytes(), HELLO]);
    }
    for value in CODINGS {
        let coding: &[u8] = &[b"Transfer-Encoding: ", *value, b"\r\n"].concat();
        let fifteen = b"Content-Length: 15\r\n";
        add("coding", value, &[OK, coding, b"\r\n", CHUNKS]);
        add("coding and length", value, &[OK, fifteen, coding, b"\r\n", CHUNKS]);
        add("coding 1.0", value, &[b"HTTP/1.0 200 OK\r\n", coding, b"\r\n", CHUNKS]);
        let old: &[&[u8]] = &[b"HTTP/1.0 200 OK\r\n", coding, fifteen, b"\r\n", CHUNKS];
        add("coding and length 1.0", value, old);
    }
    for (name, body) in CHUNKED_BODIES {
        add("chunks", name.as_bytes(), &[OK, CHUNKED, b"\r\n", body]);
    }
    for (name, answer) in WHOLE {
        add("whole", name.as_bytes(), &[answer]);
    }
    for status in STATUSES {
        for (name, content) in CONTENTS {
            let line = format!("HTTP/1.1 {status}\r\n");
            let name = format!("{status} and {name}");
            add("status", name.as_bytes(), &[line.as_bytes(), content]);
        }
    }
    for date in DATES {
        let line = format!("Last-Modified: {date}\r\n");
        add("date", date.as_bytes(), &[OK, FIVE, line.as_bytes(), b"\r\n", HELLO]);
    }
    for (name, answer) in long() {
        add("long", name.as_bytes(), &[&answer]);
    }
    answers
}

/// Very long responses.
fn long() -> Vec<(&'static str, Vec<u8>)> {
    let ok = [OK, FIVE, b"\r\n", HELLO].concat();
    let chunked = |body: &[u8]| [OK, CHUNKED, b"\r\n", body].concat();
    let extension = |length| chunked(format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(length)).as_bytes());
    let trailer = |length| chunked(format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "y".repeat(length)).as_bytes());
    let field = |length| [OK, FIVE, b"X: ", &b"y".repeat(length)[..], b"\r\n\r\n", HELLO].concat();
    let fields = |count| [OK, FIVE, &b"X: y\r\n".repeat(count)[..], b"\r\n", HELLO].concat();
    let interims = |count| [b"HTTP/1.1 103 E\r\nLink: </a>\r\n\r\n".repeat(count), ok.clone()].concat();
    let extended = format!("1;{}\r\nx\r\n", "e".repeat(20)).repeat(4000) + "0\r\n\r\n";
    vec![
        ("extension 4080", extension(4080)),
        ("extension 4092", extension(4092)),
        ("extension 4093", extension(4093)),
        ("extension 9000", extension(9000)),
        ("extensions", chunked(extended.as_bytes())),
        (
            "chunks of a byte",
            chunked(&[&b"1\r\nx\r\n".repeat(100_000)[..], b"0\r\n\r\n"].concat()),
        ),
        ("trailer 4000", trailer(4000)),
        ("trailer 5000", trailer(5000)),
        ("value 200000", field(200_000)),
        ("value 400000", field(400_000)),
        (
            "name 70000",
            [OK, FIVE, &b"X".repeat(70_000)[..], b": y\r\n\r\n", HELLO].concat(),
        ),
        (
            "reason 8000",
            [
                &b"HTTP/1.1 200 "[..],
                &b"y".repeat(8000)[..],
                b"\r\n",
                FIVE,
                b"\r\n",
                HELLO,
            ]
            .concat(),
        ),
        ("fields 250", fields(250)),
        ("fields 300", fields(300)),
        ("interims 20", interims(20)),
        ("interims 21", interims(21)),
        (
            "body",
            [OK, b"Content-Length: 3000000\r\n\r\n", &b"y".repeat(3_000_000)[..]].concat(),
        ),
    ]
}

/// HTTP/3 responses whose body does not match the `Content-Length`.
fn http3(table: &mut Table) {
    for (name, length) in [("as long", "9"), ("longer", "8"), ("shorter", "10"), ("no number", "x")] {
        let leaf = table.authority.leaf("127.0.0.1").server(&["h3"]);
        let server = QuicServer::start(leaf, move |_, mut stream| async move {
            let head = http::Response::builder().header("content-length", length).body(());
            stream.send_response(head.unwrap()).await.unwrap();
            let _ = stream.send_data("some ".into()).await;
            let _ = stream.send_data("text".into()).await;
            let _ = stream.finish().await;
            std::future::pending::<()>().await;
        });
        table.case("http", "http3", (&format!("odd {name}"), &server.url()));
        table.keep(server);
    }
}

pub async fn add(table: &mut Table) {
    http3(table);
    let (names, answers): (Vec<String>, Vec<Vec<u8>>) = answers().into_iter().unzip();
    let answers = Arc::new(answers);
    let peer = Peer::start(move |mut stream| {
        let answers = answers.clone();
        async move {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap_or_default();
            let number = head
                .split(['/', ' '])
                .nth(2)
                .and_then(|number| number.parse::<usize>().ok());
            if let Some(answer) = number.and_then(|number| answers.get(number)) {
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await;
    let keys = "preferred_ip_protocol: ip4";
    table.module("http", "odd", keys);
    table.module("http", "odd_head", &format!("{keys}, method: HEAD"));
    let matched =
        format!("{keys}, fail_if_body_not_matches_regexp: ['^hello$'], valid_status_codes: [200, 204, 404, 500]");
    table.module("http", "odd_matched", &matched);
    for (number, name) in names.iter().enumerate() {
        let url = format!("{}{number}", peer.http());
        for module in ["odd", "odd_head", "odd_matched"] {
            table.case("http", module, (name, &url));
        }
    }
    table.keep(peer);
}
