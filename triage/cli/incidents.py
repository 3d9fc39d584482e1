"""`gpu-triage incidents`: what this node remembers of its incidents, and what a person says of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from probes.moment import Moment, moment
from triage.cli import output
from triage.cli.exits import DONE, UNREACHABLE, Refused
from triage.cli.options import Parser, add_history, add_now, add_output, look, state_directory
from triage.render.layout import Look, Span, fill
from triage.report import iso
from triage.report import text as clean

Json = dict[str, Any]

_DURATION = re.compile(r"([0-9]{1,6})(m|h|d|w)")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "incidents",
        "List, show, acknowledge, dispute and resolve the incidents that the sweeps of this node have seen. FP is a\n"
        "fingerprint, or a part of it that only one has. An acknowledged incident is still shown, but does not\n"
        "count for the status of `check`, until it gets worse, is over, or --until has come.",
        """
gpu-triage incidents list
gpu-triage incidents show gpu-off-bus
gpu-triage incidents ack gpu-off-bus --reason 'ticket 4711, board ordered' --until 7d
gpu-triage incidents dispute gpu-off-bus --was driver.module --reason 'gone with the new driver'
gpu-triage incidents resolve gpu-off-bus --reason 'riser reseated'
gpu-triage incidents resolve --replaced-serial 1650123004410=1650123009123
""",
        "0 done   2 bad arguments, or no such incident   3 the history cannot be read or written",
    )
    parsed.add_argument(
        "what",
        nargs="?",
        default="list",
        choices=("list", "show", "ack", "dispute", "resolve"),
        help="what to do (default: list)",
    )
    parsed.add_argument("fingerprint", nargs="?", metavar="FP", help="which incident")
    parsed.add_argument("--all", action="store_true", help="list those that are over too")
    parsed.add_argument("--reason", type=_words, metavar="TEXT", help="why it is acknowledged, wrong or over")
    parsed.add_argument("--was", type=_cause, metavar="CAUSE", help="what it was instead of a disputed verdict")
    parsed.add_argument("--until", metavar="TIME", help="when the acknowledgement ends: 2026-09-01, 12h, 7d")
    parsed.add_argument(
        "--replaced-serial", type=_serials, metavar="OLD=NEW", help="the board was replaced by one of another serial"
    )
    add_output(parsed, ("text", "json"))
    add_history(parsed, optional=False)
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Open the history and do what was asked."""
    from triage.history.people import NotOne
    from triage.history.place import Unavailable
    from triage.history.store import open_store

    args = parser().parse_args(words)
    do = _checked(args)
    directory = state_directory(args)
    assert directory is not None
    now = moment(at=args.now)
    try:
        with open_store(directory, now=now.at, patience=5.0, create=False) as store:
            for notice in store.notices:
                output.tell(notice)
            told = do(store, args, now)
    except Unavailable as error:
        raise Refused(str(error), UNREACHABLE) from error
    except NotOne as error:
        raise Refused(str(error)) from error
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json({"schema_version": 1, "generated_at": iso(now.at), **told}))
    else:
        output.write(_text(told, look(args)))
    return DONE


def _checked(args: Any) -> Callable[[Any, Any, Moment], Json]:
    """Return what is to be done, if the options fit it."""
    what, named = args.what, args.fingerprint is not None
    if what == "list" and named:
        raise Refused("`incidents list` takes no fingerprint; did you mean `incidents show`?")
    if what in ("show", "ack", "dispute") and not named:
        raise Refused(f"which incident? gpu-triage incidents {what} FP (see `gpu-triage incidents list`)")
    if what in ("ack", "dispute") and not args.reason:
        raise Refused(f"say why: gpu-triage incidents {what} FP --reason TEXT")
    if what == "resolve" and bool(args.reason) == bool(args.replaced_serial):
        raise Refused("say why, in one way: --reason TEXT, or --replaced-serial OLD=NEW")
    if what == "resolve" and not named and not args.replaced_serial:
        raise Refused("which incident? gpu-triage incidents resolve FP --reason TEXT")
    unused = {"all": "list", "until": "ack", "was": "dispute", "replaced_serial": "resolve"}
    for option, owner in unused.items():
        if getattr(args, option) and what != owner:
            raise Refused(f"--{option.replace('_', '-')} belongs to `incidents {owner}`")
    if args.reason and what in ("list", "show"):
        raise Refused("--reason belongs to `incidents ack`, `dispute` and `resolve`")
    return {"list": _list, "show": _show, "ack": _acknowledge, "dispute": _dispute, "resolve": _resolve}[what]


def _list(store: Any, args: Any, now: Moment) -> Json:
    from triage.history.people import listed

    return {"kind": "incidents", "incidents": listed(store, now, args.all)}


def _show(store: Any, args: Any, now: Moment) -> Json:
    import json

    from triage.history.life import told
    from triage.history.people import find, story
    from triage.history.store import said

    with said():
        row = find(store.db, args.fingerprint)
    events = [{"at": iso(e.at), "kind": e.kind, "subject": e.subject, "says": e.says} for e in story(store, row)]
    return {"kind": "incident", "incident": told(row, json.loads(row.body), now, None), "events": events}


