"""What each kind of target is sent, held against golden files and against what those who take it say of it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.alert.bodies import START, body
from triage.alert import payload
from triage.alert.config import Target
from triage.alert.send import signed
from triage.schema import ALERT, REPORT

Json = dict[str, Any]
Golden = Callable[[str, str], None]

FLEET = Target("fleet", "alertmanager", "https://am", labels=(("cluster", "prod-east"),))
HOOK = Target("hook", "webhook", "https://hook")
STATES = ("open", "acknowledged", "resolved")

# As PagerDuty documents its Events API v2 (developer.pagerduty.com, "Send an alert event"): what must be there, of
# which kind, and how long it may be.
_KEYS = {
    "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
    "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
    "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
    "client": {"type": "string"},
    "client_url": {"type": "string"},
    "links": {"type": "array"},
    "images": {"type": "array"},
    "payload": {
        "type": "object",
        "additionalProperties": False,
        "required": ["summary", "source", "severity"],
        "properties": {
            "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
            "source": {"type": "string", "minLength": 1},
            "severity": {"enum": ["critical", "error", "warning", "info"]},
            "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
            "component": {"type": "string"},
            "group": {"type": "string"},
            "class": {"type": "string"},
            "custom_details": {"type": "object"},
        },
    },
}
PAGERDUTY = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["routing_key", "event_action"],
        "properties": _KEYS,
        "if": {"properties": {"event_action": {"const": "trigger"}}},
        "then": {"required": ["payload"]},
        "else": {"required": ["dedup_key"]},
    }
)
KEY = "R0123456789012345678901234567890"
MORE = {"critical": 3, "warning": 1, "info": 0}


def shown(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def test_alertmanager_is_sent_alerts(golden: Golden) -> None:
    """What identifies is a label, what may change is an annotation; it ends by itself if nobody sends it again."""
    alerts = [payload.alertmanager(FLEET, body(state=s), START + 90, over=s == "resolved") for s in STATES]
    alerts += [payload.alertmanager(FLEET, body(family="undetermined"), START + 90, over=False)]
    alerts += [payload.alertmanager_summary(FLEET, "gpu-0417", MORE, START)]

    golden("alerts/alertmanager.json", shown(alerts))
    assert 1 == len({json.dumps(alert["labels"]) for alert in alerts[:3]})
    assert all(value for alert in alerts for part in ("labels", "annotations") for value in alert[part].values())


def test_pagerduty_is_sent_events(golden: Golden) -> None:
    """Each fits what PagerDuty documents, and all of one incident have one key."""
    told = body()
    events = [payload.pagerduty(KEY, event, told) for event in ("open", "acknowledge", "resolve")]
    events += [payload.pagerduty_summary(KEY, HOOK, "gpu-0417", more) for more in (MORE, {})]

    golden("alerts/pagerduty.json", shown(events))
    for event in events:
        PAGERDUTY.validate(event)
    assert 1 == len({event["dedup_key"] for event in events[:3]})


def test_a_fingerprint_that_is_too_long_for_pagerduty_is_cut_and_stays_its_own() -> None:
    long, longer = "gpu-0417/" + "x" * 300, "gpu-0417/" + "x" * 301
    keys = [payload.dedup_key(name) for name in (long, longer)]

    assert [255, 255] == [len(key) for key in keys]
    assert keys[0] != keys[1]
    assert "gpu-0417/1/rule" == payload.dedup_key("gpu-0417/1/rule")


def test_a_webhook_is_sent_the_whole_incident(golden: Golden) -> None:
    """As the published schema says."""
    number = payload.number(HOOK, "gpu-0417/1650123004410/one", "x", 0, "open")
    told = [
        payload.webhook("open", body(), START, number),
        payload.webhook("resolve", body(state="resolved"), START, number),
        payload.webhook("test", payload.test_incident("gpu-0417", START), START, number),
        payload.webhook_summary("gpu-0417", MORE, START, number),
    ]
    schema = json.loads(ALERT.read_text())
    for each in told:
        jsonschema.Draft202012Validator(schema).validate(each)

    golden("alerts/webhook.json", shown(told))
    assert json.loads(REPORT.read_text())["$defs"]["incident_line"]
    assert body() == told[0]["incident"]


def test_people_are_sent_a_few_lines(golden: Golden) -> None:
    told = [payload.message(event, body(state=state)) for event, state in (("open", "open"), ("resolve", "resolved"))]
    told += [payload.message("update", body(family="undetermined", severity="warning"))]
    told += [payload.message_summary("gpu-0417", MORE)]

    golden("alerts/message.json", shown(told))


@pytest.mark.parametrize("secret", ["plain text", "whsec_" + base64.b64encode(b"\x00\x01\xfe\xff" * 6).decode()])
def test_the_signature_is_one_that_others_can_check(secret: str, tmp_path: Path) -> None:
    """Computed once more by openssl, of id, time and body, as standardwebhooks.com says."""
    data = b'{"kind":"alert"}'
    headers = signed(secret, "msg_1", 1_795_000_000, data)
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    mac = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"],
        input=b"msg_1.1795000000." + data,
        capture_output=True,
        check=True,
    ).stdout

    assert f"v1,{base64.b64encode(mac).decode()}" == headers["webhook-signature"]
    assert ("msg_1", "1795000000") == (headers["webhook-id"], headers["webhook-timestamp"])


def test_text_of_a_log_is_made_harmless() -> None:
    """It is shown by chats, pagers and terminals that we know nothing of."""
    told = {**body(), "summary": "\x1b[31m fell \u202e off\nNVRM", "title": "\x00"}

    for made in (
        payload.alertmanager(FLEET, told, START, over=False),
        payload.pagerduty(KEY, "open", told),
        payload.message("open", told)["title"],
    ):
        text = json.dumps(made)
        assert "\\u001b" not in text
        assert "\\u202e" not in text.replace("\\\\u202e", "")
        assert "off\\nNVRM" not in text.replace("off\\\\nNVRM", "")
