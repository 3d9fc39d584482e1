"""What a target is to be told next of an incident, from how it stands and what the target knows.

Nothing here sends, waits or remembers.  What came and went unsaid is merged: a
target is told how things stand, never twice the same, and whatever it was told
is open is told over to it, whoever is on call by then.
"""

from __future__ import annotations

import random

from probes.named import NamedTuple
from triage.alert.config import Target
from triage.alert.post import Outcome
from triage.alert.states import Delivery, Incident, Standing
from triage.model import SEVERITIES

FIRST = 1.0
MOST = 60.0
"""Seconds to wait after the first failure, doubled with each further one, and at most."""
SETTLING = 30.0
"""Least seconds between two updates of one incident to one target."""
LINGER = 300.0
"""Seconds for which Alertmanager is told again that an alert is over."""
WINDOW = 600.0
"""Seconds in which a target may get as many messages as its limit says."""


class Kind(NamedTuple):
    """What a kind of target makes of messages.

    `updates`: what of an incident, if it changes, is told at once; None is for everything.  `renews`: whether what
    is open must be sent again and again.  `acknowledges`: whether it knows that somebody took an incident on.
    `news`: whether what is over before it could be told is worth a message; a page is not.  `holds`: whether what
    it was told stands there until it is told to be over.
    """

    updates: frozenset[str] | None
    renews: bool = False
    acknowledges: bool = False
    news: bool = True
    holds: bool = True


_VERDICT = frozenset({"severity", "family"})
KINDS = {
    "alertmanager": Kind(_VERDICT, renews=True),
    "pagerduty": Kind(_VERDICT, acknowledges=True, news=False),
    "webhook": Kind(None, holds=False),
    "apprise": Kind(_VERDICT, holds=False),
}


class Step(NamedTuple):
    """The next thing to do: say `event` once `due` has come; the empty event is for nothing.

    `counts` is whether it counts for the limit; `opens` whether somebody hears of an incident who did not know it.
    """

    event: str
    due: float = 0.0
    counts: bool = False
    opens: bool = False


NOTHING = Step("")


def step(target: Target, incident: Incident, knows: Delivery, now: float) -> Step:
    """Return what to do about this incident."""
    kind = KINDS[target.kind]
    told = knows.said in ("open", "acknowledged")
    changed = incident.version > knows.version
    if incident.state == "resolved":
        return _over(target, kind, incident, knows, told, changed, now)
    if not told:
        wanted = target.wants(incident.severity, incident.family)
        if not changed or not wanted or (incident.state == "acknowledged" and kind.acknowledges):
            return NOTHING
        return Step("open", knows.due, counts=True, opens=True)
    if changed:
        if kind.acknowledges and incident.state != knows.said:
            event = "acknowledge" if incident.state == "acknowledged" else "open"
            return Step(event, knows.due, counts=event == "open")
        news = {"severity": incident.severity != knows.severity, "family": incident.family != knows.family}
        worse = news["severity"] and _rank(incident.severity) > _rank(knows.severity)
        if kind.updates is None or any(news[name] for name in kind.updates):
            return Step("update", max(knows.due, 0.0 if worse else knows.sent + SETTLING), counts=True)
    if kind.renews:
        return Step("renew", max(knows.due, knows.sent + target.resend))
    return NOTHING


def _over(
    target: Target, kind: Kind, incident: Incident, knows: Delivery, told: bool, changed: bool, now: float
) -> Step:
    if told or (knows.unsure and knows.said != "resolved" and kind.holds):
        return Step("resolve", knows.due)
    if knows.said == "resolved":
        if kind.renews and now < incident.at + LINGER:
            return Step("renew", max(knows.due, knows.sent + target.resend))
        return NOTHING
    if changed and kind.news and target.wants(incident.severity, incident.family):
        return Step("resolve", knows.due, counts=True)
    return NOTHING


def after(knows: Delivery, event: str, incident: Incident, now: float) -> Delivery:
    """Return what a target knows once it has taken this."""
    said = {"resolve": "resolved", "acknowledge": "acknowledged", "open": "open"}.get(event, knows.said)
    return knows._replace(
        said=said,
        severity=incident.severity,
        family=incident.family,
        sent=now,
        unsure=False,
        nth=knows.nth + 1,
        tries=0,
        due=0.0,
        why="",
        version=incident.version,
    )


def failed(knows: Delivery, outcome: Outcome, now: float) -> Delivery:
    """Return what is known after a message that was not taken."""
    due = now + (backoff(knows.tries) if outcome.pause is None else outcome.pause)
    unsure = knows.unsure or outcome.reached
    return knows._replace(tries=knows.tries + 1, due=due, why=outcome.why, unsure=unsure)


def backoff(tries: int) -> float:
    """Return how long to wait after so many failures before this one; no two wait for the same time."""
    most = float(min(MOST, FIRST * 2 ** min(tries, 10)))
    return most * random.uniform(0.5, 1.0)


def refilled(target: Target, standing: Standing, now: float) -> Standing:
    """Return how many messages a target may get now."""
    if target.limit is None:
        return standing._replace(tokens=1.0, refilled=now)
    if standing.tokens < 0:
        return standing._replace(tokens=float(target.limit), refilled=now)
    gained = max(0.0, now - standing.refilled) * target.limit / WINDOW
    return standing._replace(tokens=min(float(target.limit), standing.tokens + gained), refilled=now)


def refilled_at(target: Target, standing: Standing) -> float:
    """Return when the next message may be sent."""
    if target.limit is None or standing.tokens >= 1:
        return 0.0
    return standing.refilled + (1 - standing.tokens) * WINDOW / target.limit


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
