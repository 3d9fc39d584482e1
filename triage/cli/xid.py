"""`gpu-triage xid`: what a code or a pasted log line means."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from probes.model import LogRecord
from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser, add_output, add_rules, look
from triage.cli.reports import load_rulebook
from triage.model import Signal
from triage.rulebook.model import Rulebook, Seen

MOST_PASTED = 1 << 20
"""Bytes taken from standard input; whoever has more has a log for `explain`."""

_CODE = re.compile(r"(?:xid[\s:#-]*)?([0-9]{1,6})", re.IGNORECASE)


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "xid",
        "Say what an Xid code means, or everything that a pasted log line says.",
        """
gpu-triage xid 79
gpu-triage xid 'NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.'
gpu-triage xid - < a-few-lines.txt
""",
        "0 done, whether or not it is known   2 bad arguments or rulebook",
    )
    parsed.add_argument("what", nargs="+", metavar="CODE|LINE", help="a code, a line of a log, or - for standard input")
    add_output(parsed, ("text", "json"))
    add_rules(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Look it up and print it."""
    args = parser().parse_args(words)
    asked = " ".join(args.what)
    rulebook = load_rulebook(args.rules)
    code = _CODE.fullmatch(asked.strip())
    if code is not None:
        lines, xids = [], [_bare(int(code[1]), rulebook)]
    else:
        lines = _signals(asked, rulebook)
        xids = list({signal.fields["xid"]: signal for signal in lines if "xid" in signal.fields}.values())
    found: dict[str, Any] = {
        "schema_version": 1,
        "kind": "xid",
        "lines": [_line(signal, rulebook) for signal in lines],
        "xids": [_entry(signal, rulebook) for signal in xids],
    }
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(found))
    else:
        output.write(_text(found, args))
    return DONE


def _signals(asked: str, rulebook: Rulebook) -> list[Signal]:
    from io import BytesIO

    from triage.intake import Intake
    from triage.scanner import Scanner

    if asked == "-":
        if sys.stdin is None:
            raise Refused("standard input is closed, and - means to read it")
        pasted = sys.stdin.buffer.read(MOST_PASTED)
    else:
        pasted = asked.encode("utf-8", "surrogateescape")
    records = Intake(["-"], now=time.time(), tz_offset=0.0, stdin=BytesIO(pasted + b"\n"))
    return list(Scanner(rulebook).scan(records))


def _bare(code: int, rulebook: Rulebook) -> Signal:
    fields = {"xid": str(code), "known": "yes" if code in rulebook.xids else "no"}
    entry = rulebook.xids.get(code)
    if entry is not None:
        fields |= {"group": entry.group, "bucket": entry.bucket}
    return Signal("xid", None, fields, LogRecord(""))


def _line(signal: Signal, rulebook: Rulebook) -> dict[str, Any]:
    says = next((p.says for p in rulebook.signals if p.id.partition("#")[0] == signal.name), None)
    return {"signal": signal.name, "says": says, "device": signal.pci, "fields": dict(signal.fields)}


def _entry(signal: Signal, rulebook: Rulebook) -> dict[str, Any]:
    code = int(signal.fields["xid"])
    entry = rulebook.xids.get(code)
    known = {"mnemonic": None, "meaning": None, "bucket": None, "group": None} if entry is None else entry._asdict()
    return {"code": code, "known": entry is not None, **known, "rules": _rules(signal, rulebook)}


def _rules(signal: Signal, rulebook: Rulebook) -> list[dict[str, str]]:
    from triage.clauses import selected
    from triage.timeline import Timeline

    alone = Timeline((signal,), {signal.name: (signal,)}, {}, ())
    return [
        {"id": rule.id, "title": rule.title, "severity": rule.severity}
        for rule in rulebook.rules
        if any(isinstance(clause, Seen) and selected(clause.select, alone) for clause in rule.trigger.any)
    ]


def _text(found: dict[str, Any], args: Any) -> str:
    from triage.render.layout import fill

    drawn = look(args)
    lines: list[str] = []
    for line in found["lines"]:
        device = f"on {line['device']}" if line["device"] else ""
        lines += fill(drawn, [("strong", line["signal"]), ("", device)] if device else [("strong", line["signal"])])
        lines += fill(drawn, [("", line["says"])], "  ") if line["says"] else []
        fields = ", ".join(f"{name} {value}" for name, value in line["fields"].items())
        lines += fill(drawn, [("faint", fields)], "  ") if fields else []
    for xid in found["xids"]:
        lines += [""] * bool(lines) + _xid_lines(xid, drawn)
    if not lines:
        lines = ["No pattern of the rulebook knows this line."]
    return "\n".join(lines) + "\n"


def _xid_lines(xid: dict[str, Any], drawn: Any) -> list[str]:
    from triage.render.layout import fill

    if not xid["known"]:
        lines = fill(
            drawn, [("strong", f"Xid {xid['code']}"), ("", "is not in the catalogue: nothing public is known.")]
        )
    else:
        lines = fill(drawn, [("strong", f"Xid {xid['code']}"), ("", xid["mnemonic"])])
        lines += fill(drawn, [("", xid["meaning"])], "  ")
        lines += fill(
            drawn, [("", f"NVIDIA's bucket: {xid['bucket'] or 'none'}; group: {xid['group'] or 'none'}")], "  "
        )
    for rule in xid["rules"]:
        said = [("", "rule"), ("strong", rule["id"]), (rule["severity"], f"({rule['severity']})"), ("", rule["title"])]
        lines += fill(drawn, said, "  ", "    ")
    return lines + ([] if xid["rules"] else ["  No rule is triggered by it."])