def _acknowledge(store: Any, args: Any, now: Moment) -> Json:
    from triage.history.people import acknowledge

    until = None if args.until is None else _until(args.until, now.at)
    row = acknowledge(store, args.fingerprint, now, args.reason, until)
    return _done([row], "acknowledged", now)


def _dispute(store: Any, args: Any, now: Moment) -> Json:
    import json

    from triage.history.people import dispute, find
    from triage.history.store import said

    with said():
        row = find(store.db, args.fingerprint)
    dispute(store, json.loads(row.body), now, args.reason, args.was)
    return _done([row], "disputed", now)


def _resolve(store: Any, args: Any, now: Moment) -> Json:
    from triage.history.people import replaced, resolve, sitting

    if args.replaced_serial is None:
        return _done([resolve(store, args.fingerprint, now, args.reason)], "resolved", now)
    old, new = args.replaced_serial
    rows = replaced(store, old, new, now, args.fingerprint)
    for pci in sorted({row.pci for row in rows if row.pci}):
        serial = sitting(store, pci)
        if serial not in (None, new):
            output.tell(f"the last sweep saw serial {serial} at {pci}, not {new}; `gpu-triage check` looks again")
    return _done(rows, "resolved", now)


def _done(rows: Sequence[Any], what: str, now: Moment) -> Json:
    import json

    from triage.history.life import told

    return {
        "kind": "incidents",
        "done": what,
        "incidents": [told(row, json.loads(row.body), now, None) for row in rows],
    }


def _text(told: Json, drawn: Look) -> str:
    if told["kind"] == "incident":
        return "\n".join([*_lines(told["incident"], drawn), *_story(told, drawn)]) + "\n"
    if "done" in told:
        return "".join(f"{told['done']}: {_safe(i['fingerprint'], drawn)}\n" for i in told["incidents"])
    if not told["incidents"]:
        return "no incident\n"
    return "\n".join(line for incident in told["incidents"] for line in _lines(incident, drawn)) + "\n"


def _safe(text: str, drawn: Look) -> str:
    from triage.render.safe import safe

    return safe(text, ascii_only=drawn.ascii_only)


def _lines(incident: Json, drawn: Look) -> list[str]:
    from triage.render.words import moment as spoken
    from triage.render.words import times, verdict_words

    severity, history = incident["severity"], incident["history"]
    head: list[Span] = [
        (severity, f"{severity.upper()}"),
        ("", incident["state"]),
        ("strong", incident["fingerprint"]),
    ]
    said = [f"since {spoken(incident['opened_at'])}", f"last {spoken(incident['last_seen_at'])}"]
    said.append(f"seen {times(incident['seen'])}")
    if history["reopened"]:
        said.append(f"back {times(history['reopened'])} since {spoken(history['first_opened_at'])}")
    lines = fill(drawn, head, hang="  ")
    lines += fill(drawn, [("", incident["summary"])], "  ")
    lines += fill(drawn, [("", verdict_words(incident["verdict"]))], "  ")
    lines += fill(drawn, [("faint", "; ".join(said))], "  ")
    acknowledged = history["acknowledged"]
    if acknowledged is not None and incident["state"] != "resolved":
        until = f", until {spoken(acknowledged['until'])}" if acknowledged["until"] else ""
        lines += fill(
            drawn, [("", f"acknowledged {spoken(acknowledged['at'])}{until}: {acknowledged['reason']}")], "  "
        )
    if history["resolved_at"] is not None:
        lines += fill(drawn, [("", f"over {spoken(history['resolved_at'])}: {history['resolved_why']}")], "  ")
    return lines


def _story(told: Json, drawn: Look) -> list[str]:
    from triage.render.words import moment as spoken

    events = told["events"]
    lines = [
        line
        for e in events
        for line in fill(drawn, [("", f"{spoken(e['at'])} {e['kind']}: {e['says']}")], "  ", "    ")
    ]
    return [*fill(drawn, [("strong", "HISTORY")]), *lines] if lines else []


def _words(text: str) -> str:
    import argparse

    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return clean(" ".join(text.split())) or ""


def _cause(text: str) -> str:
    """Return the name of a cause or of a family of them."""
    import argparse

    if not re.fullmatch(r"[a-z][a-z-]{0,40}(\.[a-z][a-z-]{0,40})?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no cause; write one like driver.module (see `rules list`)")
    return text


def _serials(text: str) -> tuple[str, str]:
    import argparse

    old, sign, new = (part.strip() for part in text.partition("="))
    if not (old and sign and new) or "=" in new or old == new:
        raise argparse.ArgumentTypeError(f"'{text}' is not OLD=NEW with two serial numbers")
    return old, new


def _until(text: str, now: float) -> float:
    """Return UTC epoch seconds for a time, a date or how long from now."""
    match = _DURATION.fullmatch(text)
    if match is not None:
        return now + int(match[1]) * _SECONDS[match[2]]
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise Refused(f"--until: '{text}' is no time; write 2026-09-01, 2026-09-01T08:00Z, 12h or 7d") from error
    at = (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)).timestamp()
    if at <= now:
        raise Refused(f"--until: {time.strftime('%Y-%m-%d %H:%M', time.gmtime(at))} UTC is past")
    return at
