#!/usr/bin/env python3
"""Measures which responses of an origin each gateway forwards, changes or rejects.

    measure.py [--check] [--only PRODUCT,…] [--rows ID,…]

Writes crates/glassbox-verdict/src/gateways/tolerance.txt, and reasons.txt in its own folder. With --check it writes nothing: it measures again,
prints the differences from the file, and fails if less than 99 % of the outcomes are as predicted. With --only or --rows
it prints the results and writes nothing. Requires root and Python's standard library. README.md explains the words.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import pathlib
import re
import sys
import tempfile
import time

import gateways
import malformations
import reader
import table
from malformations import KIB, ROWS, Malformation
from origin import Origin

HERE = pathlib.Path(__file__).resolve().parent
# The table is in src, because the build of the exporter includes it.
TABLE = HERE.parents[1] / "crates" / "glassbox-verdict" / "src" / "gateways" / "tolerance.txt"
# In one write, in two writes split within the header, and in two writes split between header and body.
ATTEMPTS = (None, "head", "body")
# HAProxy 2.2 and 2.6 accept a space before the colon of a trailer in one process and reject it in the next.
PROCESSES = 2
# Number of gateways that are measured concurrently.
WORKERS = 4
READY_SECONDS = 20
# Number of requests without a connection to the origin after which a gateway counts as dead.
UNASKED = 3
MIB = 1024 * KIB
# Responses that every gateway must forward.
CONTROLS = ("valid-content-length", "valid-chunked", "valid-until-close")
CONTROL = malformations.BY_ID[CONTROLS[0]]


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A size that gateways limit: the response with this size, and the range of the search."""

    id: str
    sentence: str
    of: object
    lowest: int
    highest: int


# Beyond these ranges, the result depends on the timing of the bytes, and no real origin sends such responses.
THRESHOLDS = [
    Threshold("line", "bytes of one field line, without its line end", malformations.of_line_size, 64, MIB),
    Threshold("head", "bytes of the head with all line ends, in lines of 4000",
              lambda size: malformations.of_head_size(size, 4000), 512, 200 * KIB),
    # Apache Traffic Server takes seconds for thousands of fields and is blocked meanwhile.
    Threshold("fields", "field lines of up to 6 bytes", malformations.of_field_count, 4, 1000),
    Threshold("reason", "bytes of the reason phrase", malformations.of_reason_size, 1, MIB),
    Threshold("interim-100", "100 responses before the final one",
              lambda count: malformations.of_interim_count(count, b"100 Continue"), 0, 2000),
    Threshold("interim-103", "103 responses before the final one", malformations.of_interim_count, 0, 2000),
    Threshold("chunk-extension", "bytes of a chunk extension, with its semicolon",
              malformations.of_extension_size, 4, 16 * KIB),
    Threshold("chunk-digits", "digits of a chunk size, leading zeros included", malformations.of_size_digits, 2, 64),
    Threshold("trailer", "bytes of a trailer line, without its line end", malformations.of_trailer_size, 16, 32 * KIB),
]


