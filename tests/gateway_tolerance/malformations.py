"""The responses that the origin of the measurement sends, one row each.

A row has the bytes of the response and the expected result of a tolerant parser: status, body, and whether the message is
complete. `selftest.py` compares the two with the parser that also reads the responses of the gateways. Some rows are
conforming responses, because some gateways reject them.
"""

import dataclasses
import gzip

BODY = b"tolerance-body of so many units\n"
HALF = len(BODY) // 2
STATUS_LINE = b"HTTP/1.1 200 OK"
# The field distinguishes a response of the origin from one that the gateway created.
ORIGIN = b"X-Origin: yes"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
KIB = 1024


@dataclasses.dataclass(frozen=True)
class Malformation:
    """One response. `status` is None if no parser can accept it."""

    id: str
    section: str
    sentence: str
    response: bytes
    method: str = "GET"
    status: int | None = 200
    body: bytes = BODY
    complete: bool = True
    # The unusual field as a tolerant parser reads it: (name, value).
    field: tuple[bytes, bytes] | None = None
    # How the origin ends the connection: "close" (FIN) or "reset" (RST).
    end: str = "close"


def message(*fields, line=STATUS_LINE, body=BODY, eol=b"\r\n"):
    """A response with these fields in addition to the usual ones. The caller adds the framing fields."""
    return eol.join([line, ORIGIN, b"Content-Type: text/plain", *fields, b"", body])


def sized(*fields, line=STATUS_LINE, eol=b"\r\n"):
    """A response with the correct Content-Length."""
    return message(*fields, LENGTH, line=line, eol=eol)


def chunked(body, *fields):
    """A chunked response with this encoded body."""
    return message(*fields, CHUNKED, body=body)


def one_chunk(size_line, data=BODY, end=b"\r\n", last=b"0\r\n\r\n"):
    """A chunked response of one data chunk with this size line."""
    return chunked(size_line + data + end + last)


def of_head_size(size, line=1000):
    """A response with a header of this many bytes, including line endings, in lines of up to `line` bytes."""
    base = len(sized()) - len(BODY)
    missing = size - base
    fields = []
    while missing > 0:
        # A remainder shorter than the shortest field is added to the last line.
        take = missing if missing < line + 16 else line
        name = b"X-%05d: " % len(fields)
        fields.append(name + b"a" * (take - len(name) - 2))
        missing -= take
    return sized(*fields)


def of_line_size(size):
    """A response with one field line of this many bytes, without the line ending."""
    return sized(b"X-Long: " + b"a" * (size - 8))


def of_field_count(count):
    """A response with this many field lines, as short as possible with different names."""
    return sized(*(b"X%x:" % number for number in range(count - 3)))


def of_reason_size(size):
    """A response with a reason phrase of this many bytes."""
    return sized(line=b"HTTP/1.1 200 " + b"a" * size)


def of_interim_count(count, status=b"103 Early Hints"):
    """A response after this many interim responses."""
    return b"".join([b"HTTP/1.1 %s\r\n\r\n" % status] * count) + sized()


def of_extension_size(size):
    """A chunked response with a chunk extension of this many bytes, including the semicolon."""
    return one_chunk(b"%x;e=%s\r\n" % (len(BODY), b"a" * max(size - 3, 1)))


def of_size_digits(digits):
    """A chunked response whose chunk size has this many digits, with leading zeros."""
    return one_chunk(b"%0*x\r\n" % (digits, len(BODY)))


def of_trailer_size(size):
    """A chunked response with a trailer line of this many bytes."""
    return one_chunk(b"%x\r\n" % len(BODY), last=b"0\r\nX-Trail: %s\r\n\r\n" % (b"a" * (size - 9)))


