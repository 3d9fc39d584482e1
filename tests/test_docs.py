"""The documentation builds without a warning, and its commands and outputs are those of the program.

A `console` block holds commands as they are typed: each must be one that the
program takes.  Where its lines begin with `$ ` it shows outputs too, and those
are the real ones; a line `...` stands for any number of lines.  A comment
`<!-- in examples -->` before a block names the folder that it is typed in.
`UPDATE_GOLDEN=1` writes the outputs anew, as far as they were shown.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from triage.cli import dispatch, options

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
    if "reference" not in path.parts
)
BLOCK = re.compile(r"(?:<!-- in (?P<folder>\S+) -->\n)?```console\n(?P<text>.*?)```\n", re.DOTALL)
CALLS = re.compile(r"(?:^|[|;(] ?)(?P<words>gpu-triage(?: [^|;#()<>]+)?)")
ANY = "..."


class Block(NamedTuple):
    """One console block: its page, where it is typed, and its text."""

    page: Path
    folder: str
    text: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield Block(page, found["folder"] or ".", found["text"])


def named(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}: {block.text.splitlines()[0]}"


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each call of the program in a block, and where it stands."""
    for block in blocks():
        typed = block.text.splitlines()
        if any(line.startswith("$ ") for line in typed):
            typed = [line[2:] for line in typed if line.startswith("$ ")]
        for line in typed:
            for call in CALLS.finditer(line.partition("   #")[0].partition(" # ")[0]):
                yield f"{block.page.relative_to(ROOT)}: {line}", shlex.split(call["words"])[1:]


class Taken(BaseException):
    """A parser took the words; nothing is done with them."""


CALLED = list(commands())


@pytest.mark.parametrize(("where", "words"), CALLED, ids=[where for where, _ in CALLED])
def test_the_program_takes_every_command_that_is_shown(
    where: str, words: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parse = options.Parser.parse_args

    def taken(self: options.Parser, asked: Sequence[str], namespace: Any = None) -> Any:
        parse(self, asked, namespace)
        raise Taken

    monkeypatch.setattr(options.Parser, "parse_args", taken)
    try:
        code = dispatch.main(words or ["tui"])
    except Taken:
        return
    # overviews have no parser
    assert ("--help" in words or words == ["--version"], 0) == (True, code), capsys.readouterr().err


def outputs() -> list[Block]:
    return [block for block in blocks() if block.text.startswith("$ ")]


def printed(command: str, folder: str) -> list[str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    program = f"{shlex.quote(sys.executable)} -m triage"
    ran = subprocess.run(
        ["bash", "-c", command.replace("gpu-triage", program)],
        cwd=ROOT / folder, env={**plain, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "" == ran.stderr
    return [line.rstrip() for line in ran.stdout.splitlines()]


def fits(shown: Sequence[str], real: Sequence[str]) -> bool:
    """Return whether the real lines are those that are shown, where `...` is any number of them."""
    pattern = "".join(r"(?:.*\n)*?" if line == ANY else re.escape(line.rstrip()) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in real)) is not None


@pytest.mark.parametrize("block", outputs(), ids=named)
def test_what_a_page_shows_is_what_the_program_prints(block: Block) -> None:
    command, *shown = block.text.splitlines()
    real = printed(command.removeprefix("$ "), block.folder)

    if os.environ.get("UPDATE_GOLDEN") and not fits(shown, real):
        kept = real if ANY not in shown else [*real[: shown.index(ANY)], ANY]
        page = block.page.read_text(encoding="utf-8")
        block.page.write_text(page.replace(block.text, "\n".join([command, *kept]) + "\n"), encoding="utf-8")
        shown = kept
    assert fits(shown, real), "\n".join(real)


def test_dots_stand_for_lines_and_for_nothing_else() -> None:
    assert fits(["a", "...", "d"], ["a", "b", "c", "d"])
    assert fits(["a", "..."], ["a"])
    assert not fits(["a", "..."], ["b", "a"])
    assert not fits(["a.c"], ["abc"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="what builds the documentation needs Python 3.11")
def test_the_site_builds_without_a_warning_and_holds_what_the_program_says_of_itself(tmp_path: Path) -> None:
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees"), "docs", str(tmp_path / "site")]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )

    assert (0, "") == (built.returncode, built.stderr)
    site = tmp_path / "site"
    assert "gpu-off-bus" in (site / "reference" / "rules.html").read_text(encoding="utf-8")
    assert 'id="xid-185"' in (site / "reference" / "xids.html").read_text(encoding="utf-8")
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page


def test_every_metric_is_described() -> None:
    """The table of docs/watch.md, and the metrics of a real report."""
    told = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    names = re.findall(r"^# TYPE (\S+)", (ROOT / "tests/golden/report.prom").read_text(encoding="utf-8"), re.MULTILINE)

    assert names
    assert [] == [name for name in names if f"`{name}`" not in told]
