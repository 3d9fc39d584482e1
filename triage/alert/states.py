"""How an incident stands, what a target knows of it, and how it stands with a target: what the queue holds."""

from __future__ import annotations

from typing import Any

from probes.named import NamedTuple

Json = dict[str, Any]


class Incident(NamedTuple):
    """An incident as it stands; `body` is that of a report, `version` grows with every change of any."""

    fingerprint: str
    state: str
    severity: str
    family: str
    at: float
    version: int


class Delivery(NamedTuple):
    """What one target knows of one incident.

    `said` is what it was told last ("" for nothing), in its `severity` and blaming `family`, `sent` when; `unsure`
    whether something was begun of which no answer came; `nth` counts what it was told.  `tries` failed since,
    `due` is when to try again, `why` what went wrong.  `version` is that of the incident up to which nothing is
    left to be told.
    """

    said: str = ""
    severity: str = ""
    family: str = ""
    sent: float = 0.0
    unsure: bool = False
    nth: int = 0
    tries: int = 0
    due: float = 0.0
    why: str = ""
    version: int = 0


class Standing(NamedTuple):
    """How it stands with one target as a whole: what it may still be sent, and whether it answers.

    `tokens` are messages that it may get at `refilled`; `more` how many incidents the last summary spoke of, 0 if
    none is open.  It has failed `tries` times since `since`, is asked again when `due`, and `why` says what was wrong.
    """

    tokens: float = -1.0
    refilled: float = 0.0
    more: int = 0
    tries: int = 0
    since: float = 0.0
    due: float = 0.0
    why: str = ""
    told: bool = False


class Change(NamedTuple):
    """An incident to be put down; `stand` is what of it is worth a message if it differs."""

    fingerprint: str
    stand: str
    body: Json
