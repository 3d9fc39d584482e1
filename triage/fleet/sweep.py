"""One sweep: what became of the question to each node, and the folder in which it is kept.

    sweep.json       which nodes were asked, when and how, and what became of it
    NODE.tar.gz      what a node said: a capture, under the name by which the node was asked

A capture appears under its name only when it is whole.  `sweep.json` is there
from the beginning, so that a sweep that was killed names what it did not ask.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probes.carry import BEGIN, END, FAILED
from probes.named import NamedTuple
from triage import __version__
from triage.fleet import model
from triage.fleet.model import Answer, Json
from triage.fleet.ways import MOST_OUTPUT, NODE_NAME, Raw, meaning
from triage.fleet.whose import SWEEP
from triage.render.safe import cut, safe
from triage.report import TOOL

SCHEMA_VERSION = 1
FILE = SWEEP
SUFFIX = ".tar.gz"
MOST_MANIFEST = 64 << 20
SHOWN = 120
"""Characters of what a node says that are shown."""


class Outcome(NamedTuple):
    """What became of the question to one node.

    `state` is one of `triage.fleet.model.STATES`, `reason` one line for all but
    `answered`, `took` seconds, `capture` what it said, if that is one.
    """

    node: str
    state: str
    reason: str | None = None
    took: float = 0.0
    capture: bytes | None = None


class Kept(NamedTuple):
    """A sweep as its folder tells it: the captures by node, and the nodes that gave none."""

    captures: dict[str, str]
    silent: list[Answer]
    complete: bool
    manifest: Json


def judge(node: str, raw: Raw, deadline: float) -> Outcome:
    """Say what became of the question to a node, whatever it sent."""
    try:
        state, reason, capture = _judged(raw, deadline)
    except Exception as error:  # a mistake of ours keeps no other node from being heard
        what = safe(" ".join(str(error).split()))[:200]
        return Outcome(
            node, model.FAILED, f"internal error, {type(error).__name__}: {what}; please report it", raw.took
        )
    return Outcome(node, state, reason, raw.took, capture)


def _judged(raw: Raw, deadline: float) -> tuple[str, str | None, bytes | None]:
    if raw.too_much:
        return model.TOO_MUCH, f"it sent more than {MOST_OUTPUT >> 20} MiB and was cut off", None
    framed = _framed(raw.output)
    if framed is not None:
        try:
            capture = base64.b64decode(b"".join(framed.split()), validate=True)
        except (binascii.Error, ValueError):
            return model.GARBAGE, "what it sent is no base64", None
        broken = unsound(capture)
        return (model.ANSWERED, None, capture) if broken is None else (model.GARBAGE, broken, None)
    failed = _failed(raw.output)
    if failed is not None:
        return failed[0], failed[1], None
    if raw.timed_out or raw.status == 124:  # that of `timeout`
        heard = f"; it had sent {len(raw.output):,} bytes" if raw.output else ""
        return model.TIMED_OUT, f"no answer within {deadline:g} seconds{heard}", None
    known = None if raw.status == 0 else meaning(raw.errors)
    if known is not None:
        return known[0], known[1], None
    said = _shown(raw.errors) or _shown(raw.output)
    if raw.status is None:
        return model.UNREACHABLE, "it gave no answer and did not end", None
    if raw.status:
        return model.FAILED, f"exit {raw.status}: {said or 'it said nothing'}", None
    return model.GARBAGE, f"it sent no capture, but: {said}" if said else "it sent nothing", None


def _framed(output: bytes) -> bytes | None:
    """What stands between the marks, each on a line of its own."""
    text = b"\n" + output + b"\n"
    begin = text.find(b"\n" + BEGIN.encode() + b"\n")
    end = text.rfind(b"\n" + END.encode() + b"\n")
    return text[begin + len(BEGIN) + 2 : end] if 0 <= begin < end else None


def _failed(output: bytes) -> tuple[str, str] | None:
    mark = FAILED.encode() + b" "
    line = next((line for line in output[-4096:].split(b"\n") if line.startswith(mark)), None)
    if line is None:
        return None
    word, _, rest = line[len(mark) :].decode("utf-8", "replace").partition(" ")
    if word == "no-python":
        return model.NO_PYTHON, "no such Python on it; install Python 3.9 or newer, or name one: --python"
    if word == "old-python":
        return model.NO_PYTHON, f"its Python is {_shown(rest.encode())}, and 3.9 is needed; name another: --python"
    return model.FAILED, _shown(line)


def _shown(said: bytes) -> str:
    """The last line of what a node says, cleaned and cut."""
    lines = [line for line in said[-4096:].decode("utf-8", "replace").splitlines() if line.strip()]
    return cut(safe(lines[-1].strip()), SHOWN)[0] if lines else ""


def unsound(capture: bytes) -> str | None:
    """Return why these bytes are no whole capture, or None if they are one."""
    from probes.captured import MANIFEST
    from triage import archive
    from triage.streams import Damaged, blocks

    file = io.BytesIO(capture)
    try:
        first = True
        for member in archive.Reader(blocks(file), file.tell):
            if first and member.name != MANIFEST:
                return "what it sent is no capture"
            first = False
    except archive.Unsound as error:
        return f"its capture is not sound: {error}"
    except (Damaged, OSError) as error:
        return f"its capture is damaged: {safe(str(error))}"
    return None


class Folder:
    """The folder of a sweep, while it goes on."""

    def __init__(self, path: Path, asked: Sequence[str], said: Json) -> None:
        """Make the folder, which must be new or empty, and say in it who is asked; `said` goes into the manifest.

        Raises:
            FileExistsError: if something stands in it.
            OSError: if it cannot be made.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise FileExistsError(str(path))
        self.path = path
        self.outcomes: dict[str, Outcome] = {}
        self._asked = list(asked)
        self._said = said
        self._write(complete=False, ended_at=None)

    def add(self, outcome: Outcome) -> None:
        """Keep what came of one node.  What cannot be written to the disk is that node's failure."""
        if outcome.capture is not None:
            try:
                _replace(self.path / f"{outcome.node}{SUFFIX}", outcome.capture)
            except OSError as error:
                why = f"its answer could not be written: {error.strerror or error}"
                outcome = Outcome(outcome.node, model.FAILED, why, outcome.took)
        self.outcomes[outcome.node] = outcome._replace(capture=None)

    def unmake(self) -> None:
        """Leave nothing of a sweep that could not begin."""
        with contextlib.suppress(OSError):
            (self.path / FILE).unlink()
            self.path.rmdir()

    def end(self, at: float, *, complete: bool) -> None:
        """Say what became of every node; those that were not asked are `skipped`.

        Raises:
            OSError: if it cannot be written.
        """
        for node in self._asked:
            self.outcomes.setdefault(node, Outcome(node, model.SKIPPED, "interrupted before it answered"))
        self._write(complete=complete, ended_at=at)

    def _write(self, *, complete: bool, ended_at: float | None) -> None:
        told: Json = {
            "schema_version": SCHEMA_VERSION,
            "kind": "sweep",
            "tool": {"name": TOOL, "version": __version__},
            **self._said,
            "ended_at": ended_at,
            "complete": complete,
            "asked": self._asked,
            "nodes": [
                {"node": each.node, "state": each.state, "reason": each.reason, "took": round(each.took, 3)}
                for each in (self.outcomes[node] for node in self._asked if node in self.outcomes)
            ],
        }
        _replace(self.path / FILE, (json.dumps(told, indent=1) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def manifest(folder: Path) -> Json | None:
    """Return what the folder of a sweep says of it, None if it is no such folder.

    Raises:
        ValueError: if its manifest is not one; the text says what to do.
    """
    try:
        with (folder / FILE).open("rb") as file:
            told = json.loads(file.read(MOST_MANIFEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder / FILE}: {error}; remove it to read the captures beside it as they are") from None
    if not isinstance(told, dict) or told.get("kind") != "sweep" or told.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{folder / FILE}: not a sweep's, or of another version; remove it to read the captures")
    return told


def kept(folder: Path) -> Kept | None:
    """Return what the folder of a sweep holds, None if it is no such folder.

    Raises:
        ValueError: if its manifest is not one; the text says what to do.
    """
    told = manifest(folder)
    if told is None:
        return None
    said = {each["node"]: each for each in entries(told.get("nodes"))}
    captures, silent = {}, []
    for node in told.get("asked") or ():
        if not isinstance(node, str) or not NODE_NAME.match(node):
            continue
        file_name = folder / f"{node}{SUFFIX}"
        if file_name.is_file():
            captures[node] = str(file_name)
            continue
        each: dict[str, Any] = said.get(node, {})
        state = each.get("state")
        reason = each.get("reason")
        silent.append(
            Answer(
                node,
                state if state in model.STATES and state != model.ANSWERED else model.SKIPPED,
                safe(reason)[:400] if isinstance(reason, str) else "the sweep ended before it answered",
            )
        )
    return Kept(captures, silent, told.get("complete") is True, told)


def key_of(manifest: Json) -> str:
    """Return what names a sweep everywhere: its own name, else what its folder has said of it from the beginning."""
    own = manifest.get("id")
    if isinstance(own, str) and re.fullmatch(r"[0-9a-f]{32}", own):
        return own
    said = [manifest.get(name) for name in ("began_at", "via", "deadline", "set", "asked")]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def entries(nodes: object) -> Iterable[dict[str, Any]]:
    """Return what a manifest says of each node, but for what is no such entry."""
    return [each for each in nodes if isinstance(each, dict) and "node" in each] if isinstance(nodes, list) else []
