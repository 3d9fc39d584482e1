"""Says one thing to one target: builds what the target understands, sends it, and says what became of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from probes.named import NamedTuple
from triage import __version__
from triage.alert import payload
from triage.alert.config import Target, signing_key
from triage.alert.post import Outcome, Request, post
from triage.alert.secret import Unreadable

Json = dict[str, Any]

MOST_SHOWN = 200
"""Characters of what a peer says that are told."""
BATCH = 64
"""Alerts that Alertmanager gets in one request."""


class Message(NamedTuple):
    """One thing to be said: an event of an incident, and its name; `before` is the severity that it was told with."""

    event: str
    body: Json
    number: str
    before: str = ""


def say(target: Target, messages: Sequence[Message], now: float) -> Outcome:
    """Say these things; more than one at once only to Alertmanager.  Nothing of a secret is in what is returned."""
    try:
        secrets = target.secrets()
    except Unreadable as error:
        return Outcome(why=str(error))
    return _without(_say(target, secrets, messages, now), secrets)


def say_more(target: Target, node: str, more: Mapping[str, int], now: float) -> Outcome:
    """Say that there are more incidents than are told one by one; or, with none, that this is over."""
    if not more and target.kind not in ("alertmanager", "pagerduty"):
        return Outcome(taken=True)
    try:
        secrets = target.secrets()
    except Unreadable as error:
        return Outcome(why=str(error))
    return _without(_say_more(target, secrets, node, more, now), secrets)


def test(target: Target, node: str, now: float) -> Outcome:
    """Send what says that it is a test, and leave nothing open."""
    body = payload.test_incident(node, now)
    target = target._replace(expires=payload.GONE)
    number = payload.number(target, body["fingerprint"], body["opened_at"], int(now), "test")
    event = "test" if target.kind == "webhook" else "open"
    outcome = say(target, [Message(event, body, number)], now)
    if outcome.taken and target.kind == "pagerduty":
        return say(target, [Message("resolve", {**body, "state": "resolved"}, number)], now)
    return outcome


def _say(target: Target, secrets: Mapping[str, str], messages: Sequence[Message], now: float) -> Outcome:
    if target.kind == "alertmanager":
        return _post(target, secrets, _alerts(target, messages, now))
    (message,) = messages
    if target.kind == "pagerduty":
        return _post(target, secrets, payload.pagerduty(secrets["key"], message.event, message.body))
    if target.kind == "webhook":
        body = payload.webhook(message.event, message.body, now, message.number)
        return _post(target, secrets, body, message.number)
    return _apprise(target, secrets, payload.message(message.event, message.body))


def _say_more(target: Target, secrets: Mapping[str, str], node: str, more: Mapping[str, int], now: float) -> Outcome:
    if target.kind == "alertmanager":
        alert = payload.alertmanager_summary(target, node, more, now)
        if not more:
            alert = {**alert, "endsAt": alert["startsAt"]}
        return _post(target, secrets, [alert])
    if target.kind == "pagerduty":
        return _post(target, secrets, payload.pagerduty_summary(secrets["key"], target, node, more))
    if target.kind == "webhook":
        number = payload.number(target, payload.more_key(node, target), None, int(now), "summary")
        return _post(target, secrets, payload.webhook_summary(node, more, now, number), number)
    return _apprise(target, secrets, payload.message_summary(node, more))


def _alerts(target: Target, messages: Sequence[Message], now: float) -> list[Json]:
    alerts = []
    for message in messages:
        over = message.body["state"] == "resolved"
        if message.before and message.before != message.body["severity"]:
            # The severity is one of the labels, by which Alertmanager tells alerts apart.
            alerts.append(payload.alertmanager(target, message.body, now, over=True, severity=message.before))
        alerts.append(payload.alertmanager(target, message.body, now, over=over))
    return alerts


def _post(target: Target, secrets: Mapping[str, str], body: object, number: str = "") -> Outcome:
    data = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    url = secrets.get("url") or str(target.url)
    if target.kind == "alertmanager":
        parts = urlsplit(url)
        url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/api/v2/alerts"))
    headers = {"Content-Type": "application/json", "User-Agent": f"gpu-triage/{__version__}"}
    if "bearer" in secrets:
        headers["Authorization"] = f"Bearer {secrets['bearer']}"
    if "password" in secrets:
        pair = base64.b64encode(f"{target.user}:{secrets['password']}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
        secrets = {**secrets, "pair": pair}
    if target.kind == "webhook":
        headers |= signed(secrets["key"], number, int(time.time()), data)
    request = Request(url, data, headers, target.timeout, target.ca, target.proxy, target.allow_link_local)
    return _without(post(request), secrets)


def signed(secret: str, number: str, at: int, data: bytes) -> dict[str, str]:
    """Return the headers by which a receiver knows that it was us, and when (standardwebhooks.com, v1)."""
    told = f"{number}.{at}.".encode() + data
    signature = base64.b64encode(hmac.new(signing_key(secret), told, hashlib.sha256).digest()).decode()
    return {"webhook-id": number, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def _apprise(target: Target, secrets: Mapping[str, str], message: Json) -> Outcome:
    from triage.alert import by_apprise

    return by_apprise.send(secrets["url"], message, target.timeout, allow_link_local=target.allow_link_local)


def _without(outcome: Outcome, secrets: Mapping[str, str]) -> Outcome:
    """A peer may quote what it was sent; nothing of that is told, and no more than a line of the rest."""
    hidden = list(secrets.values())
    if "url" in secrets:
        parts = urlsplit(secrets["url"])
        hidden += [part for part in (parts.path, parts.query) if len(part) > 1]
    why = outcome.why
    for secret in sorted(hidden, key=len, reverse=True):
        why = why.replace(secret, "***")
    return outcome._replace(why=why[:MOST_SHOWN])
