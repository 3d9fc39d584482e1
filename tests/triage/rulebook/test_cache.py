"""A rulebook that is kept judges as the one that is loaded, and is never older than its files."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from probes.model import LogRecord
from probes.records import parse_lines
from triage.assess import assess
from triage.rulebook import cache, load
from triage.rulebook.model import Rulebook
from triage.rulebook.problems import RulebookError
from triage.scanner import _Set, _Sieves, flat

INCIDENTS = sorted((Path(__file__).parents[2] / "incidents").glob("*.jsonl"))

DAY = 86400.0
RECORDS = [
    LogRecord(
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  525.85.12  Sat Jan 28 02:10:06 UTC 2023", at=1.0, line=1
    ),
    LogRecord("NVRM: Xid (PCI:0000:4e:00): 48, pid=1, name=x, DBE (double bit error) ECC Error", at=90.0, line=2),
    LogRecord(
        "NVRM: Xid (PCI:0000:61:00): 119, pid=9, name=nvidia-smi, Timeout waiting for RPC from GSP!", at=99.0, line=3
    ),
    LogRecord("NVRM: Xid (PCI:0000:4e:00): 79, pid=1, name=x, GPU has fallen off the bus.", at=100.0, line=4),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the rules, to be changed."""
    return Path(shutil.copytree(load.RULES, tmp_path / "rules"))


def plain(book: Rulebook) -> Rulebook:
    """A rulebook without what only authors need, and without what the cache adds."""
    return book._replace(
        rules=tuple(
            rule._replace(
                tests=(), references=(), evidence=tuple(item._replace(place=rule.place) for item in rule.evidence)
            )
            for rule in book.rules
        ),
        signals=tuple(
            pattern._replace(examples=(), counterexamples=(), place=book.signals[0].place) for pattern in book.signals
        ),
        sieves=(),
    )


def kept_files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def test_no_line_that_is_a_signal_is_sieved_out(folder: Path) -> None:
    """By no phrase and no beginning that was worked out for its pattern, of no example and no line of an incident."""
    whole, kept = load.load(), cache.load(folder=folder)
    sieve = _Sieves(kept.sieves)
    logs = "".join(json.loads(line)["log"] + "\n" for file in INCIDENTS for line in file.read_text().splitlines())
    said = {flat(line) for pattern in whole.signals for line in (*pattern.examples, *pattern.counterexamples)}
    records = parse_lines(logs.encode().split(b"\n"), origin="incidents", year_hint=0.0)
    lines = said | {flat(record.message) for record in records}
    patterns = _Set(whole.signals, ())
    hits = [(line, place) for line in lines if line for place in patterns.hits(line)]
    assert 1000 < len(hits)
    assert [] == [(whole.signals[place].id, line) for line, place in hits if place not in sieve.places(line)]


@pytest.mark.parametrize(
    ("pattern", "line", "well"),
    [
        (
            "(?:pci|nvidia) [0-9a-f:.]+: BAR [0-5](?:: no space for \\[mem|: failed to assign$)",
            "pci 0000:3b:00.0: BAR 0: failed to assign",
            "pci 0000:3b:00.0: BAR 0: assigned [mem 0x000007d1-0x000007d1 64bit pref]",
        ),
        (
            "(?:mlx5_core \\S+: Link [Dd]own|ib\\d: port down)",
            "mlx5_core 0000:3b:00.0: Link down",
            "mlx5_core 0000:3b:00.0: firmware version: 28.39.1002",
        ),
        (
            '.*(?:avc: +denied .*comm="|apparmor="DENIED" .*comm=")nvidia-',
            'audit: apparmor="DENIED" operation="open" comm="nvidia-smi"',
            'audit: apparmor="STATUS" operation="profile_load" comm="apparmor"',
        ),
        (
            "nvidia-(?:uvm|modeset): .{0,80}\\b(?i:failed|unable)\\b",
            "nvidia-uvm: it Failed to start",
            "nvidia-uvm: Loaded the UVM driver, major device number 508.",
        ),
    ],
)
def test_a_line_that_only_begins_as_a_signal_does_or_holds_one_of_its_words_is_sieved_out(
    pattern: str, line: str, well: str
) -> None:
    """Most of what a node logs while it is well is no more than that."""
    assert re2.match(pattern, line)
    assert [[0], []] == [_Sieves((cache._sieve(pattern),)).places(text) for text in (line, well)]


@pytest.mark.parametrize("line", ["NVRM: GPU1 link LOST", "NVRM: GPU1 link Lo\u017ft", "NVRM: GPU1 lin\u212a lost"])
def test_a_phrase_in_any_case_is_found_wherever_the_pattern_finds_it(line: str) -> None:
    """The long s and the sign of Kelvin, too, which RE2 takes for s and k."""
    pattern = "NVRM: GPU\\d (?i:link lost)"
    assert re2.match(pattern, line)
    assert [0] == _Sieves((cache._sieve(pattern),)).places(line)


