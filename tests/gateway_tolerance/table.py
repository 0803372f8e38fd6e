"""The results as text, in a format that suits `git diff`. The exporter and `--check` read it.

Each section is a table of columns separated by ` | ` or, in the last two sections, by white space:

    gateways    product/version, source
    rows        id, section, sentence
    limits      id, sentence
    outcomes    id, and one word for each gateway, in the order of the gateways
    thresholds  id, and one number for each gateway
"""

import collections
import dataclasses
import re

ACCEPTED = ("ok", "drop", "edit", "heal")
CHANGED = ("cut", "less", "more", "other", "raw")
PREDICTED = 0.99
# Maximum relative difference between two measurements of a threshold.
SLACK = 0.01


def cell(seen):
    """The outcomes of all attempts in one word."""
    return "~".join(sorted(set(seen)))


def kind(outcome):
    """accepted, changed or refused; broken if changed and refused vary; varies if accepted is among them."""
    kinds = {
        "accepted" if word in ACCEPTED else "changed" if word in CHANGED or word.startswith("as-") else "refused"
        for word in outcome.split("~")
    }
    if len(kinds) == 1:
        return kinds.pop()
    return "varies" if "accepted" in kinds else "broken"


def is_accepted(outcome):
    return kind(outcome) == "accepted"


def plain(text):
    """A line of a log without the parts that differ between runs."""
    text = re.sub(r"127\.0\.0\.1(:\d+)?", "ADDRESS", text)
    text = re.sub(r"answer-\d+", "PATH", text)
    # Quoted parts of the response are omitted, because the row has them: `malformed status code "2000"`.
    text = re.sub(r"""\\"(?:\\\\\\"|[^"])*?(?:\\"|$)|(?<= )'[^']*'""", "...", text)
    quoting = "(invalid HTTP status line|malformed MIME header(?: initial)? line|by remote server)"
    text = re.sub(f"{quoting}: .*", r"\1: ...", text)
    return re.sub(r"[^\x20-\x7e]+", "?", text)[:120].strip()


def aligned(rows):
    """Lines of cells, aligned with spaces, without trailing spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@dataclasses.dataclass
class Table:
    date: str
    # {product/version: source}
    gateways: dict
    # {id: (section, sentence)}
    rows: dict
    # {id: {product/version: outcome}}
    outcomes: dict
    # {id: sentence}
    limits: dict
    # {id: {product/version: number}}
    thresholds: dict
    # {product/version: {id: reason}}
    reasons: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, measurements, rows, thresholds, date):
        return cls(
            date=str(date),
            gateways={one.started.name: one.started.row.source for one in measurements},
            rows={row.id: (row.section, row.sentence) for row in rows},
            outcomes={row.id: {one.started.name: one.outcomes[row.id] for one in measurements} for row in rows},
            limits={threshold.id: threshold.sentence for threshold in thresholds},
            thresholds={
                threshold.id: {one.started.name: one.thresholds[threshold.id] for one in measurements if one.thresholds}
                for threshold in thresholds
            },
            reasons={one.started.name: one.reasons for one in measurements},
        )

    def text(self):
        lines = [
            "# Which responses of an origin gateways pass on, change or refuse. Written by `make tolerance`; the words are",
            "# explained in tests/gateway_tolerance/README.md. Columns are separated by \" | \" in [gateways], [rows] and",
            "# [limits], by spaces in [outcomes] and [thresholds].",
            f"measured {self.date}",
            "",
            "[gateways]",
            *(f"{name} | {source}" for name, source in self.gateways.items()),
            "",
            "[rows]",
            *(f"{id} | {section} | {sentence}" for id, (section, sentence) in self.rows.items()),
            "",
            "[limits]",
            *(f"{id} | {sentence}" for id, sentence in self.limits.items()),
            "",
        ]
        for title, cells in (("outcomes", self.outcomes), ("thresholds", self.thresholds)):
            body = [[id, *(by_gateway.get(name, "-") for name in self.gateways)] for id, by_gateway in cells.items()]
            lines += [f"[{title}]", *aligned([["id", *self.gateways], *body]), ""]
        return "\n".join(lines)

    def reasons_text(self):
        """The reasons of each gateway for rejected or changed responses: one line for each reason, with its rows."""
        lines = ["# What gateways say of responses that they refused or changed: in their log, or in their own response."]
        for name, reasons in self.reasons.items():
            by_reason = collections.defaultdict(list)
            for id, reason in reasons.items():
                by_reason[reason or "(nothing)"].append(id)
            lines += ["", f"[{name}]"]
            lines += [f"{reason}: {' '.join(ids)}" for reason, ids in sorted(by_reason.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def read(cls, path):
        sections = collections.defaultdict(list)
        date, title = "", ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                title = line.strip("[]")
            elif line.startswith("measured "):
                date = line.split()[1]
            elif line and not line.startswith("#"):
                sections[title].append(line)

        def cells(title):
            header, *lines = [line.split() for line in sections[title]]
            return {id: dict(zip(header[1:], row, strict=True)) for id, *row in lines}

        rows = [line.split(" | ") for line in sections["rows"]]
        return cls(
            date=date,
            gateways=dict(line.split(" | ") for line in sections["gateways"]),
            rows={id: (section, sentence) for id, section, sentence in rows},
            outcomes=cells("outcomes"),
            limits=dict(line.split(" | ") for line in sections["limits"]),
            thresholds=cells("thresholds"),
        )


def predicts(old, new):
    """Whether a response is accepted or rejected as in the earlier measurement."""
    return kind(old) == "varies" or is_accepted(old) == is_accepted(new)


def is_near(old, new):
    if old == new:
        return True
    return old.isdigit() and new.isdigit() and abs(int(old) - int(new)) <= SLACK * max(int(old), int(new))


def compare(old, new):
    """Prints the differences between two measurements. Returns the failures."""
    pairs = [(id, name) for id in old.outcomes for name in old.gateways if name in new.gateways and id in new.outcomes]
    wrong = []
    for id, name in pairs:
        before, now = old.outcomes[id][name], new.outcomes[id][name]
        if not predicts(before, now):
            wrong.append(f"{id} through {name}: was {before}, is {now}")
    same = sum(old.outcomes[id][name] == new.outcomes[id][name] for id, name in pairs)
    print(f"{same} of {len(pairs)} outcomes are identical")
    sizes = [(id, name) for id in old.thresholds for name in old.gateways if name in new.gateways]
    moved = [
        f"{id} of {name}: was {old.thresholds[id][name]}, is {new.thresholds[id][name]}"
        for id, name in sizes
        if not is_near(old.thresholds[id][name], new.thresholds[id][name])
    ]
    for line in (*wrong, *moved):
        print(line)
    failures = []
    for name in old.gateways.keys() ^ new.gateways.keys():
        print(f"{name} is in only one of the measurements")
    for what, all_of, differ in (("outcomes", pairs, wrong), ("thresholds", sizes, moved)):
        held = 1 - len(differ) / len(all_of) if all_of else 0
        print(f"{what}: {len(all_of) - len(differ)} of {len(all_of)} are as predicted ({held:.2%})")
        if held < PREDICTED:
            failures.append(f"fewer than {PREDICTED:.0%} of the {what} are as predicted")
    return failures
