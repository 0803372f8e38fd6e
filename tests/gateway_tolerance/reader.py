"""A tolerant HTTP/1 parser, and the outcome that it derives from a gateway's response."""

import dataclasses
import re
import socket
import time

from malformations import BODY, ORIGIN

# Longer than all timeouts in the gateways' configurations.
PATIENCE_SECONDS = 5


@dataclasses.dataclass
class Response:
    """A parsed response. `status` is None if the bytes have no status line."""

    status: int | None
    reason: bytes
    fields: list
    body: bytes
    complete: bool

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]


def split_head(data):
    """The unfolded lines of a header, and the bytes after it. None if the header is incomplete."""
    end = re.search(rb"\r?\n\r?\n", data)
    if end is None:
        return None
    lines = re.split(rb"\r?\n", data[: end.start()])
    # The status line is never folded. Folded lines before the first field are ignored.
    unfolded = lines[:1]
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t") and len(unfolded) > 1:
            unfolded[-1] += b" " + line.strip()
        else:
            unfolded.append(line)
    return unfolded, data[end.end() :]


def unchunk(data):
    """The data of a chunked body, and whether the last chunk and the end of the body are present."""
    body = b""
    while True:
        size = re.match(rb"[ \t]*([0-9A-Fa-f]+)[^\n]*\n", data)
        if size is None or re.match(rb"[ \t]*0x", data):
            return body, False
        data = data[size.end() :]
        length = int(size[1], 16)
        if length == 0:
            return body, re.match(rb"([^\n]+\n)*?\r?\n", data) is not None
        body += data[:length]
        if len(data) < length:
            return body, False
        data = re.sub(rb"\A\r?\n", b"", data[length:])


def frame(response, data):
    """Finds the body in the bytes after the header."""
    codings = b",".join(response.values(b"Transfer-Encoding")).lower()
    if b"chunked" in re.split(rb'[\s",;]+', codings):
        return unchunk(data)
    lengths = {text.strip() for value in response.values(b"Content-Length") for text in value.split(b",")}
    numbers = {int(text) for text in lengths if re.fullmatch(rb"\+?\d+", text)}
    if len(numbers) != 1 or len(lengths) != 1:
        # Missing or contradictory framing: the body ends with the connection.
        return data, True
    length = numbers.pop()
    return data[:length], len(data) >= length


def parse(data, method):
    """Parses the final response from all bytes of a connection."""
    rest = data.lstrip(b"\r\n ")
    while True:
        line = re.match(rb"(?i)HTTP/\d+(?:[.,]\d+)?[ \t]+(\d+)([^\n]*)\n", rest)
        head = split_head(rest)
        if line is None or head is None:
            return Response(None, b"", [], data, True)
        status = int(line[1])
        lines, rest = head
        if not (100 <= status < 200 and status != 101):
            break
    fields = []
    for text in lines[1:]:
        name, colon, value = text.partition(b":")
        if colon:
            fields.append((name.rstrip(b" \t"), b" ".join(value.strip(b" \t\r\x0b").split(b" "))))
    response = Response(status, line[2].strip(), fields, rest, True)
    if method == "HEAD" or status in (204, 304):
        response.body = b""
    elif status != 101:
        response.body, response.complete = frame(response, rest)
    return response


def receive(address, request):
    """Sends a request over a new connection. Returns all received bytes, and the end: close, reset or wait."""
    data = b""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as stream:
        stream.sendall(request)
        while True:
            stream.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = stream.recv(65536)
            except TimeoutError:
                return data, "wait"
            except ConnectionError:
                return data, "reset"
            if not part:
                return data, "close"
            data += part


def is_from_origin(response, row):
    """Whether the response contains a part of the origin's response."""
    name, value = ORIGIN.split(b": ")
    if value in response.values(name) or BODY[:14] in response.body:
        return True
    return len(row.response) > 4 and row.response[:20] in response.body


def field_outcome(response, row):
    """Outcome for the unusual field."""
    if row.field is None:
        return "ok"
    name, value = row.field
    values = response.values(name)
    if not values:
        return "drop"
    return "ok" if value in [b" ".join(text.split()) if b" " in value else text for text in values] else "edit"


def body_outcome(response, row, ended):
    """Difference between the body and the one that a tolerant parser reads at the origin. None if they are equal."""
    complete = response.complete and ended == "close"
    if response.body == row.body:
        if complete:
            return None if row.complete else "heal"
        return "cut"
    if re.search(rb"(?i)http/\d|x-origin", response.body) and not re.search(rb"(?i)http/\d", row.body):
        return "raw"
    if not complete:
        return "cut"
    if row.body.startswith(response.body):
        return "less"
    return "more" if row.body in response.body else "other"


def outcome(data, ended, row):
    """One word for the response that a client receives. README.md explains the words."""
    if not data:
        return ended
    response = parse(data, row.method)
    origins = is_from_origin(response, row)
    if response.status is None:
        return "raw" if origins else "other"
    if row.status is None:
        if response.status >= 500 or (response.status >= 400 and not origins):
            return str(response.status)
        return "raw"
    if response.status != row.status:
        return str(response.status) if response.status >= 400 else f"as-{response.status}"
    return body_outcome(response, row, ended) or field_outcome(response, row)