def test_what_is_kept_is_what_was_loaded(folder: Path) -> None:
    """Value for value, the first time and from then on."""
    whole = plain(load.load())
    first, again = cache.load(folder=folder), cache.load(folder=folder)

    assert whole == plain(first)
    assert whole == plain(again)
    assert first == again
    assert 1 == len(kept_files(folder))


def test_what_a_rule_asks_stays_packed_until_it_is_asked_for(folder: Path) -> None:
    """And travels to another process as it is."""
    cache.load(folder=folder)
    book = cache.load(folder=folder)
    assess(book, RECORDS[:1], [], [], node="n", now=200.0)
    asked = book.rules[0].evidence
    assert isinstance(asked, cache.Later)
    assert not any("_values" in vars(part) for rule in book.rules for part in (rule.evidence, rule.actions))
    assert load.load().rules[0].evidence[0].id == pickle.loads(pickle.dumps(asked))[0].id
    assert "_values" not in vars(asked)
    assess(book, RECORDS, [], [], node="n", now=200.0)
    assert (
        {"gpu-off-bus"}
        <= {rule.id for rule in book.rules if "_values" in vars(rule.evidence)}
        < {rule.id for rule in book.rules}
    )


def test_it_judges_the_same(folder: Path) -> None:
    """To the last digit."""
    cache.load(folder=folder)
    books = (load.load(), cache.load(folder=folder))
    loaded, kept = (assess(book, RECORDS, [], [], node="n", now=200.0) for book in books)

    assert loaded.incidents
    assert loaded == kept


def test_a_changed_rule_is_seen_at_once(root: Path, folder: Path) -> None:
    """The key is made of what is in the files."""
    before = cache.load(root, folder=folder)
    rule = root / "gpu-off-bus.yaml"
    rule.write_text(rule.read_text().replace("severity: critical", "severity: warning", 1))
    after = cache.load(root, folder=folder)

    assert before.digest != after.digest
    assert "warning" == next(rule.severity for rule in after.rules if rule.id == "gpu-off-bus")


def test_a_rulebook_with_a_mistake_is_refused_every_time(root: Path, folder: Path) -> None:
    """And never kept."""
    rule = root / "gpu-off-bus.yaml"
    rule.write_text(rule.read_text().replace("severity: critical", "severity: dreadful", 1))
    for _ in range(2):
        with pytest.raises(RulebookError, match="dreadful"):
            cache.load(root, folder=folder)

    assert [] == kept_files(folder)


def test_a_change_of_a_site_ends_on_its_day(tmp_path: Path, folder: Path) -> None:
    """Though no file has changed."""
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    (site / "quiet.yaml").write_text(
        "schema: 1\nextends: gpu-off-bus\nwhy: Ours.\nuntil: 2027-01-01\nset: {severity: info}\n"
    )

    def severity(day: float) -> str:
        book = cache.load(None, [site], now=day * DAY, folder=folder)
        return next(rule.severity for rule in book.rules if rule.id == "gpu-off-bus")

    assert ["info", "critical", "info"] == [severity(20_000), severity(21_000), severity(20_000)]


def test_a_file_that_was_tampered_with_is_not_believed(folder: Path) -> None:
    """The rules are loaded as ever."""
    cache.load(folder=folder)
    (name,) = kept_files(folder)
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b"critical", b"harmless"))

    assert plain(load.load()) == plain(cache.load(folder=folder))


def test_only_a_few_are_kept(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes rules all day does not fill the disk."""
    monkeypatch.setattr(cache, "KEPT", 2)
    causes = root / "causes.yaml"
    for number in range(cache.KEPT + 3):
        causes.write_text(causes.read_text() + f"# {number}\n")
        cache.load(root, folder=folder)

    assert cache.KEPT == len(kept_files(folder))


def test_without_a_cache_rules_are_loaded_as_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No home, or one that cannot be written."""
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "nowhere")
    assert plain(load.load()) == plain(cache.load())
    blocked = tmp_path / "file"
    blocked.touch()

    assert plain(load.load()) == plain(cache.load(folder=blocked))


@given(st.binary(max_size=400))
def test_bytes_that_say_no_rulebook_are_none(body: bytes) -> None:
    """Whatever they say."""
    import marshal

    assert cache.unpacked(body[:1] and b"N" + body) is None
    said = (0, ((False, (body, 1)),))
    no_runs: tuple[Any, ...] = (
        (99, ((False, (1,)),)),  # of no type
        (3, ((False, (1,)),)),  # of too few parts
        (2, ((True, (5,)),)),  # of what was not told
        (2, ((False, (1, 2)), (False, (3,)))),  # columns that do not match
        (1, ((False, (body,)), (False, ([],)))),  # a mapping of what cannot stand in one
        body,
    )
    for wrong in no_runs:
        assert cache.unpacked(marshal.dumps((said, wrong))) is None
