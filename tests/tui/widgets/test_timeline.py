"""The lines that count, of one incident or of all."""

from __future__ import annotations

from tests.tui import samples
from tui.facts import facts
from tui.look import Look
from tui.widgets.timeline import timeline_rows


def test_a_line_that_is_evidence_of_many_incidents_bears_each_number_once() -> None:
    many = [{**samples.OFF_BUS, "fingerprint": f"gpu-{n}"} for n in range(8)]
    one, eight = (
        timeline_rows(facts(dict(samples.snapshot(incidents=incidents).report)).incidents, 80, Look("plain", True))
        for incidents in (many[:1], many)
    )

    assert len(one) > 1
    assert [row.line for row in one] == [row.line for row in eight]