def conforming():
    row = Malformation
    size = b"%x" % len(BODY)
    return [
        row("valid-content-length", "RFC 9112, 6.2", "A conforming response with Content-Length.", sized()),
        row("valid-chunked", "RFC 9112, 7.1", "A conforming chunked response.", chunked(CHUNKS)),
        row("valid-until-close", "RFC 9112, 6.3", "A conforming response that ends with the connection.", message()),
        row("valid-http10", "RFC 9112, 2.3", "A conforming HTTP/1.0 response.", sized(line=b"HTTP/1.0 200 OK")),
        row("valid-head", "RFC 9110, 9.3.2", "A conforming response to HEAD, with the Content-Length of GET.",
            message(LENGTH, body=b""), method="HEAD", body=b""),
        row("valid-204", "RFC 9110, 15.3.5", "A conforming 204 response.",
            message(line=b"HTTP/1.1 204 No Content", body=b""), status=204, body=b""),
        row("valid-chunk-extension", "RFC 9112, 7.1.1", "A chunk has an extension.", one_chunk(size + b";a=b\r\n")),
        row("valid-chunk-extension-quoted", "RFC 9112, 7.1.1", "A chunk extension has a quoted value.",
            one_chunk(size + b';a="b;c"\r\n')),
        row("valid-chunk-size-upper-case", "RFC 9112, 7.1", "The chunk size has upper-case digits.",
            chunked(b"A\r\n" + BODY[:10] + b"\r\n%X\r\n" % (len(BODY) - 10) + BODY[10:] + b"\r\n0\r\n\r\n")),
        row("valid-chunk-size-zeros", "RFC 9112, 7.1", "The chunk size has 20 leading zeros.", of_size_digits(22)),
        row("valid-trailer", "RFC 9112, 7.1.2", "A trailer field that Trailer announces.",
            chunked(CHUNKS[:-2] + b"X-Trail: yes\r\n\r\n", b"Trailer: X-Trail")),
        row("valid-trailer-unannounced", "RFC 9110, 6.5", "A trailer field that nothing announces.",
            chunked(CHUNKS[:-2] + b"X-Trail: yes\r\n\r\n")),
        row("valid-obs-text-value", "RFC 9110, 5.5", "A field value has bytes from 0x80 to 0xFF.",
            sized(b"X-Odd: caf\xe9"), field=(b"X-Odd", b"caf\xe9")),
        row("valid-name-underscore", "RFC 9110, 5.6.2", "A field name has an underscore.",
            sized(b"X_Odd: a"), field=(b"X_Odd", b"a")),
        row("valid-name-token", "RFC 9110, 5.6.2", "A field name has every punctuation that a token allows.",
            sized(b"X!#$%&'*+-.^_`|~: a"), field=(b"X!#$%&'*+-.^_`|~", b"a")),
        row("valid-value-empty", "RFC 9110, 5.5", "A field value is empty.", sized(b"X-Odd:"), field=(b"X-Odd", b"")),
        row("valid-no-space-after-colon", "RFC 9112, 5", "No space follows the colon of a field.",
            sized(b"X-Odd:a"), field=(b"X-Odd", b"a")),
        row("valid-te-upper-case", "RFC 9112, 7", "Transfer-Encoding: CHUNKED, in upper case.",
            message(b"Transfer-Encoding: CHUNKED", body=CHUNKS)),
        row("valid-te-trailing-space", "RFC 9110, 5.5", "A space and a tab follow the value of Transfer-Encoding.",
            message(CHUNKED + b" \t", body=CHUNKS)),
        row("valid-cl-trailing-space", "RFC 9110, 5.5", "A space and a tab follow the value of Content-Length.",
            message(LENGTH + b" \t")),
        row("valid-cl-zeros", "RFC 9110, 8.6", "Content-Length has leading zeros.",
            message(b"Content-Length: %06d" % len(BODY))),
        row("valid-date-rfc850", "RFC 9110, 5.6.7", "Date has the obsolete form of RFC 850.",
            sized(b"Date: Sunday, 06-Nov-94 08:49:37 GMT")),
        row("valid-connection-close", "RFC 9112, 9.6", "Connection: close beside Content-Length.",
            sized(b"Connection: close")),
        row("valid-keep-alive-http10", "RFC 9112, 9.3", "An HTTP/1.0 response with Connection: keep-alive.",
            sized(b"Connection: keep-alive", line=b"HTTP/1.0 200 OK")),
        row("valid-upgrade-offered", "RFC 9110, 7.8", "A 200 response offers Upgrade: h2c.",
            sized(b"Connection: Upgrade", b"Upgrade: h2c")),
        row("valid-interim-103", "RFC 8297", "One 103 response precedes the final one.", of_interim_count(1)),
        row("valid-interim-102", "RFC 9110, 15.2", "One 102 response precedes the final one.",
            of_interim_count(1, b"102 Processing")),
    ]


