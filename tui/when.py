"""A moment as a person types it: `03:10` last night, `2026-08-22`, `2026-08-22T03:10Z`; UTC, as all times here."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?Z?")
DAY = 86400.0


def moment_of(text: str, newest: float) -> float:
    """Return UTC epoch seconds; a time of day is the last such one that is not after `newest`.

    A day or a minute means its end: what was known by then.

    Raises:
        ValueError: if it is no time, with what would be one.
    """
    words = text.strip()
    match = _CLOCK.fullmatch(words)
    if match is not None:
        seconds = int(match[1]) * 3600.0 + int(match[2]) * 60.0 + float(match[3] or 59)
        at = newest // DAY * DAY + seconds
        # The minute that is going on has begun, and is meant.
        return at if at - 59 <= newest else at - DAY
    try:
        parsed = datetime.fromisoformat(words.upper().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"'{text}' is no time; write 03:10, 2026-08-22 or 2026-08-22T03:10Z (UTC)") from None
    at = (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)).timestamp()
    whole_day = "T" not in words.upper() and " " not in words
    whole_minute = not whole_day and words.count(":") < 2 + words.count("+")
    return at + (DAY - 1.0 if whole_day else 59.0 if whole_minute else 0.0)
