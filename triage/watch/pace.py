"""How soon there may be another decision: the longer they take, the longer the pauses between them.

So a storm is counted and not answered line by line, and a few lines in a row are each answered at once.
"""

from __future__ import annotations

SHARE = 2.0
"""Decisions are paid for by pauses of so many times their length."""
BURST = 0.5
"""Seconds of such pauses that may be owed, so that a few lines in a row are each answered at once."""


class Pace:
    """What decisions have cost; `not_before` is when the next may be made (seconds of CLOCK_MONOTONIC)."""

    def __init__(self) -> None:
        """Nothing is owed."""
        self.not_before = 0.0
        self._debt = self._at = 0.0

    def decided(self, began: float, ended: float) -> None:
        """Note that a decision took from then to then."""
        self._debt = max(0.0, self._debt - (began - self._at)) + SHARE * (ended - began)
        self._at = ended
        self.not_before = ended + max(0.0, self._debt - BURST)
