"""Manual pages, one for each verb, made from what `--help` prints: nothing is written down twice."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout

from probes.named import NamedTuple
from triage import __version__
from triage.cli import dispatch
from triage.cli.completion import sub_verbs

WIDTH = "88"
"""Columns of the help that pages are made from."""
_HEADING = re.compile(
    r"(?P<title>examples|verbs|positional arguments|options|exit codes):|(?P<usage>usage): (?P<rest>.*)"
)
_ENTRY = re.compile(r" {2}(?P<name>\S.*?)(?: {2,}(?P<says>\S.*))?")
_TITLES = {"usage": "SYNOPSIS", "positional arguments": "ARGUMENTS", "exit codes": "EXIT STATUS"}
_LISTS = ("ARGUMENTS", "OPTIONS", "VERBS")
_ROFF = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})


class Command(NamedTuple):
    """A verb or sub-verb: the words that call it, none for the program itself, and what it does in one line."""

    words: tuple[str, ...]
    says: str

    @property
    def name(self) -> str:
        """Its page: `gpu-triage-fleet-sweep`."""
        return "-".join(("gpu-triage", *self.words))


def commands() -> Iterator[Command]:
    """Yield the program, its verbs and their sub-verbs, as the help lists them."""
    yield Command((), "is it the hardware, or is it the driver?")
    subs = sub_verbs()
    for verb in dispatch.VERBS:
        yield Command((verb.name,), verb.says)
        for name, says in subs.get(verb.name, {}).items():
            yield Command((verb.name, name), says)


def help_of(command: Command) -> str:
    """Return what `--help` of a command prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with redirect_stdout(io.StringIO()) as printed:
            dispatch.main([*command.words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return printed.getvalue()


def sections(text: str) -> dict[str, list[str]]:
    """Return the lines of a help text by section, under the titles that manuals give them."""
    found: dict[str, list[str]] = {}
    title = "DESCRIPTION"
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            head = heading["title"] or heading["usage"]
            title = _TITLES.get(head, head.upper())
            found.setdefault(title, []).extend([heading["rest"]] if heading["rest"] else [])
        elif line or title not in ("SYNOPSIS", "VERBS"):
            found.setdefault(title, []).append(line)
        else:  # what follows them has no heading of its own
            title = "DESCRIPTION"
    return found


def page(command: Command) -> str:
    """Return the manual page of a command, for man(1)."""
    found = sections(help_of(command))
    lines = [f'.TH {command.name.upper()} 1 "" "gpu-triage {__version__}" "gpu-triage"', ".SH NAME"]
    lines += [f"{_roff(command.name)} \\- {_roff(command.says)}", ".SH SYNOPSIS"]
    lines.append(_roff(" ".join(" ".join(found.pop("SYNOPSIS", ["gpu-triage VERB ..."])).split())))
    for title in sorted(found, key=lambda title: title != "DESCRIPTION"):
        if any(found[title]):
            shaped = _prose if title == "DESCRIPTION" else _entries if title in _LISTS else _as_it_is
            lines += [f".SH {title}", *shaped(found[title])]
    near = [other.name for other in commands() if other != command and _is_near(command.words, other.words)]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {_roff(name)} (1)" for name in near).replace(",\n", " ,\n")]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return all pages by the names of their files."""
    return {f"{command.name}.1": page(command) for command in commands()}


def _is_near(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether one is called by the other's words and a single one more, or the other way."""
    return abs(len(one) - len(other)) == 1 and one[: len(other)] == other[: len(one)]


def _prose(lines: list[str]) -> Iterator[str]:
    for line in "\n".join(lines).strip("\n").splitlines():
        yield _roff(line) or ".PP"


def _entries(lines: list[str]) -> Iterator[str]:
    for line in lines:
        entry = _ENTRY.fullmatch(line) if line[:3].strip() else None
        if entry is not None:
            yield from (".TP", f"\\fB{_roff(entry['name'])}\\fR")
            yield from (_roff(entry["says"]),) if entry["says"] else ()
        elif line.strip():
            yield _roff(line.strip())


def _as_it_is(lines: list[str]) -> Iterator[str]:
    yield ".nf"
    yield from (_roff(line) for line in "\n".join(lines).strip("\n").splitlines())
    yield ".fi"


def _roff(text: str) -> str:
    """Return text that roff prints as it is."""
    escaped = text.translate(_ROFF)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
