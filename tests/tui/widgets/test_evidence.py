"""The four questions of an incident: for, against, quiet, unknown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.tui import samples
from tui.facts import Incident
from tui.look import Look
from tui.text import Line, width_of
from tui.widgets import evidence
from tui.widgets.page import PageRow
from tui.words import swing

LOOK = Look("plain", True)


def text(rows: Sequence[PageRow]) -> str:
    """Return a page without styles."""
    return "\n".join("".join(part for _, part in row.line).rstrip() for row in rows)


def plain(lines: Sequence[Line]) -> str:
    """Return lines without styles."""
    return "\n".join("".join(part for _, part in line) for line in lines)


@pytest.fixture
def incident() -> Incident:
    """A decided incident with every kind of evidence."""
    return samples.known().incidents[0]


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("width", [50, 79, 140])
def test_all_four_sections_are_there_and_nothing_is_too_wide(incident: Incident, width: int, brief: bool) -> None:
    rows = evidence.rows(incident, width, LOOK, brief=brief, opened=False)
    shown = text(rows)

    assert all(name in shown for name in ("for hardware", "against hardware", "checked and quiet", "could not check"))
    assert brief or all(width_of(row.line) <= width for row in rows)
    assert {f"evidence {n}" for n in range(1, 9)} == {row.key for row in rows} - {None}


def test_silence_is_said() -> None:
    rows = evidence.rows(samples.known().incidents[1], 79, LOOK, brief=True, opened=False)

    assert 2 == text(rows).count("none found")
    assert 2 == text(rows).count("nothing\n") + text(rows).endswith("nothing")
    assert "seen, neither for nor against driver" in text(rows)


def test_points_of_the_leading_family_stand_before_the_sentence(incident: Incident) -> None:
    assert "[1]  +4 link       The port above" in text(evidence.rows(incident, 79, LOOK, brief=True, opened=False))
    assert "[1]  +4 link +2 gpu " in text(evidence.rows(incident, 120, LOOK, brief=True, opened=False))


def test_long_lists_are_cut_and_counted_unless_opened(incident: Incident) -> None:
    many = incident._replace(
        evidence=tuple(incident.evidence[5]._replace(number=n, reason="no history yet") for n in range(1, 9))
    )
    cut = text(evidence.rows(many, 79, LOOK, brief=True, opened=False))
    whole = text(evidence.rows(many, 79, LOOK, brief=True, opened=True))

    assert "5 more that weigh less; z shows all" in cut
    assert "[8]" in whole
    assert "weigh less" not in whole


def test_a_reason_that_keeps_several_things_from_us_is_told_once(incident: Incident) -> None:
    reasons = ["no log", "no history", "no log"]
    items = tuple(incident.evidence[5]._replace(number=n, reason=reason) for n, reason in enumerate(reasons, 1))
    shown = text(evidence.rows(incident._replace(evidence=items), 79, LOOK, brief=True, opened=True))

    assert 1 == shown.count("no log:")
    assert shown.index("[1]") < shown.index("[3]") < shown.index("no history:") < shown.index("[2]")


def test_the_detail_tells_the_witness_its_place_and_all_points(incident: Incident) -> None:
    shown = plain(evidence.detail(incident.evidence[0], incident, 120, LOOK))

    assert "[1] The port above this GPU logged an uncorrectable bus error." in shown
    assert "| pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal)" in shown
    assert "/var/log/kern.log:21; 2026-08-22 14:02:29Z; seen, rule gpu-off-bus item aer-fatal" in shown
    assert "+4 hardware.link +2 hardware.gpu" in shown


def test_what_an_unread_item_would_change_is_said_if_it_would(incident: Incident) -> None:
    power, wave, replays = incident.evidence[5:]

    assert "if seen: about driver 0.84 (now hardware 0.97)" == evidence.would_change(wave, incident)
    assert None is evidence.would_change(power, incident)
    assert None is evidence.would_change(replays, incident)
    assert None is evidence.would_change(incident.evidence[0], incident)


def test_the_odds_double_with_every_point(incident: Incident) -> None:
    even = incident.verdict._replace(by_leaf={"driver.module": 1 / 17, "hardware.gpu": 16 / 17})

    turned = swing(even, {"driver.module": 5})
    assert turned is not None
    assert "driver" == turned[0]
    assert turned[1] == pytest.approx(2 / 3)
    assert None is swing(even, {})
    assert None is swing(even._replace(by_leaf={}), {"driver.module": 5})
