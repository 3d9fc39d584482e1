"""Brings one target up to date: what is due is said, in order, and what came of it is on the disk before the next.

A target that does not answer is left alone for longer and longer, and so is an
incident that it chokes on, so that neither keeps the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from probes.named import NamedTuple
from triage.alert import payload, send
from triage.alert.config import Target
from triage.alert.post import LONGEST_PAUSE, Outcome
from triage.alert.queue import Queue
from triage.alert.states import Delivery, Incident, Standing
from triage.alert.steps import KINDS, Step, after, backoff, failed, refilled, refilled_at, step

Json = dict[str, Any]
Tell = Callable[[str, str], None]

NEVER = float("inf")
SILENT = 60.0
"""Seconds for which a target may fail before it is told."""
GIVE_UP = 7 * 86400.0
"""Seconds after which nobody is told any more that something is over."""


MOST_KNOWN = 1000
"""Refusals of which it is remembered that they were told."""
_TO_BLAME = (400, 413, 422)
"""Answers for which one of several messages may be to blame; others are about all of them."""


class Errand(NamedTuple):
    """Something to be said now."""

    incident: Incident
    knows: Delivery
    step: Step


class Plan(NamedTuple):
    """What is due now, what waits for the limit only, what for its time, what needs no message, when to look again."""

    due: list[Errand]
    held: list[Errand]
    later: list[Errand]
    settled: list[tuple[str, Delivery]]
    again: float


def plan(
    target: Target, incidents: Sequence[Incident], known: dict[str, Delivery], standing: Standing, now: float
) -> Plan:
    """Return what to do about these incidents."""
    due: list[Errand] = []
    held: list[Errand] = []
    later: list[Errand] = []
    settled: list[tuple[str, Delivery]] = []
    again, tokens = NEVER, standing.tokens
    for incident in incidents:
        knows = sane(known.get(incident.fingerprint, Delivery()), now)
        what = step(target, incident, knows, now)
        if what.event in ("", "renew") and knows.version < incident.version:
            knows = knows._replace(version=incident.version)
            settled.append((incident.fingerprint, knows))
        if not what.event:
            continue
        if what.due > now:
            again = min(again, what.due)
            later.append(Errand(incident, knows, what))
        else:
            due.append(Errand(incident, knows, what))
    allowed = []
    for errand in sorted(due, key=lambda errand: errand.knows.tries):
        if errand.step.counts and target.limit is not None:
            if tokens < 1:
                if errand.step.event == "resolve":  # came and went in a storm; nobody was told of it
                    version = errand.incident.version
                    settled.append((errand.incident.fingerprint, errand.knows._replace(version=version)))
                else:
                    held.append(errand)
                continue
            tokens -= 1
        allowed.append(errand)
    return Plan(allowed, held, later, settled, again)


def sane(knows: Delivery, now: float) -> Delivery:
    """Return what is known without times that lie in the future because a clock was set."""
    due = 0.0 if knows.due > now + LONGEST_PAUSE else knows.due
    return knows._replace(due=due, sent=knows.sent if knows.sent <= now else 0.0)


class Courier:
    """Tells one target; `tell` is told what people should know: a word for it, and a sentence."""

    def __init__(self, target: Target, node: str, clock: Callable[[], float], tell: Tell) -> None:
        self.target, self._node, self._clock, self._tell = target, node, clock, tell
        self._refusal = ""
        self._refusals: set[tuple[str, str]] = set()

    def turn(self, queue: Queue) -> float:
        """Say what is due; return when to be called again (UTC epoch seconds), if nothing changes until then."""
        now = self._clock()
        standing = self._standing(queue, now)
        if standing.due > now:
            return standing.due
        found = plan(self.target, queue.incidents(), queue.deliveries(self.target.name), standing, now)
        if found.settled:
            queue.note(self.target.name, None, found.settled)
        errands = [errand for errand in found.due if not self._too_old(queue, errand, now)]
        while errands and standing.due <= now:
            batch = errands[: send.BATCH] if self.target.kind == "alertmanager" else errands[:1]
            errands = errands[len(batch) :]
            standing = self._say(queue, batch, standing)
        if standing.due <= now:
            standing = self._sum_up(queue, found.held, standing)
        if standing.due > now:
            return standing.due
        if found.due:
            return now  # what was said may have to be said again some time
        return min(found.again, refilled_at(self.target, standing) if found.held else NEVER)

    def _too_old(self, queue: Queue, errand: Errand, now: float) -> bool:
        if errand.step.event != "resolve" or errand.incident.at > now - GIVE_UP:
            return False
        why = f"it could not be told for {GIVE_UP / 86400:.0f} days: {errand.knows.why or 'no answer'}"
        self._refused(queue, errand, Outcome(refused=True, why=why), now)
        return True

    def _standing(self, queue: Queue, now: float) -> Standing:
        standing = refilled(self.target, queue.standing(self.target.name), now)
        return standing._replace(due=0.0) if standing.due > now + LONGEST_PAUSE else standing

    def _say(self, queue: Queue, batch: Sequence[Errand], standing: Standing) -> Standing:
        """Say these things and note what came of it; return how it stands with the target then."""
        name, now = self.target.name, self._clock()
        messages, said = [], []
        for errand in batch:
            body = queue.body(errand.incident.fingerprint)
            if body is None:
                continue
            said.append(errand)
            messages.append(self._message(errand, body))
        if not said:
            return standing
        begun = [(e.incident.fingerprint, self._begun(e)) for e in said if e.step.event != "renew"]
        if begun:  # who cannot write what became of it would say it again and again, so nothing is said
            queue.note(name, None, begun)
        outcome = send.say(self.target, messages, now)
        if outcome.taken:
            cost = sum(errand.step.counts for errand in said) if self.target.limit is not None else 0
            standing = self._answered(standing)._replace(tokens=standing.tokens - cost)
            told = [(e.incident.fingerprint, after(e.knows, e.step.event, e.incident, now)) for e in said]
            queue.note(name, standing, told, took=True)
            return standing
        if outcome.refused and len(said) > 1 and outcome.status in _TO_BLAME:
            for errand in said:
                standing = self._say(queue, [errand], standing)
                if standing.due > now:
                    break
            return standing
        if outcome.refused:
            for errand in said:
                self._refused(queue, errand, outcome, now)
            return standing
        standing = self._failed(standing, outcome, now)
        unsure = [(e.incident.fingerprint, failed(e.knows, outcome, now)) for e in said if e.step.event != "renew"]
        queue.note(name, standing, unsure)
        return standing

    def _begun(self, errand: Errand) -> Delivery:
        """What is known while it is being sent: if we are killed then, it may be told, and must be told over."""
        holds = errand.step.opens and KINDS[self.target.kind].holds
        return errand.knows._replace(unsure=errand.knows.unsure or holds)

    def _message(self, errand: Errand, body: Json) -> send.Message:
        knows = errand.knows
        number = payload.number(
            self.target, errand.incident.fingerprint, body["opened_at"], knows.nth, errand.step.event
        )
        before = knows.severity if knows.said in ("open", "acknowledged") else ""
        return send.Message(errand.step.event, body, number, before)

    def _refused(self, queue: Queue, errand: Errand, outcome: Outcome, now: float) -> None:
        incident = errand.incident
        knows = errand.knows._replace(version=incident.version, why=outcome.why, tries=0, due=0.0)
        if errand.step.event == "renew":
            knows = knows._replace(sent=now)
        queue.refuse(self.target.name, incident.fingerprint, knows, errand.step.event, now)
        known = (incident.fingerprint, outcome.why)
        if outcome.why != self._refusal and known not in self._refusals:
            self._refusal = outcome.why
            self._refusals = {*list(self._refusals)[-MOST_KNOWN:], known}
            self._tell(
                "alerts-refused",
                f"target {self.target.name} refused {errand.step.event} of {incident.fingerprint}: {outcome.why}; "
                "it is not tried again until the configuration changes or `gpu-triage alert retry` is run",
            )

    def _sum_up(self, queue: Queue, held: Sequence[Errand], standing: Standing) -> Standing:
        """Send one message for all that the limit keeps back, and end it once there are none."""
        severities = [errand.incident.severity for errand in held if errand.step.opens]
        if bool(severities) == bool(standing.more):
            return standing
        now = self._clock()
        outcome = send.say_more(self.target, self._node, payload.by_severity(severities) if severities else {}, now)
        if outcome.taken or outcome.refused:
            standing = standing._replace(more=len(severities))
            standing = self._answered(standing) if outcome.taken else standing
        else:
            standing = self._failed(standing, outcome, now)
        queue.note(self.target.name, standing, ())
        return standing

    def _answered(self, standing: Standing) -> Standing:
        self._refusal = ""
        if standing.told:
            self._tell("alerts-taken", f"target {self.target.name} ({self.target.where}) takes alerts again")
        return standing._replace(tries=0, since=0.0, due=0.0, why="", told=False)

    def _failed(self, standing: Standing, outcome: Outcome, now: float) -> Standing:
        pause = backoff(standing.tries) if outcome.pause is None else outcome.pause
        since = standing.since or now
        told = standing.told or now - since >= SILENT
        if told and not standing.told:
            self._tell(
                "alerts-waiting",
                f"target {self.target.name} ({self.target.where}) has taken no alert for {now - since:.0f} s: "
                f"{outcome.why}; what is to be told waits, see `gpu-triage alert queue`",
            )
        return standing._replace(tries=standing.tries + 1, since=since, due=now + pause, why=outcome.why, told=told)
