#!/usr/bin/env python3
"""Tests of the measurement itself: the rows are correct, and the parser distinguishes the outcomes."""

import unittest
import datetime
import pathlib
import tempfile
import types

import malformations
import reader
import table
from malformations import BODY, BY_ID, ROWS


class Rows(unittest.TestCase):
    def test_ids_are_unique_kebab_case(self):
        self.assertEqual(len(BY_ID), len(ROWS))
        for row in ROWS:
            self.assertRegex(row.id, r"^[a-z0-9]+([-.][a-z0-9]+)*$")

    def test_each_row_cites_a_section_and_has_one_sentence(self):
        for row in ROWS:
            self.assertRegex(row.section, r"^RFC \d{4}(, \d+(\.\d+)*)?$", row.id)
            self.assertRegex(row.sentence, r"^[A-Za-z0-9].*\.$", row.id)
            self.assertNotIn("|", row.sentence, row.id)

    def test_the_reader_reads_at_the_origin_what_the_row_says(self):
        for row in ROWS:
            with self.subTest(row.id):
                read = reader.parse(row.response, row.method)
                self.assertEqual(read.status, row.status)
                if row.status is not None:
                    self.assertEqual((read.body, read.complete), (row.body, row.complete))
                    self.assertEqual(reader.field_outcome(read, row), "ok")

    def test_no_two_rows_send_the_same(self):
        sent = [(row.method, row.response, row.end) for row in ROWS]
        self.assertEqual(len(set(sent)), len(sent))

    def test_sizes_are_what_they_say(self):
        for size in (300, 1234, 4096, 131072):
            head = malformations.of_head_size(size).split(b"\r\n\r\n")[0] + b"\r\n\r\n"
            self.assertEqual(len(head), size)
            self.assertIn(size, {len(line) for line in malformations.of_line_size(size).split(b"\r\n")})
        for count in (100, 1000):
            head = malformations.of_field_count(count).split(b"\r\n\r\n")[0]
            self.assertEqual(head.count(b":"), count)
        trailer = malformations.of_trailer_size(500).split(b"0\r\nX-Trail")[1].split(b"\r\n")[0]
        self.assertEqual(len(b"X-Trail" + trailer), 500)


class Outcomes(unittest.TestCase):
    OK = b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Length: 32\r\n\r\n" + BODY

    def check(self, expected, data, row="valid-content-length", ended="close"):
        self.assertEqual(reader.outcome(data, ended, BY_ID[row]), expected)

    def test_what_arrives_unchanged_is_ok(self):
        self.check("ok", self.OK)
        self.check("ok", self.OK.replace(b"Content-Length: 32\r\n", b""))

    def test_an_error_of_the_gateway_is_its_status(self):
        self.check("502", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        self.check("502", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "status-999")
        self.check("502", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "http-0.9")

    def test_silence_is_how_the_connection_ended(self):
        for ended in ("close", "reset", "wait"):
            self.check(ended, b"", ended=ended)

    def test_a_broken_transfer_is_cut(self):
        self.check("cut", self.OK[:-1])
        self.check("cut", self.OK, ended="reset")
        self.check("cut", self.OK.replace(b"32", b"132"), "cl-too-large")

    def test_a_broken_transfer_made_whole_is_healed(self):
        self.check("heal", self.OK, "cl-too-large")

    def test_a_body_that_lost_bytes_is_less(self):
        self.check("less", self.OK.replace(b"32", b"3").replace(BODY, BODY[:3]), "cl-two-last-right")

    def test_framing_in_the_body_is_more(self):
        self.check("more", self.OK.replace(b"32", b"37").replace(BODY, b"20\r\n" + BODY + b"\n"), "valid-chunked")

    def test_a_head_in_the_body_is_raw(self):
        self.check("raw", b"HTTP/1.1 200 OK\r\n\r\n" + self.OK, "status-icy")
        self.check("raw", b"HTTP/1.1 200 OK\r\n\r\n" + self.OK, "status-http-2")
        self.check("raw", BODY, "http-0.9")

    def test_another_status_is_named(self):
        self.check("as-200", self.OK, "status-2-digits")

    def test_a_field_that_is_gone_or_differs_is_told(self):
        self.check("drop", self.OK, "space-before-colon")
        odd = b"X-Origin: yes\r\nX-Odd: "
        self.check("ok", self.OK.replace(b"X-Origin: yes", odd + b"a"), "space-before-colon")
        self.check("edit", self.OK.replace(b"X-Origin: yes", odd + b"b"), "space-before-colon")

    def test_interim_responses_are_passed_over(self):
        self.check("ok", b"HTTP/1.1 103 Early Hints\r\n\r\n" + self.OK)


class Tables(unittest.TestCase):
    def test_words_have_kinds(self):
        for word, kind in {
            "ok": "accepted", "drop": "accepted", "edit~ok": "accepted", "cut": "changed", "as-200": "changed",
            "502": "refused", "close": "refused", "crash": "refused", "502~cut": "broken", "cut~ok": "varies",
        }.items():
            self.assertEqual(table.kind(word), kind, word)

    def measured(self, outcome, size):
        row = BY_ID["te-two-lines"]
        started = types.SimpleNamespace(name="nginx/1.0", row=types.SimpleNamespace(source="installed"))
        limit = types.SimpleNamespace(id="line", sentence="bytes")
        one = types.SimpleNamespace(
            started=started, outcomes={row.id: outcome}, thresholds={"line": size}, reasons={row.id: "odd"}
        )
        return table.Table.of([one], [row], [limit], datetime.date(2026, 1, 1))

    def test_what_is_written_is_read(self):
        written = self.measured("502", "4013")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "table.txt")
            path.write_text(written.text())
            read = table.Table.read(path)
        read.reasons = written.reasons
        self.assertEqual(read, written)

    def test_a_second_measurement_must_be_as_predicted(self):
        first = self.measured("502", "1000")
        self.assertEqual(table.compare(first, self.measured("cut", "1005")), [])
        self.assertEqual(len(table.compare(first, self.measured("ok", "1000"))), 1)
        self.assertEqual(len(table.compare(first, self.measured("502", "1020"))), 1)
        self.assertEqual(table.compare(self.measured("cut~ok", "1000"), self.measured("ok", "1000")), [])

    def test_reasons_lose_what_the_rows_say_already(self):
        line = r'bad version \"HTTP/2\" of 127.0.0.1:80 for /answer-7'
        self.assertEqual(table.plain(line), "bad version ... of ADDRESS for /PATH")


if __name__ == "__main__":
    unittest.main()