class Measurement:
    """Outcomes, thresholds and reasons of one gateway."""

    def __init__(self, started, origin):
        self.started, self.origin = started, origin
        self.outcomes, self.reasons, self.thresholds = {}, {}, {}

    def exchange(self, row, split=None):
        """One response through the gateway. Returns its outcome and the bytes that the client received.

        If the gateway did not connect to the origin, it did not reject the response: it reused a closed connection, or it
        is dead. Then the request is repeated.
        """
        for _ in range(UNASKED):
            path, answer = self.origin.register(row.response, row.end, split)
            request = f"{row.method} {path} HTTP/1.1\r\nHost: {gateways.HOST}\r\nConnection: close\r\n\r\n"
            data, ended = reader.receive(self.started.address, request.encode())
            if answer.requests:
                return reader.outcome(data, ended, row), data
            time.sleep(0.05)
        raise ConnectionError(f"{self.started.name} does not ask its backend for {row.id}: {data[:200]!r}")

    def attempts(self, row, enough=lambda _: False):
        """The outcomes of the exchanges, and the bytes of the last one.

        A gateway that no longer responds afterwards, because it crashed or hangs, is restarted.
        """
        seen, data = [], b""
        try:
            for split in ATTEMPTS:
                outcome, data = self.exchange(row, split)
                seen.append(outcome)
                if enough(outcome):
                    break
            self.exchange(CONTROL)
        except OSError:
            outcome = "crash" if self.started.has_died() else "hang"
            self.started.restart()
            self.wait_until_ready()
            return [outcome], data
        return seen, data

    def measure(self, row):
        sizes = self.started.logs()
        seen, data = self.attempts(row)
        self.outcomes[row.id] = table.cell(seen)
        if not table.is_accepted(self.outcomes[row.id]):
            self.reasons[row.id] = self.reason(sizes, data)

    def join(self, other):
        """Adds the results of another process of the same gateway."""
        for id, outcome in other.outcomes.items():
            self.outcomes[id] = table.cell([*self.outcomes[id].split("~"), *outcome.split("~")])
        self.reasons = {**other.reasons, **self.reasons}

    def reason(self, sizes, data):
        """The reason in the gateway's response or log. Logs are written with a delay."""
        for _ in range(5):
            text = data.decode("utf-8", "replace") + "\n\0" + self.started.logged_since(sizes)
            found = re.findall(self.started.row.reason, text, re.MULTILINE)
            if found or self.started.row.reason == gateways.NONE:
                break
            time.sleep(0.02)
        # With several groups, each match is a tuple with one non-empty element.
        return table.plain("".join(found[-1])) if found else ""

    def threshold(self, threshold):
        """The largest accepted size, by bisection."""

        def accepted(size):
            row = Malformation(threshold.id, "", "", threshold.of(size))
            return table.is_accepted(table.cell(self.attempts(row, lambda outcome: not table.is_accepted(outcome))[0]))

        low, high = threshold.lowest, threshold.highest
        if not accepted(low):
            return "none"
        if accepted(high):
            return f">={high}"
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if accepted(middle) else (low, middle)
        return str(low)

    def wait_until_ready(self):
        """Waits until the gateway forwards a response. Some gateways listen before they know their backend."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                outcome = self.exchange(CONTROL)[0]
            except OSError as error:
                outcome = str(error)
            if outcome == "ok":
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.started.name} does not pass {CONTROL.id}: {outcome}")
            time.sleep(0.1)

    def run(self, rows, with_thresholds):
        self.wait_until_ready()
        for row in rows:
            self.measure(row)
        if with_thresholds:
            self.thresholds = {threshold.id: self.threshold(threshold) for threshold in THRESHOLDS}
        for control in CONTROLS:
            if self.outcomes.get(control, "ok") != "ok":
                raise RuntimeError(f"{self.started.name} does not pass {control}: {self.outcomes[control]}")


def measure(gateway, folder, rows, with_thresholds):
    """Measures a gateway in several processes. Thresholds are measured in the first one."""
    begin = time.monotonic()
    measurements = []
    for number in range(PROCESSES):
        backend = gateways.free_port()
        origin = Origin(backend)
        try:
            with gateways.Started(gateway, folder / str(number), backend) as started:
                measurement = Measurement(started, origin)
                measurement.run(rows, with_thresholds and number == 0)
            measurements.append(measurement)
        finally:
            origin.close()
    first, *others = measurements
    for other in others:
        first.join(other)
    print(f"{first.started.name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return first


def measure_all(chosen, rows, with_thresholds):
    """All measurements in the order of the rows, and the failures."""
    measurements, failures = [], []
    with tempfile.TemporaryDirectory(prefix="tolerance-") as place:
        pathlib.Path(place).chmod(0o755)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            asked = [
                pool.submit(measure, gateway, pathlib.Path(place, f"{number}-{gateway.product}"), rows, with_thresholds)
                for number, gateway in enumerate(chosen)
            ]
            for gateway, result in zip(chosen, asked, strict=True):
                try:
                    measurements.append(result.result())
                except (OSError, RuntimeError, ValueError) as error:
                    failures.append(f"{gateway.product} from {gateway.source}: {error}")
    return measurements, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--rows")
    options = parser.parse_args()
    chosen = [row for row in gateways.ROWS if not options.only or row.product in options.only.split(",")]
    rows = [row for row in ROWS if not options.rows or row.id in (*CONTROLS, *options.rows.split(","))]
    gateways.fetch(chosen)
    measurements, failures = measure_all(chosen, rows, with_thresholds=not options.rows)
    new = table.Table.of(measurements, rows, THRESHOLDS, datetime.datetime.now(datetime.UTC).date())
    if options.check:
        failures += table.compare(table.Table.read(TABLE), new)
    elif options.only or options.rows:
        print(new.text())
        print(new.reasons_text())
    elif not failures:
        TABLE.write_text(new.text())
        (HERE / "reasons.txt").write_text(new.reasons_text())
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
