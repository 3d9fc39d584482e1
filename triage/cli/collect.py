"""`gpu-triage collect`: all the evidence of this node in one archive.

The archive appears under its name only when it is whole, and replaces nothing
unless that is asked for.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from triage import __version__
from triage.capture import Capture
from triage.cli import output
from triage.cli.exits import DONE, PARTIAL, UNREACHABLE, Refused
from triage.cli.options import Parser, add_history, add_now, add_rules, deadline, overlays, state_directory
from triage.cli.reports import load_rulebook
from triage.rulebook.model import Rulebook

if TYPE_CHECKING:
    from triage.history.past import Past

PATIENCE = 2.0
"""Seconds for which a sweep that is being written to the history is waited for."""
FILES_SHARE = 0.1
"""Share of the deadline that copying small files may take, after the probes had theirs."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "collect",
        "Write what this node says about its GPUs into one archive, for `explain` and `tui` on another machine.\n"
        "It names hosts, users and serial numbers unless --redact replaces them. Reads only; needs no root, no driver.",
        """
gpu-triage collect
gpu-triage collect --redact -o /tmp/node.tar.gz
gpu-triage collect -o - | ssh desk 'gpu-triage explain -'
gpu-triage collect --redact-existing node.tar.gz
""",
        """
0 done                      2 bad arguments, or the file exists (--force replaces it)
3 nothing could be read     4 something could not be read or written (standard error says what)
""",
    )
    parsed.add_argument(
        "--redact", action="store_true", help="replace names, addresses and serial numbers by pseudonyms"
    )
    parsed.add_argument("--redact-existing", metavar="FILE", help="do that to an archive, instead of reading this node")
    parsed.add_argument("-o", "--output", metavar="PATH", help="file or folder to write to; -: standard output")
    parsed.add_argument("--force", action="store_true", help="replace the file if it is there")
    parsed.add_argument(
        "--deadline", type=deadline, default=30.0, metavar="SECONDS", help="read for at most this time (default: 30)"
    )
    add_rules(parsed)
    add_history(parsed)
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Probe, redact if asked, write, print where."""
    args = parser().parse_args(words)
    if args.output == "-" and output.is_terminal(sys.stdout):
        raise Refused("an archive is nothing to look at; write it to a file: -o PATH")
    rulebook = _rules(args)
    if args.redact_existing is not None:
        capture = existing(args.redact_existing)
    else:
        now = time.time() if args.now is None else args.now
        state = state_directory(args)
        capture = of_this_node(now, args.deadline, rulebook.digest if rulebook is not None else "unknown", state)
        if rulebook is not None and state is not None:
            capture = with_history(capture, rulebook, state)
    code = _told(capture)
    if args.redact or args.redact_existing is not None:
        from triage.redact import redact

        redacted = redact(capture)
        if rulebook is not None and not _same_verdict(rulebook, capture, redacted):
            output.tell("without its names this node's verdict is another; keep the archive that has them as well")
            code = PARTIAL
        capture = redacted
    if args.output == "-":
        _to_stdout(capture)
    else:
        output.write(f"{_to_file(capture, args.output, args.force)}\n")
    return code


def of_this_node(now: float, seconds: float, rulebook: str, state_dir: Path | None = None) -> Capture:
    """Probe this machine for at most `seconds` and return all that was seen.

    `state_dir` is asked for probes of earlier sweeps that still hang.
    """
    from probes.node import probe
    from probes.raw import copies, private_names

    children = None if state_dir is None else state_dir / "children"
    readings, records, sources = probe(seconds * (1 - FILES_SHARE), state_dir=children)
    devices = {reading.entity.pci for reading in readings if reading.entity.pci is not None}
    return Capture(
        taken_at=now,
        node=os.uname().nodename,
        tool_version=__version__,
        rulebook=rulebook,
        readings=readings,
        records=list(records),
        sources=sources,
        files=copies(devices, seconds * FILES_SHARE),
        private=private_names(),
    )


def with_history(capture: Capture, rulebook: Rulebook, state_dir: Path) -> Capture:
    """Decide once with the node's history, and keep what that was asked and answered.

    A history that is not there is not made, and this sweep is not written to one that is.
    """
    from probes.moment import moment
    from triage.assess import assess
    from triage.history.store import FILE
    from triage.history.sweep import begin
    from triage.recorded import Recording

    if not (state_dir / FILE).is_file():
        return capture
    with begin(state_dir, now=capture.taken_at, patience=PATIENCE) as memory:
        past, known = memory.past(memory.named(capture.readings), moment(at=capture.taken_at))
        if past is None:
            return capture._replace(notes=[*capture.notes, *memory.notices])
        kept = Recording(past)
        assess(
            rulebook,
            capture.records,
            known,
            capture.sources,
            node=capture.node,
            now=capture.taken_at,
            history=cast("Past", kept),
        )
    return capture._replace(readings=known, history=kept.answers)


def existing(path: str) -> Capture:
    """Read a capture whole.

    Raises:
        Refused: if it cannot be read or is none.
    """
    from triage.capture import Rest, begins_capture, read
    from triage.found import Found
    from triage.streams import Damaged, blocks

    found, keep = Found(path), Rest()
    try:
        with open(path, "rb") as file:
            parts = blocks(file)
            first = next(parts, b"")
            if not begins_capture(first):
                raise Refused(f"{path}: not an archive of `gpu-triage collect`; only such a one can be redacted")
            records = list(read(_with(first, parts), found, packed_size=file.tell, keep=keep))
    except (OSError, Damaged, ValueError) as error:
        raise Refused(f"cannot read {path}: {output.reason_of(error)}") from error
    broken = next((source.reason for source in found.sources if source.kind == "capture"), None)
    if broken is not None or found.taken_at is None:
        raise Refused(f"{path}: {broken or 'its manifest names no time'}", PARTIAL)
    return Capture(
        found.taken_at,
        found.node,
        keep.tool_version or "unknown",
        found.rulebook or "unknown",
        found.readings,
        records,
        found.sources,
        keep.files,
        keep.private,
        keep.redacted,
        keep.notes,
        found.history,
    )


def _with(first: bytes, rest: Any) -> Any:
    yield first
    yield from rest


def _rules(args: Any) -> Rulebook | None:
    """The rulebook, whose digest goes into the archive; evidence is collected even if it is broken."""
    try:
        return load_rulebook(args.rules, overlays(args))
    except Refused as refused:
        output.tell(f"the rules cannot be read, so the archive names none: {refused.message.partition(chr(10))[0]}")
        return None


def _told(capture: Capture) -> int:
    """Say what could not be read, and return the exit code that goes with it."""
    unread = [source for source in capture.sources if not source.readable]
    for source in unread:
        output.tell(f"{source.kind} could not be read: {source.reason}")
    if len(unread) == len(capture.sources):
        return UNREACHABLE
    return PARTIAL if unread else DONE


def _same_verdict(rulebook: Rulebook, one: Capture, other: Capture) -> bool:
    from triage.assess import assess
    from triage.recorded import Recorded
    from triage.redact import same_verdicts
    from triage.report import to_report

    def incidents(capture: Capture) -> Any:
        found = assess(
            rulebook,
            capture.records,
            capture.readings,
            capture.sources,
            node=capture.node,
            now=capture.taken_at,
            history=None if capture.history is None else cast("Past", Recorded(capture.history)),
        )
        return to_report(found, generated_at=0.0, tool_version="", causes=rulebook.causes)["incidents"]

    return same_verdicts(incidents(one), incidents(other))


def name_for(capture: Capture) -> str:
    """Return the usual name of the archive; one without names of the site does not name the node either."""
    node = "" if capture.node is None else "".join(c if c.isalnum() or c in "-_." else "_" for c in capture.node[:64])
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(capture.taken_at))
    return f"gpu-triage-{node.lstrip('.') or 'node'}-{stamp}.tar.gz"


def _to_stdout(capture: Capture) -> None:
    from triage.capture import write

    if sys.stdout is None:
        output.write("")  # refuses
    try:
        write(capture, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        output.write("")  # discards what is left, quietly
    except OSError as error:
        raise Refused(f"cannot write to standard output: {output.reason_of(error)}", PARTIAL) from error


def _to_file(capture: Capture, wanted: str | None, force: bool) -> str:
    """Write under a name nobody uses, then give it the right one."""
    path = wanted or name_for(capture)
    if os.path.isdir(path):
        path = os.path.join(path, name_for(capture))
    if not force and os.path.lexists(path):
        raise Refused(f"{path} exists; name another file or use --force")
    with contextlib.suppress(OSError):
        if stat.S_ISCHR(os.stat(path).st_mode) or stat.S_ISFIFO(os.stat(path).st_mode):
            raise Refused(f"{path} is no file; use -o - and a pipe")
    scratch = f"{path}.{os.getpid()}.part"
    try:
        opened = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(output.unwritten(path, error), PARTIAL) from error
    try:
        with open(opened, "wb") as file:
            _fill(capture, file)
        _name(scratch, path, force)
    except FileExistsError:
        raise Refused(f"{path} exists; name another file or use --force") from None
    except OSError as error:
        raise Refused(output.unwritten(path, error), PARTIAL) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
    return path


def _fill(capture: Capture, file: BinaryIO) -> None:
    from triage.capture import write

    write(capture, file)
    file.flush()
    os.fsync(file.fileno())


def _name(scratch: str, path: str, force: bool) -> None:
    if force:
        os.replace(scratch, path)
        return
    try:
        os.link(scratch, path)  # unlike a rename, this replaces nothing
    except (PermissionError, NotImplementedError, OSError) as error:
        if isinstance(error, FileExistsError) or os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(scratch, path)  # a file system without links
