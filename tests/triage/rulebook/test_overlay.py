"""Site rules change, disable and add rules, and everything wrong with them is said with its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triage.evaluate import explain_text
from triage.rulebook import folders
from triage.rulebook.load import RulebookError, load
from triage.rulebook.model import Rulebook

NOW = 1_800_000_000.0
"""2027-01-15 UTC."""
HEAD = "schema: 1\nextends: gpu-off-bus\n"
OWN = """schema: 1
id: rack-hot
version: 1
title: The rack is too hot
status: test
severity: warning
scope: node
summary: Our inlet sensor writes to the kernel log.
trigger:
  signal: {of: inlet-hot}
  supports: {site: strong}
  why: The inlet is hot.
actions: [{for: undetermined, do: Look at the rack., risk: none}]
"""
SIGNAL = """schema: 1
signals:
  - {id: inlet-hot, match: 'inlet: \\d+ degrees', says: The inlet is hot., examples: ["inlet: 50 degrees"]}
"""

Site = Callable[..., Rulebook]


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Site:
    """Load the small rulebook with site rules of these texts, each in a file of its own name."""

    def loaded(now: float = NOW, **files: str) -> Rulebook:
        folder = tmp_path / "site"
        (folder / "signals").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            place = folder / "signals" if name.startswith("signals_") else folder
            (place / f"{name.replace('_', '-')}.yaml").write_text(text)
        return load(root, [folder], now)

    return loaded


@pytest.fixture
def wrong(site: Site, tmp_path: Path) -> Callable[..., list[str]]:
    """Return what is wrong with a file, without the path."""

    def messages(text: str, name: str = "mine") -> list[str]:
        with pytest.raises(RulebookError) as caught:
            site(**{name: text})
        return [str(problem).replace(f"{tmp_path}/site/", "") for problem in caught.value.problems]

    return messages


def rule(rulebook: Rulebook, name: str = "gpu-off-bus") -> Any:
    return next(rule for rule in rulebook.rules if rule.id == name)


def item(rulebook: Rulebook, name: str) -> Any:
    return next(item for item in rule(rulebook).evidence if item.id == name)


def test_set_changes_what_it_names_and_nothing_else(site: Site, root: Path) -> None:
    shipped = rule(load(root))
    changed = rule(site(mine=HEAD + "why: Ours.\nset: {severity: info, lasts: 2h, look: {after: 5m}}\n"))

    assert shipped._replace(severity="info", lasts=7200.0, look_after=300.0) == changed


def test_points_are_set_per_cause_and_none_takes_them_away(site: Site) -> None:
    found = site(
        mine=HEAD
        + "why: Ours.\nset:\n  trigger: {opposes: {workload: none, site: weak}}\n"
        + "  evidence: {aer-before: {supports: {hardware.link: weak}, otherwise: {opposes: {hardware.link: none}}}}\n"
    )

    assert {"site": -1} == rule(found).trigger.points
    assert {"hardware.link": 1, "hardware.gpu": 2} == item(found, "aer-before").points
    assert {} == item(found, "aer-before").otherwise.points


def test_thresholds_are_set_in_their_own_units(site: Site) -> None:
    found = site(
        mine=HEAD
        + "why: Ours.\nset: {evidence: {seen-before-here: {at_least: 3, over: 1d},"
        + " hot: {at_least: 85.5, severity: critical}, aer-before: {within: 5s}, replays-climbing: {at_least: 7}}}\n"
    )

    assert (3, 86400.0) == (
        item(found, "seen-before-here").clause.at_least,
        item(found, "seen-before-here").clause.over,
    )
    assert (85.5, "critical") == (item(found, "hot").clause.at_least, item(found, "hot").severity)
    assert 5.0 == item(found, "aer-before").clause.within
    assert 7.0 == item(found, "replays-climbing").clause.at_least


def test_a_disabled_rule_opens_nothing_until_its_last_day_has_passed(site: Site) -> None:
    text = HEAD + "disable: {why: Known here., until: 2027-01-15}\n"
    line = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."
    during, after = site(mine=text), site(now=NOW + 86400, mine=text)

    assert ["compute-exception"] == [rule.id for rule in during.rules]
    assert () == explain_text(during, line).incidents
    assert ["gpu-off-bus"] == [incident.rule for incident in explain_text(after, line).incidents]
    assert "disables rule gpu-off-bus until 2027-01-15: Known here." in during.notices[0]
    assert "not applied, its last day was 2027-01-15; renew the date or remove the file" in after.notices[0]


def test_a_change_expires_as_well(site: Site) -> None:
    found = site(mine=HEAD + "why: Ours.\nuntil: 2027-01-14\nset: {severity: info}\n")

    assert "critical" == rule(found).severity
    assert {} == found.origins


def test_a_report_names_the_site_rules_behind_it(site: Site) -> None:
    found = site(mine=HEAD + "why: Ours.\nset: {severity: info}\n")

    assert found.notices[0] in explain_text(found, "usb 1-1: new device").notices
    assert found.notices[0].endswith("mine.yaml changes rule gpu-off-bus: Ours.")
    assert found.origins["gpu-off-bus"].startswith("changed by ")


def test_a_site_adds_rules_and_signals_of_its_own(site: Site) -> None:
    found = site(rack_hot=OWN, signals_site=SIGNAL)
    (incident,) = explain_text(found, "inlet: 51 degrees").incidents

    assert "rack-hot" == incident.rule
    assert "site" == next(iter(incident.verdict.by_leaf))
    assert found.origins["rack-hot"].startswith("added by ")
    assert ["adds rule rack-hot", "adds signals"] == [" ".join(n.split()[3:]) for n in found.notices]


def test_a_later_file_changes_what_an_earlier_one_did(site: Site) -> None:
    found = site(
        a=HEAD + "why: One.\nset: {severity: info, lasts: 1h}\n", b=HEAD + "why: Two.\nset: {severity: warning}\n"
    )

    assert ("warning", 3600.0) == (rule(found).severity, rule(found).lasts)
    assert 2 == len(found.notices)


def test_a_rule_of_the_site_may_be_changed_in_turn(site: Site) -> None:
    own = "schema: 1\nextends: rack-hot\nwhy: Ours.\nset: {severity: critical}\n"

    assert "critical" == rule(site(rack_hot=OWN, signals_site=SIGNAL, x=own), "rack-hot").severity


def test_the_digest_tells_what_was_in_force(site: Site, root: Path) -> None:
    one = site(mine=HEAD + "why: Ours.\nset: {severity: info}\n").digest

    assert one != load(root).digest
    assert one != site(mine=HEAD + "why: Ours.\nset: {severity: warning}\n").digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schema: 1\nextends: gpu-of-bus\nwhy: x\nset: {severity: info}\n",
            ":2:10: unknown rule 'gpu-of-bus'; did you",
        ),
        (HEAD + "set: {severity: info}\n", ":3:1: 'set' needs why beside it in overlay"),
        (HEAD + "why: x\nset: {sevrity: info}\n", ":4:7: unknown key 'sevrity' in set; did you mean 'severity'?"),
        (HEAD + "why: x\nset: {evidence: {hat: {at_least: 2}}}\n", ":4:18: unknown evidence 'hat' of gpu-off-bus"),
        (HEAD + "why: x\nset: {trigger: {supports: {hardwar: weak}}}\n", ":4:28: unknown cause 'hardwar'"),
        (
            HEAD + "why: x\nset: {evidence: {hot: {over: 2s}}}\n",
            ":4:24: evidence 'hot' has no threshold 'over'; it has at",
        ),
        (HEAD + "why: x\nset: {evidence: {seen-before-here: {at_least: 1.5}}}\n", "1.5 is not a whole number"),
        (HEAD + "why: x\nset: {evidence: {hot: {otherwise: {supports: {site: weak}}}}}\n", "no 'otherwise' to change"),
        (HEAD + "disable: {why: x}\n", ":3:10: missing key 'until' in disable"),
        (HEAD + "disable: {why: x, until: 2027-02-30}\n", ":3:26: there is no day '2027-02-30'"),
        (HEAD + "disable: {why: x, until: soon}\n", "is not a day such as 2027-01-31"),
        (HEAD, ":1:1: overlay needs exactly one of set or disable, not none"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str, wrong: Callable[..., list[str]]) -> None:
    (problem,) = wrong(text)

    assert problem.startswith("mine.yaml:")
    assert message in problem


def test_a_rule_that_is_there_already_must_be_extended(wrong: Callable[..., list[str]]) -> None:
    """Or one file would silently replace another."""
    own = OWN.replace("id: rack-hot", "id: gpu-off-bus").replace("{of: inlet-hot}", "{of: aer-fatal}")

    assert any("write `extends: gpu-off-bus`" in problem for problem in wrong(own, "gpu_off_bus"))


def test_a_signal_that_is_there_already_is_refused(wrong: Callable[..., list[str]]) -> None:
    (problem,) = wrong(SIGNAL.replace("inlet-hot", "aer-fatal"), "signals_mine")

    assert "signal 'aer-fatal' exists already; first at rules/signals/gpu.yaml" in problem


def test_a_folder_that_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match="nowhere:1:1: is not a directory; name the folder of site rules"):
        load(root, [tmp_path / "nowhere"])


@pytest.mark.parametrize("what", ["folder", "file"])
def test_root_refuses_what_everyone_may_write(
    what: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody could then tell root that a dying GPU is well; others only fool themselves."""
    text = HEAD + "why: Ours.\nset: {severity: info}\n"
    site(mine=text)
    (tmp_path / "site" / ("" if what == "folder" else "mine.yaml")).chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "info" == rule(site(mine=text)).severity
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(RulebookError, match="anyone may write it, so anyone could change what root is told; refused"):
        site(mine=text)


def test_the_standard_folders_are_those_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the system first, then of the user; a relative XDG_CONFIG_HOME is ignored, as its specification says."""
    system, home = tmp_path / "etc", tmp_path / "home"
    monkeypatch.setattr(folders, "SYSTEM", system)
    user = home / ".config" / "gpu-triage" / "rules"
    assert () == folders.standard_folders({"HOME": str(home)})
    for folder in (system, user):
        folder.mkdir(parents=True)

    assert (system, user) == folders.standard_folders({"HOME": str(home)})
    assert (system, user) == folders.standard_folders({"XDG_CONFIG_HOME": str(home / ".config")})
    assert (system,) == folders.standard_folders({"XDG_CONFIG_HOME": "relative", "HOME": str(home)})
    assert (system,) == folders.standard_folders({})
