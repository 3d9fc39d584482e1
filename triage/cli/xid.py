"""`gpu-triage xid`: what a code or a pasted log line means."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser, add_output, add_rules, look, overlays
from triage.cli.reports import load_rulebook
from triage.rulebook.model import Rulebook

MOST_PASTED = 1 << 20
"""Bytes taken from standard input; whoever has more has a log for `explain`."""
LONGEST_CODE = 6
"""Digits that are taken for a code; the largest known code of any kind has five."""

_CODE = re.compile(
    rf"(?P<switch>s)?(?:xid[\s:#-]*)?(?P<code>0x[0-9a-f]{{1,5}}|[0-9]{{1,{LONGEST_CODE}}})", re.IGNORECASE | re.ASCII
)
_NUMBER = re.compile(r"[-+]?(?:0x)?[0-9a-f.]*[0-9][0-9a-f.]*", re.IGNORECASE | re.ASCII)
_DCGM = re.compile(
    r"(?:DCGM_FR_)?(?P<name>[A-Z][A-Z0-9_]{3,60})|dcgm[\s:#-]*(?P<code>[0-9]{1,4})", re.IGNORECASE | re.ASCII
)
_INIT = re.compile(r"\(?0x[0-9a-f]{1,8}:0x[0-9a-f]{1,8}(?::[0-9]{1,6})?\)?", re.IGNORECASE | re.ASCII)


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "xid",
        "Say what a code means, or everything that pasted log lines say; offline, and where public sources disagree.",
        """
gpu-triage xid 79
gpu-triage xid --sxid 20034
gpu-triage xid DCGM_FR_FAULTY_MEMORY
gpu-triage xid dcgm 52
gpu-triage xid 0x62:0x40:2168
gpu-triage xid 'NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.'
gpu-triage xid - < a-few-lines.txt
""",
        "0 done, whether or not it is known   2 bad arguments or rulebook",
    )
    parsed.add_argument(
        "what", nargs="*", metavar="CODE|LINE", help="codes, a line of a log, or - for lines from standard input"
    )
    parsed.add_argument(
        "--sxid", action="append", default=[], metavar="CODE", help="an NVSwitch error number; repeatable"
    )
    parsed.add_argument(
        "--driver", metavar="VERSION", help="the driver that wrote the line (575.57.08), where the line's form needs it"
    )
    add_output(parsed, ("text", "json"))
    add_rules(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Look it up and print it."""
    args = parser().parse_args(words)
    if not args.what and not args.sxid:
        raise Refused("nothing to explain: give a code, a line, or - for standard input (see `gpu-triage xid --help`)")
    rulebook = load_rulebook(args.rules, overlays(args))
    told = _told(args, rulebook)
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(told))
    else:
        from triage.render.xid import render

        output.write(render(told, look(args)))
    return DONE


def _told(args: Any, rulebook: Rulebook) -> dict[str, Any]:
    from triage import decode
    from triage.catalog_entry import told

    asked = " ".join(args.what).strip()
    sxids = [_switch_code(word) for word in args.sxid]
    notices: list[str] = []
    if not asked and args.what:
        raise Refused("nothing to explain: the argument is empty (see `gpu-triage xid --help`)")
    if not asked:
        return told(rulebook, sxids=sxids)
    findings = _dcgm(asked)
    if findings:
        return told(rulebook, dcgm=findings, sxids=sxids)
    words = [word for word in re.split(r"[\s,;]+", asked) if word and word.lower() not in ("xid", "xids", "and")]
    codes = [_CODE.fullmatch(asked)] if _CODE.fullmatch(asked) else [_CODE.fullmatch(word) for word in words]
    if not all(codes) and all(_NUMBER.fullmatch(word) for word in words):
        wrong = next(word for word, code in zip(words, codes, strict=True) if code is None)
        raise Refused(f"'{wrong[:40]}' is no Xid: a whole number of at most {LONGEST_CODE} digits, or a line of a log")
    if all(codes):
        xids = _sorted_out([match for match in codes if match], sxids, notices, rulebook)
        return told(rulebook, xids=xids, sxids=sxids, notices=notices)
    if _INIT.fullmatch(asked):
        failure = decode.init_failure(f"({asked.strip('()')})")
        return told(rulebook, init=[failure] if failure else [], sxids=sxids)
    return _of_lines(asked, args.driver, rulebook, sxids)


def _dcgm(asked: str) -> list[int]:
    """Return the number of a finding of DCGM, given by its name or by `dcgm` and its number; none if it is neither."""
    match = _DCGM.fullmatch(asked)
    if match is None:
        return []
    if match["code"]:
        return [int(match["code"])]
    from triage import catalog

    full = f"DCGM_FR_{match['name'].upper()}"
    found = [code for code, entry in catalog.dcgm_errors().items() if entry.name == full]
    if not found and asked.upper().startswith("DCGM_FR_"):
        import difflib

        known = [entry.name for entry in catalog.dcgm_errors().values()]
        near = difflib.get_close_matches(full, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Refused(f"'{asked[:70]}' is no error of DCGM's that is known{hint}")
    return found


def _switch_code(word: str) -> int:
    match = _CODE.fullmatch(word.strip())
    if match is None:
        raise Refused(f"argument --sxid: '{word}' is not a number of at most {LONGEST_CODE} digits")
    return _value(match)


def _value(match: re.Match[str]) -> int:
    code = match["code"]
    return int(code, 16 if code[:2] in ("0x", "0X") else 10)


def _sorted_out(codes: Sequence[re.Match[str]], sxids: list[int], notices: list[str], rulebook: Rulebook) -> list[int]:
    """Return the codes that are meant as Xids; those that can only be NVSwitch errors are added to `sxids`."""
    from triage import catalog
    from triage.catalog_entry import LARGEST_XID

    xids = []
    for match in codes:
        code = _value(match)
        if match["switch"]:
            sxids.append(code)
        elif code not in rulebook.xids and code in catalog.sxids():
            sxids.append(code)
            notices.append(f"{code} is no known Xid but a known SXid, an error of an NVSwitch; it is told as that.")
        else:
            xids.append(code)
            if not 0 < code <= LARGEST_XID:
                notices.append(f"No driver prints an Xid {code}: they go from 1 to a few hundred.")
    return xids


def _of_lines(asked: str, version: str | None, rulebook: Rulebook, sxids: list[int]) -> dict[str, Any]:
    from io import BytesIO

    from triage.assess import assess
    from triage.catalog_entry import told
    from triage.intake import Intake
    from triage.scanner import Scanner

    if asked == "-":
        if sys.stdin is None:
            raise Refused("standard input is closed, and - means to read it")
        pasted = sys.stdin.buffer.read(MOST_PASTED + 1)
    else:
        pasted = asked.encode("utf-8", "surrogateescape")
    notices = []
    if len(pasted) > MOST_PASTED:
        pasted = pasted[:MOST_PASTED].rpartition(b"\n")[0]
        notices.append("Only the first MiB was read; `gpu-triage explain` reads logs of any size.")
    now = time.time()
    records = list(Intake(["-"], now=now, tz_offset=0.0, stdin=BytesIO(pasted + b"\n")))
    lines = list(Scanner(rulebook).scan(records))
    if not lines:
        notices.append("No pattern of the rulebook knows this line.")
    versions = [s.fields["fact_driver_version"] for s in lines if "fact_driver_version" in s.fields]
    found = assess(rulebook, records, (), (), node=None, now=now)
    return told(
        rulebook,
        lines=lines,
        found=found,
        sxids=sxids,
        notices=notices,
        version=version or (versions[0] if versions else None),
    )