def transfer_encoding():
    row = Malformation

    def coded(value, body=CHUNKS, *more):
        return message(b"Transfer-Encoding:" + value, *more, body=body)

    return [
        row("te-two-lines", "RFC 9112, 6.1", "Two lines Transfer-Encoding: chunked; the body is chunked once.",
            message(CHUNKED, CHUNKED, body=CHUNKS)),
        row("te-chunked-chunked", "RFC 9112, 6.1", "Transfer-Encoding: chunked, chunked; the body is chunked once.",
            coded(b" chunked, chunked")),
        row("te-unknown", "RFC 9112, 6.1", "An unknown transfer coding; the body ends with the connection.",
            coded(b" odd", BODY)),
        row("te-unknown-chunked", "RFC 9112, 6.1", "An unknown transfer coding before chunked.",
            coded(b" odd, chunked")),
        row("te-chunked-unknown", "RFC 9112, 6.3", "An unknown transfer coding after chunked.",
            coded(b" chunked, odd")),
        row("te-gzip-chunked", "RFC 9112, 7.2", "Transfer-Encoding: gzip, chunked, which the request did not allow.",
            coded(b" gzip, chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(ZIPPED), ZIPPED)), body=ZIPPED),
        row("te-identity", "RFC 9112, 7", "Transfer-Encoding: identity beside Content-Length.",
            coded(b" identity", BODY, LENGTH)),
        row("te-identity-alone", "RFC 9112, 7", "Transfer-Encoding: identity; the body ends with the connection.",
            coded(b" identity", BODY)),
        row("te-identity-chunked", "RFC 9112, 7", "Transfer-Encoding: identity, chunked.",
            coded(b" identity, chunked")),
        row("te-vertical-tab-after", "RFC 9110, 5.5", "A vertical tab follows the value chunked.",
            coded(b" chunked\x0b")),
        row("te-vertical-tab-before", "RFC 9110, 5.5", "A vertical tab precedes the value chunked.",
            coded(b"\x0bchunked")),
        row("te-quoted", "RFC 9112, 7", "The value chunked is in quotation marks.", coded(b' "chunked"')),
        row("te-empty", "RFC 9112, 6.1", "An empty Transfer-Encoding beside Content-Length.",
            coded(b"", BODY, LENGTH)),
        row("te-comma-after", "RFC 9110, 5.6.1", "A comma follows the value chunked.", coded(b" chunked,")),
        row("te-comma-before", "RFC 9110, 5.6.1", "A comma precedes the value chunked.", coded(b" , chunked")),
        row("te-parameter", "RFC 9112, 7", "The value chunked has a parameter.", coded(b" chunked;a=b")),
        row("te-prefix", "RFC 9112, 7", "Transfer-Encoding: xchunked; the body is not chunked.",
            coded(b" xchunked", BODY)),
        row("te-space-before-colon", "RFC 9112, 5.1", "A space precedes the colon of Transfer-Encoding.",
            message(b"Transfer-Encoding : chunked", body=CHUNKS)),
        row("te-folded", "RFC 9112, 5.2", "The value chunked is on a folded line.", coded(b"\r\n chunked")),
        row("te-http10", "RFC 9112, 6.1", "Transfer-Encoding: chunked in an HTTP/1.0 response.",
            message(CHUNKED, line=b"HTTP/1.0 200 OK", body=CHUNKS)),
        row("te-then-cl", "RFC 9112, 6.3", "Content-Length (of the data) after Transfer-Encoding: chunked.",
            message(CHUNKED, LENGTH, body=CHUNKS)),
        row("te-after-cl", "RFC 9112, 6.3", "Content-Length (of the data) before Transfer-Encoding: chunked.",
            message(LENGTH, CHUNKED, body=CHUNKS)),
        row("te-with-wrong-cl", "RFC 9112, 6.3", "A Content-Length that is too small, with Transfer-Encoding: chunked.",
            message(b"Content-Length: 3", CHUNKED, body=CHUNKS)),
        row("te-claimed-not-done", "RFC 9112, 7.1", "Transfer-Encoding: chunked, and the body is plain text.",
            chunked(BODY), body=b"", complete=False),
    ]


def content_length():
    row = Malformation
    size = len(BODY)

    def length(value, *more):
        return message(b"Content-Length:" + value, *more)

    return [
        row("cl-two-equal", "RFC 9112, 6.3", "Two equal lines Content-Length.", message(LENGTH, LENGTH)),
        row("cl-two-first-right", "RFC 9112, 6.3", "Two lines Content-Length; the second is too small.",
            message(LENGTH, b"Content-Length: 3")),
        row("cl-two-last-right", "RFC 9112, 6.3", "Two lines Content-Length; the first is too small.",
            message(b"Content-Length: 3", LENGTH)),
        row("cl-list-equal", "RFC 9110, 8.6", "Content-Length is a list of two equal numbers.",
            length(b" %d, %d" % (size, size))),
        row("cl-list-different", "RFC 9110, 8.6", "Content-Length is a list of two different numbers.",
            length(b" %d, 3" % size)),
        row("cl-plus", "RFC 9110, 8.6", "Content-Length has a plus sign.", length(b" +%d" % size)),
        row("cl-negative", "RFC 9110, 8.6", "Content-Length is negative.", length(b" -%d" % size)),
        row("cl-hex", "RFC 9110, 8.6", "Content-Length is hexadecimal, with 0x.", length(b" 0x%x" % size)),
        row("cl-empty", "RFC 9110, 8.6", "Content-Length is empty.", length(b"")),
        row("cl-inner-space", "RFC 9110, 8.6", "Content-Length has a space between its digits.", length(b" 3 2")),
        row("cl-decimal", "RFC 9110, 8.6", "Content-Length has a decimal point.", length(b" %d.0" % size)),
        row("cl-text", "RFC 9110, 8.6", "Content-Length is a word.", length(b" odd")),
        row("cl-digits-text", "RFC 9110, 8.6", "Letters follow the digits of Content-Length.",
            length(b" %dodd" % size)),
        row("cl-comma-after", "RFC 9110, 8.6", "A comma follows the number of Content-Length.",
            length(b" %d," % size)),
        row("cl-quoted", "RFC 9110, 8.6", "Content-Length is in quotation marks.", length(b' "%d"' % size)),
        row("cl-beyond-64-bits", "RFC 9110, 8.6", "Content-Length does not fit into 64 bits.",
            length(b" %d" % (2**64 + size)), complete=False),
        row("cl-beyond-63-bits", "RFC 9110, 8.6", "Content-Length does not fit into 63 bits.",
            length(b" %d" % (2**63 + size)), complete=False),
        row("cl-space-before-colon", "RFC 9112, 5.1", "A space precedes the colon of Content-Length.",
            message(b"Content-Length : %d" % size)),
        row("cl-folded", "RFC 9112, 5.2", "The number of Content-Length is on a folded line.",
            length(b"\r\n %d" % size)),
        row("cl-vertical-tab", "RFC 9110, 5.5", "A vertical tab follows the number of Content-Length.",
            length(b" %d\x0b" % size)),
        row("cl-too-large", "RFC 9112, 8", "The connection ends before Content-Length is reached.",
            length(b" %d" % (size + 100)), complete=False),
        row("cl-too-large-reset", "RFC 9112, 8", "The connection is reset before Content-Length is reached.",
            length(b" %d" % (size + 100)), complete=False, end="reset"),
        row("cl-too-small", "RFC 9112, 6.3", "Bytes follow the body that Content-Length announced.",
            message(LENGTH, body=BODY + b"excess")),
        row("cl-zero-with-body", "RFC 9112, 6.3", "Content-Length: 0, and a body follows.",
            length(b" 0"), body=b""),
        row("excess-line-end", "RFC 9112, 6.3", "An empty line follows the body.",
            message(LENGTH, body=BODY + b"\r\n")),
        row("excess-response", "RFC 9112, 9.2", "A second response follows the first.", sized() + sized()),
    ]


def fields():
    row = Malformation
    odd = (b"X-Odd", b"a")

    def named(id, section, sentence, line, field=None):
        return row(id, section, sentence, sized(line), field=field)

    return [
        named("fold-space", "RFC 9112, 5.2", "A folded line that begins with a space.",
              b"X-Odd: a\r\n b", (b"X-Odd", b"a b")),
        named("fold-tab", "RFC 9112, 5.2", "A folded line that begins with a tab.",
              b"X-Odd: a\r\n\tb", (b"X-Odd", b"a b")),
        named("fold-many", "RFC 9112, 5.2", "A value of ten folded lines.",
              b"X-Odd: a" + b"\r\n b" * 9, (b"X-Odd", b"a" + b" b" * 9)),
        named("fold-empty", "RFC 9112, 5.2", "A folded line with nothing but a space.", b"X-Odd: a\r\n ", odd),
        row("fold-first", "RFC 9112, 2.2", "White space begins the first line after the status line.",
            b"HTTP/1.1 200 OK\r\n X-Odd: a\r\n" + sized().split(b"\r\n", 1)[1]),
        named("space-before-colon", "RFC 9112, 5.1", "A space precedes the colon of a field.", b"X-Odd : a", odd),
        named("tab-before-colon", "RFC 9112, 5.1", "A tab precedes the colon of a field.", b"X-Odd\t: a", odd),
        named("name-space", "RFC 9110, 5.6.2", "A field name has a space inside.",
              b"X Odd: a", (b"X Odd", b"a")),
        named("name-empty", "RFC 9110, 5.1", "A field name is empty.", b": a", (b"", b"a")),
        named("no-colon", "RFC 9112, 5", "A header line has no colon.", b"X-Odd"),
        named("no-colon-text", "RFC 9112, 5", "A header line is a sentence without a colon.", b"this is odd"),
        named("name-control", "RFC 9110, 5.6.2", "A field name has the control byte 0x01.",
              b"X-\x01Odd: a", (b"X-\x01Odd", b"a")),
        named("name-nul", "RFC 9110, 5.6.2", "A field name has a NUL.", b"X-\0Odd: a", (b"X-\0Odd", b"a")),
        named("name-high", "RFC 9110, 5.6.2", "A field name has the byte 0xE9.", b"X-\xe9: a", (b"X-\xe9", b"a")),
        named("name-utf8", "RFC 9110, 5.6.2", "A field name has a letter in UTF-8.",
              b"X-\xc3\xa9: a", (b"X-\xc3\xa9", b"a")),
        named("name-parentheses", "RFC 9110, 5.6.2", "A field name has parentheses.", b"X(Odd): a", (b"X(Odd)", b"a")),
        named("name-slash", "RFC 9110, 5.6.2", "A field name has a slash.", b"X/Odd: a", (b"X/Odd", b"a")),
        named("name-at", "RFC 9110, 5.6.2", "A field name has an at sign.", b"X@Odd: a", (b"X@Odd", b"a")),
        named("name-quotes", "RFC 9110, 5.6.2", "A field name has quotation marks.", b'X"Odd": a', (b'X"Odd"', b"a")),
        named("name-brackets", "RFC 9110, 5.6.2", "A field name has square brackets.", b"X[Odd]: a", (b"X[Odd]", b"a")),
        named("name-equals", "RFC 9110, 5.6.2", "A field name has an equals sign.", b"X=Odd: a", (b"X=Odd", b"a")),
        named("value-control", "RFC 9110, 5.5", "A field value has the control byte 0x01.",
              b"X-Odd: a\x01b", (b"X-Odd", b"a\x01b")),
        named("value-escape", "RFC 9110, 5.5", "A field value has the control byte 0x1B.",
              b"X-Odd: a\x1bb", (b"X-Odd", b"a\x1bb")),
        named("value-delete", "RFC 9110, 5.5", "A field value has the byte 0x7F.",
              b"X-Odd: a\x7fb", (b"X-Odd", b"a\x7fb")),
        named("value-nul", "RFC 9110, 5.5", "A field value has a NUL.", b"X-Odd: a\0b", (b"X-Odd", b"a\0b")),
        named("value-vertical-tab", "RFC 9110, 5.5", "A field value has a vertical tab.",
              b"X-Odd: a\x0bb", (b"X-Odd", b"a\x0bb")),
        named("content-type-two", "RFC 9110, 5.3", "Content-Type comes twice, with different values.",
              b"Content-Type: text/html"),
        named("date-invalid", "RFC 9110, 5.6.7", "Date is not a date.", b"Date: yesterday"),
        named("date-two", "RFC 9110, 5.3", "Date comes twice.",
              b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT"),
        named("connection-empty", "RFC 9110, 7.6.1", "Connection is empty.", b"Connection:"),
        named("connection-both", "RFC 9110, 7.6.1", "Connection: close, keep-alive.", b"Connection: close, keep-alive"),
        named("connection-content-length", "RFC 9110, 7.6.1", "Connection names Content-Length.",
              b"Connection: Content-Length"),
        row("keep-alive-no-framing", "RFC 9112, 9.3", "Connection: keep-alive, and nothing tells where the body ends.",
            message(b"Connection: keep-alive")),
        row("close-chunked-keep-alive", "RFC 9112, 9.6", "Connection: close and Keep-Alive beside a chunked body.",
            message(b"Connection: close", b"Keep-Alive: timeout=5", CHUNKED, body=CHUNKS)),
        row("reset-after-body", "RFC 9112, 9.6", "The connection is reset after a complete response.",
            sized(), end="reset"),
    ]


def lines():
    row = Malformation
    first, rest = sized().split(b"\r\n", 1)
    head, body = sized().split(b"\r\n\r\n", 1)
    return [
        row("lf-all", "RFC 9112, 2.2", "All lines end with LF alone.", sized(eol=b"\n")),
        row("lf-field", "RFC 9112, 2.2", "One field line ends with LF alone.",
            sized(b"X-Odd: a\nX-Next: b"), field=(b"X-Odd", b"a")),
        row("lf-status-line", "RFC 9112, 2.2", "The status line ends with LF alone.", first + b"\n" + rest),
        row("lf-head-end", "RFC 9112, 2.2", "The empty line after the head is LF alone.", head + b"\r\n\n" + body),
        row("lf-twice", "RFC 9112, 2.2", "The head ends with LF LF.", head + b"\n\n" + body),
        row("cr-in-value", "RFC 9112, 2.2", "A field value has a CR without LF.",
            sized(b"X-Odd: a\rb"), field=(b"X-Odd", b"a\rb")),
        row("cr-end", "RFC 9112, 2.2", "One field line ends with CR alone.", sized(b"X-Odd: a\rX-Next: b")),
        row("cr-cr-lf", "RFC 9112, 2.2", "One field line ends with CR CR LF.", sized(b"X-Odd: a\r"),
            field=(b"X-Odd", b"a")),
        row("cr-all", "RFC 9112, 2.2", "All lines end with CR alone.", sized(eol=b"\r"), status=None),
        row("cr-in-name", "RFC 9112, 2.2", "A field name has a CR.", sized(b"X-\rOdd: a"), field=(b"X-\rOdd", b"a")),
        row("cr-in-reason", "RFC 9112, 2.2", "The reason phrase has a CR without LF.",
            sized(line=b"HTTP/1.1 200 O\rK")),
        row("empty-line-first", "RFC 9112, 2.2", "An empty line precedes the status line.", b"\r\n" + sized()),
        row("empty-lines-first", "RFC 9112, 2.2", "Five empty lines precede the status line.", b"\r\n" * 5 + sized()),
        row("lf-first", "RFC 9112, 2.2", "A bare LF precedes the status line.", b"\n" + sized()),
        row("nul-first", "RFC 9112, 4", "A NUL precedes the status line.", b"\0" + sized(), status=None),
        row("text-first", "RFC 9112, 4", "A line of text precedes the status line.",
            b"Warning: odd\r\n" + sized(), status=None),
        row("mark-first", "RFC 9112, 4", "A byte order mark precedes the status line.",
            b"\xef\xbb\xbf" + sized(), status=None),
    ]


def status_lines():
    row = Malformation

    def line(id, sentence, text, section="RFC 9112, 4", status=200, **more):
        return row(id, section, sentence, sized(line=text), status=status, **more)

    return [
        line("status-two-spaces", "Two spaces follow the version.", b"HTTP/1.1  200 OK"),
        line("status-tab", "A tab follows the version.", b"HTTP/1.1\t200 OK"),
        line("status-two-spaces-reason", "Two spaces precede the reason phrase.", b"HTTP/1.1 200  OK"),
        line("status-no-reason", "The reason phrase is empty, and its space is there.", b"HTTP/1.1 200 "),
        line("status-no-reason-space", "The status line ends after the status code.", b"HTTP/1.1 200"),
        line("status-no-space-reason", "No space precedes the reason phrase.", b"HTTP/1.1 200OK"),
        line("status-space-first", "A space precedes the status line.", b" HTTP/1.1 200 OK"),
        line("status-space-last", "A space follows the reason phrase.", b"HTTP/1.1 200 OK "),
        line("status-lower-case", "http/1.1 in lower case.", b"http/1.1 200 OK", "RFC 9112, 2.3"),
        line("status-http-1.2", "The version is HTTP/1.2.", b"HTTP/1.2 200 OK", "RFC 9110, 2.5"),
        line("status-http-1.9", "The version is HTTP/1.9.", b"HTTP/1.9 200 OK", "RFC 9110, 2.5"),
        line("status-http-1.10", "The version is HTTP/1.10.", b"HTTP/1.10 200 OK", "RFC 9112, 2.3"),
        line("status-http-1", "The version is HTTP/1.", b"HTTP/1 200 OK", "RFC 9112, 2.3"),
        line("status-http-1-comma", "The version is HTTP/1,1.", b"HTTP/1,1 200 OK", "RFC 9112, 2.3"),
        line("status-http-0.9", "The version is HTTP/0.9.", b"HTTP/0.9 200 OK", "RFC 9112, 2.3"),
        line("status-http-2.0", "The version is HTTP/2.0.", b"HTTP/2.0 200 OK", "RFC 9110, 2.5"),
        line("status-http-2", "The version is HTTP/2.", b"HTTP/2 200 OK", "RFC 9112, 2.3"),
        line("status-http-3.0", "The version is HTTP/3.0.", b"HTTP/3.0 200 OK", "RFC 9110, 2.5"),
        line("status-http-11.1", "The version is HTTP/11.1.", b"HTTP/11.1 200 OK", "RFC 9112, 2.3"),
        line("status-no-version", "The version is HTTP, without a number.", b"HTTP 200 OK", "RFC 9112, 2.3",
             status=None),
        line("status-icy", "The protocol is ICY.", b"ICY 200 OK", "RFC 9112, 2.3", status=None),
        line("status-https", "The protocol is HTTPS.", b"HTTPS/1.1 200 OK", "RFC 9112, 2.3", status=None),
        line("status-request-line", "A request line instead of a status line.", b"GET / HTTP/1.1", status=None),
        line("status-2-digits", "The status code has two digits.", b"HTTP/1.1 20 OK", "RFC 9110, 15", status=20),
        line("status-4-digits", "The status code has four digits.", b"HTTP/1.1 2000 OK", "RFC 9110, 15", status=2000),
        line("status-000", "The status code is 000.", b"HTTP/1.1 000 Odd", "RFC 9110, 15", status=0),
        line("status-099", "The status code is 099.", b"HTTP/1.1 099 Odd", "RFC 9110, 15", status=99),
        line("status-299", "The status code is unknown: 299.", b"HTTP/1.1 299 Odd", "RFC 9110, 15", status=299),
        line("status-600", "The status code is 600.", b"HTTP/1.1 600 Odd", "RFC 9110, 15", status=600),
        line("status-999", "The status code is 999.", b"HTTP/1.1 999 Odd", "RFC 9110, 15", status=999),
        line("status-negative", "The status code is negative.", b"HTTP/1.1 -200 OK", "RFC 9110, 15", status=None),
        line("status-plus", "The status code has a plus sign.", b"HTTP/1.1 +200 OK", "RFC 9110, 15", status=None),
        line("status-text", "The status code is a word.", b"HTTP/1.1 odd OK", "RFC 9110, 15", status=None),
        line("status-missing", "The status line has no status code.", b"HTTP/1.1 ", "RFC 9112, 4", status=None),
        line("status-decimal", "The status code has a decimal part, as IIS writes in its log.",
             b"HTTP/1.1 200.1 OK", "RFC 9110, 15"),
        line("reason-control", "The reason phrase has the control byte 0x01.", b"HTTP/1.1 200 O\x01K"),
        line("reason-nul", "The reason phrase has a NUL.", b"HTTP/1.1 200 O\0K"),
        line("reason-high", "The reason phrase has the byte 0xE9.", b"HTTP/1.1 200 \xe9"),
        row("http-0.9", "RFC 9112, 2.3", "A body without a head, as HTTP/0.9 had it.", BODY, status=None),
    ]


def sizes():
    rows = []
    for kib in (4, 8, 16, 32, 64, 128):
        rows += [
            Malformation(f"line-{kib}k", "RFC 9110, 5.4", f"A field line of {kib} KiB.", of_line_size(kib * KIB)),
            Malformation(f"head-{kib}k", "RFC 9110, 5.4", f"A head of {kib} KiB, in lines of 1000 bytes.",
                         of_head_size(kib * KIB)),
        ]
    for count in (100, 200, 500, 1000):
        rows.append(Malformation(f"fields-{count}", "RFC 9110, 5.4", f"{count} field lines.", of_field_count(count)))
    rows.append(Malformation("reason-8k", "RFC 9112, 4", "A reason phrase of 8 KiB.", of_reason_size(8 * KIB)))
    return sorted(rows, key=lambda row: row.id.split("-")[0])


def chunks():
    row = Malformation
    size = b"%x" % len(BODY)

    def bad(id, sentence, response, section="RFC 9112, 7.1", body=BODY, complete=True):
        return row(id, section, sentence, response, body=body, complete=complete)

    return [
        bad("chunk-size-text", "The chunk size is a word.", one_chunk(b"xyz\r\n"), body=b"", complete=False),
        bad("chunk-size-empty", "The chunk size is empty.", one_chunk(b"\r\n"), body=b"", complete=False),
        bad("chunk-size-negative", "The chunk size is negative.", one_chunk(b"-" + size + b"\r\n"),
            body=b"", complete=False),
        bad("chunk-size-plus", "The chunk size has a plus sign.", one_chunk(b"+" + size + b"\r\n"),
            body=b"", complete=False),
        bad("chunk-size-0x", "The chunk size has the prefix 0x.", one_chunk(b"0x" + size + b"\r\n"),
            body=b"", complete=False),
        bad("chunk-size-space-after", "A space follows the chunk size.", one_chunk(size + b" \r\n")),
        bad("chunk-size-tab-after", "A tab follows the chunk size.", one_chunk(size + b"\t\r\n")),
        bad("chunk-size-spaces-after", "Eight spaces follow the chunk size, as old servers pad it.",
            one_chunk(size + b" " * 8 + b"\r\n")),
        bad("chunk-size-space-before", "A space precedes the chunk size.", one_chunk(b" " + size + b"\r\n")),
        bad("chunk-size-text-after", "A word follows the chunk size.", one_chunk(size + b" odd\r\n")),
        bad("chunk-size-beyond-64-bits", "The chunk size does not fit into 64 bits.",
            one_chunk(b"1000000000000000" + size + b"\r\n"), complete=False, body=BODY + b"\r\n0\r\n\r\n"),
        bad("chunk-size-64-bits", "The chunk size is the largest of 64 bits.",
            one_chunk(b"ffffffffffffffff\r\n"), complete=False, body=BODY + b"\r\n0\r\n\r\n"),
        bad("chunk-size-63-bits", "The chunk size is the largest of 63 bits.",
            one_chunk(b"7fffffffffffffff\r\n"), complete=False, body=BODY + b"\r\n0\r\n\r\n"),
        bad("chunk-size-too-small", "The chunk has more data than its size says.",
            one_chunk(b"12\r\n"), complete=False, body=BODY[:18]),
        bad("chunk-size-too-large", "The chunk has fewer data than its size says.",
            one_chunk(b"40\r\n"), complete=False, body=BODY + b"\r\n0\r\n\r\n"),
        bad("chunk-lf", "All lines of the chunked body end with LF alone.",
            one_chunk(size + b"\n", end=b"\n", last=b"0\n\n")),
        bad("chunk-size-lf", "The line of the chunk size ends with LF alone.", one_chunk(size + b"\n")),
        bad("chunk-size-cr", "The line of the chunk size ends with CR alone.", one_chunk(size + b"\r"),
            body=b"\r\n0\r\n\r\n", complete=False),
        bad("chunk-data-lf", "The data of the chunk end with LF alone.", one_chunk(size + b"\r\n", end=b"\n")),
        bad("chunk-data-no-end", "No line end follows the data of the chunk.", one_chunk(size + b"\r\n", end=b"")),
        bad("chunk-final-line-missing", "The connection ends after the last chunk, before the empty line.",
            one_chunk(size + b"\r\n", last=b"0\r\n"), "RFC 9112, 8", complete=False),
        bad("chunk-last-missing", "The connection ends before the last chunk.",
            one_chunk(size + b"\r\n", last=b""), "RFC 9112, 8", complete=False),
        row("chunk-last-missing-reset", "RFC 9112, 8", "The connection is reset before the last chunk.",
            one_chunk(size + b"\r\n", last=b""), complete=False, end="reset"),
        bad("chunk-cut", "The connection ends inside a chunk.",
            chunked(size + b"\r\n" + BODY[:HALF]), "RFC 9112, 8", body=BODY[:HALF], complete=False),
        bad("chunk-no-body", "The connection ends after the head of a chunked response.",
            chunked(b""), "RFC 9112, 8", body=b"", complete=False),
        bad("chunk-excess", "Bytes follow the last chunk.", chunked(CHUNKS + b"excess"), "RFC 9112, 9.2"),
        bad("chunk-extension-empty", "A semicolon follows the chunk size, and no extension.",
            one_chunk(size + b";\r\n"), "RFC 9112, 7.1.1"),
        bad("chunk-extension-invalid", "A chunk extension has characters that are not allowed.",
            one_chunk(size + b';=,"\x01\r\n'), "RFC 9112, 7.1.1"),
        bad("chunk-extension-lf", "A chunk extension has an LF.",
            one_chunk(size + b";a\nb\r\n"), "RFC 9112, 7.1.1", body=b"b\r\n" + BODY[:-3], complete=False),
        bad("chunk-extension-cr", "A chunk extension has a CR.",
            one_chunk(size + b";a\rb\r\n"), "RFC 9112, 7.1.1"),
        bad("trailer-content-length", "Content-Length comes as a trailer field.",
            chunked(CHUNKS[:-2] + b"Content-Length: 3\r\n\r\n"), "RFC 9110, 6.5.1"),
        bad("trailer-transfer-encoding", "Transfer-Encoding comes as a trailer field.",
            chunked(CHUNKS[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"), "RFC 9110, 6.5.1"),
        bad("trailer-announced-missing", "Trailer announces a field that does not come.",
            chunked(CHUNKS, b"Trailer: X-Trail"), "RFC 9110, 6.6.2"),
        bad("trailer-no-colon", "A trailer line has no colon.",
            chunked(CHUNKS[:-2] + b"odd\r\n\r\n"), "RFC 9112, 7.1.2"),
        bad("trailer-space-before-colon", "A space precedes the colon of a trailer field.",
            chunked(CHUNKS[:-2] + b"X-Trail : yes\r\n\r\n"), "RFC 9112, 5.1"),
        bad("trailer-8k", "A trailer line of 8 KiB.", of_trailer_size(8 * KIB), "RFC 9110, 5.4"),
    ]


def bodies():
    row = Malformation
    none = b"HTTP/1.1 204 No Content"
    same = b"HTTP/1.1 304 Not Modified"
    reset = b"HTTP/1.1 205 Reset Content"
    return [
        row("204-length", "RFC 9110, 8.6", "A 204 response with a Content-Length and no body.",
            message(LENGTH, line=none, body=b""), status=204, body=b""),
        row("204-length-0", "RFC 9110, 8.6", "A 204 response with Content-Length: 0.",
            message(b"Content-Length: 0", line=none, body=b""), status=204, body=b""),
        row("204-body", "RFC 9110, 15.3.5", "A 204 response with Content-Length and a body.",
            message(LENGTH, line=none), status=204, body=b""),
        row("204-chunked", "RFC 9112, 6.1", "A 204 response with a chunked body.",
            message(CHUNKED, line=none, body=CHUNKS), status=204, body=b""),
        row("204-chunked-empty", "RFC 9112, 6.1", "A 204 response with an empty chunked body.",
            message(CHUNKED, line=none, body=b"0\r\n\r\n"), status=204, body=b""),
        row("205-body", "RFC 9110, 15.3.6", "A 205 response with Content-Length and a body.",
            message(LENGTH, line=reset), status=205),
        row("304-unasked", "RFC 9110, 15.4.5", "A 304 response to a request without a condition.",
            message(line=same, body=b""), status=304, body=b""),
        row("304-body", "RFC 9110, 15.4.5", "A 304 response with Content-Length and a body.",
            message(LENGTH, line=same), status=304, body=b""),
        row("304-chunked", "RFC 9110, 15.4.5", "A 304 response with a chunked body.",
            message(CHUNKED, line=same, body=CHUNKS), status=304, body=b""),
        row("head-body", "RFC 9110, 9.3.2", "A body follows the response to HEAD.", sized(), method="HEAD", body=b""),
        row("head-chunked", "RFC 9110, 9.3.2", "A chunked body follows the response to HEAD.",
            chunked(CHUNKS), method="HEAD", body=b""),
        row("head-two-lengths", "RFC 9112, 6.3", "The response to HEAD has two different Content-Length.",
            message(LENGTH, b"Content-Length: 3", body=b""), method="HEAD", body=b""),
        row("interim-body", "RFC 9110, 15.2", "A 103 response has Content-Length and a body.",
            b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nodd\n" + sized(), status=None),
        row("interim-length-0", "RFC 9110, 8.6", "A 103 response has Content-Length: 0.",
            b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + sized()),
        row("interim-chunked", "RFC 9112, 6.1", "A 103 response has Transfer-Encoding: chunked.",
            b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + sized()),
        row("interim-unknown", "RFC 9110, 15.2", "A response 199 precedes the final one.",
            of_interim_count(1, b"199 Odd")),
        row("interim-100", "RFC 9110, 15.2.1", "A 100 response, which the request did not expect.",
            of_interim_count(1, b"100 Continue")),
        row("interim-100-x10", "RFC 9110, 15.2", "Ten 100 responses.", of_interim_count(10, b"100 Continue")),
        row("interim-100-x100", "RFC 9110, 15.2", "A hundred 100 responses.", of_interim_count(100, b"100 Continue")),
        row("interim-103-x10", "RFC 9110, 15.2", "Ten 103 responses.", of_interim_count(10)),
        row("interim-103-x100", "RFC 9110, 15.2", "A hundred 103 responses.", of_interim_count(100)),
        row("interim-http10", "RFC 9110, 15.2", "An HTTP/1.0 response has an interim response before it.",
            b"HTTP/1.0 100 Continue\r\n\r\n" + sized(line=b"HTTP/1.0 200 OK")),
        row("interim-only", "RFC 9110, 15.2", "The connection ends after a 100 response.",
            b"HTTP/1.1 100 Continue\r\n\r\n", status=None),
        row("101-unasked", "RFC 9110, 7.8", "A 101 response that no Upgrade asked for.",
            b"HTTP/1.1 101 Switching Protocols\r\nX-Origin: yes\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n" + BODY,
            status=101),
        row("101-then-200", "RFC 9110, 7.8", "A 101 response that no Upgrade asked for, and then a 200 response.",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + sized(),
            status=101, body=sized()),
        row("gzip-not-done", "RFC 9110, 8.4", "Content-Encoding: gzip, and the body is plain text.",
            sized(b"Content-Encoding: gzip")),
        row("gzip-cut", "RFC 9110, 8.4", "Content-Encoding: gzip, and the gzip data are cut off.",
            message(b"Content-Encoding: gzip", b"Content-Length: %d" % len(ZIPPED[:-8]), body=ZIPPED[:-8]),
            body=ZIPPED[:-8]),
        row("coding-unknown", "RFC 9110, 8.4", "An unknown Content-Encoding.", sized(b"Content-Encoding: odd")),
    ]


def protocols():
    row = Malformation
    settings = b"\0\0\0\x04\0\0\0\0\0"
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x01"
    return [
        row("h2-frames", "RFC 9113, 3.4", "HTTP/2 frames (SETTINGS, GOAWAY) answer HTTP/1.1.",
            settings + goaway, status=None),
        row("h2-preface", "RFC 9113, 3.4", "The client preface of HTTP/2 answers HTTP/1.1.",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings, status=None),
        row("tls-alert", "RFC 8446, 6", "A TLS alert answers a request in plain text.",
            b"\x15\x03\x03\0\x02\x02\x0a", status=None),
        row("ssh-banner", "RFC 9112, 4", "An SSH server's banner answers.", b"SSH-2.0-OpenSSH_9.2\r\n", status=None),
        row("html-only", "RFC 9112, 4", "An HTML page without a head.",
            b"<html><body>odd</body></html>\n", status=None),
        row("nothing", "RFC 9112, 8", "The connection ends before a byte came.", b"", status=None),
        row("nothing-reset", "RFC 9112, 8", "The connection is reset before a byte came.",
            b"", status=None, end="reset"),
        row("head-cut-status", "RFC 9112, 8", "The connection ends inside the status line.",
            b"HTTP/1.1 20", status=None),
        row("head-cut", "RFC 9112, 8", "The connection ends inside the head.",
            b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Le", status=None),
        row("head-cut-line", "RFC 9112, 8", "The connection ends after a field line, before the empty line.",
            b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Length: 0\r\n", status=None),
        row("status-line-only", "RFC 9112, 4", "A status line and an empty line, and no field.",
            b"HTTP/1.1 200 OK\r\n\r\n", body=b""),
    ]


ZIPPED = gzip.compress(BODY, mtime=0)
ROWS = [
    *conforming(), *transfer_encoding(), *content_length(), *fields(), *lines(), *status_lines(), *sizes(), *chunks(),
    *bodies(), *protocols(),
]
BY_ID = {row.id: row for row in ROWS}
