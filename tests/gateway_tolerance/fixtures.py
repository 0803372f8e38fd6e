"""Writes the responses of `malformations.py` as a fixture: the tests of glassbox-verdict examine the same bytes that the
gateways received. Responses that only differ in a size are omitted, since thresholds describe them."""

import pathlib

from malformations import ROWS, sizes

FIXTURE = pathlib.Path(__file__).parents[2] / "crates/glassbox-verdict/fixtures/conformance/responses.txt"
SIZES = {row.id for row in sizes()} | {"trailer-8k", "interim-100-x10", "interim-100-x100", "interim-103-x10", "interim-103-x100"}


def escaped(data):
    """The bytes in one printable line, as in a Rust byte string."""
    names = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
    return "".join(names.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data)


def text():
    lines = [
        "# The responses of tests/gateway_tolerance/malformations.py. Written by tests/gateway_tolerance/fixtures.py.",
        "# Columns are separated by \" | \": id, method, end of the connection, bytes.",
    ]
    lines += [f"{row.id} | {row.method} | {row.end} | {escaped(row.response)}" for row in ROWS if row.id not in SIZES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FIXTURE.write_text(text())
