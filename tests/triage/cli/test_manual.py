"""Manual pages say what the help says, in a form that man and mandoc read without a complaint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needed import missing
from triage.cli import dispatch, fleet, rules
from triage.cli.manual import Command, commands, help_of, page, pages


def shown(text: str, tmp_path: Path) -> str:
    """Return a page as a person reads it, in one line."""
    if shutil.which("mandoc") is None:
        missing("mandoc is missing (apt install mandoc)")
    file = tmp_path / "page.1"
    file.write_text(text)
    read = subprocess.run(
        ["mandoc", "-T", "ascii", "-W", "error", str(file)], capture_output=True, text=True, timeout=120
    )
    assert "" == read.stderr
    plain = subprocess.run(["col", "-b"], input=read.stdout, capture_output=True, text=True, check=True, timeout=120)
    return " ".join(plain.stdout.split())


def test_every_verb_and_sub_verb_has_a_page() -> None:
    names = {"gpu-triage", *(f"gpu-triage-{verb.name}" for verb in dispatch.VERBS)}
    names |= {f"gpu-triage-fleet-{verb.name}" for verb in fleet.VERBS} | {
        f"gpu-triage-rules-{name}" for name in rules.ACTIONS
    }

    assert {f"{name}.1" for name in names} == set(pages())


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_a_page_holds_every_word_of_the_help(command: Command, tmp_path: Path) -> None:
    text = shown(page(command), tmp_path)

    for heading in ("NAME", "SYNOPSIS", "SEE ALSO"):
        assert heading in text
    for line in help_of(command).splitlines():
        said = " ".join(line.split())
        if said and not said.endswith(":"):
            assert all(word in text for word in said.split() if word != "usage:"), said


def test_a_page_keeps_what_roff_would_take_for_its_own(tmp_path: Path) -> None:
    text = shown(page(Command(("explain",), "'quoted' -and- \\escaped ^~`")), tmp_path)

    assert "'quoted' -and- \\escaped ^~`" in text
    assert "jq '.incidents[0].verdict'" in text


def test_the_pages_are_installed_like_any_kit(tmp_path: Path) -> None:
    from triage.cli.install import main

    assert 0 == main(["man", "--to", str(tmp_path / "man1")])
    assert {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()} == pages()
