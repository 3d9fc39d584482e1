"""Who is alerted, as a file says: what is right in it, and what of everything wrong is told where."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.alert.conftest import Configure
from triage.alert import config
from triage.alert.config import load, signing_key, standard_file
from triage.alert.secret import Secret, Unreadable
from triage.rulebook import shape
from triage.rulebook.problems import RulebookError

WHOLE = (
    "{name: fleet, alertmanager: {url: 'https://am:9093/base', labels: {cluster: prod}, bearer: {env: AM}}}",
    "{name: oncall, severity: critical, pagerduty: {key: {file: /etc/gpu-triage/pd.key}}}",
    "{name: hands, family: [hardware], limit: 5, webhook: {url: {env: URL}, secret: {env: KEY}, proxy: 'http://p:3128'}}",
    "{name: chat, timeout: 5, apprise: {url: {file: /run/credentials/chat}}}",
)


def test_each_kind_of_target_is_understood(configure: Configure) -> None:
    """With what holds where nothing is said."""
    fleet, oncall, hands, chat = load(configure(*WHOLE))

    assert ("alertmanager", None, (("cluster", "prod"),), Secret(env="AM")) == (
        fleet.kind,
        fleet.limit,
        fleet.labels,
        fleet.bearer,
    )
    assert ("https://events.pagerduty.com", "critical", 20) == (oncall.where, oncall.severity, oncall.limit)
    assert (("hardware",), 5, "http://p:3128", "address in variable URL") == (
        hands.family,
        hands.limit,
        hands.proxy,
        hands.where,
    )
    assert ("apprise", 5.0, "warning") == (chat.kind, chat.timeout, chat.severity)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("{name: a}", "target 'a' needs exactly one of alertmanager, pagerduty, webhook or apprise"),
        ("{name: a, pagerduty: {key: R0UT1NGKEY}}", "'key' in pagerduty must be a mapping, not text"),
        ("{name: a, pagerduty: {key: {}}}", "secret needs exactly one of file or env"),
        ("{name: a, pagerduty: {key: {file: hunter2}}}", "named by an absolute path"),
        ("{name: a, pagerduty: {key: {env: 'hunter2!'}}}", "named by letters, digits and _"),
        ("{name: A b, apprise: {url: {env: X}}}", "is no name: small letters"),
        ("{name: a, severty: info, apprise: {url: {env: X}}}", "unknown key 'severty' in target 'a'; did you mean"),
        ("{name: a, severity: bad, apprise: {url: {env: X}}}", "not one of info, warning, critical"),
        ("{name: a, webhook: {url: 'http://u:hunter2@h/', secret: {env: X}}}", "without a password in it"),
        ("{name: a, webhook: {url: 'https://h/'}}", "missing key 'secret' in webhook"),
        ("{name: a, webhook: {url: 'https://h:99999/', secret: {env: X}}}", "is no http:// or https://"),
        ("{name: a, pagerduty: {url: 'http://pd/', key: {env: X}}}", "would send its key in the clear"),
        ("{name: a, alertmanager: {url: 'http://am', resend: 600, expires: 600}}", "'expires' must be twice"),
        ("{name: a, alertmanager: {url: 'http://am', labels: {node: x}}}", "must not set the label node"),
        ("{name: a, alertmanager: {url: 'http://am', user: me}}", "'user' needs password beside it"),
        ("{name: a, alertmanager: {url: 'http://am', proxy: 'https://p'}}", "a proxy is reached by http://"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(configure: Configure, target: str, says: str) -> None:
    """Before anything is sent."""
    with pytest.raises(RulebookError) as caught:
        load(configure(target))

    assert says in str(caught.value)
    assert "alerts.yaml:2:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_two_targets_of_one_name_are_refused(configure: Configure) -> None:
    """The queue tells them apart by it."""
    with pytest.raises(RulebookError, match="a second target is called 'fleet'"):
        load(configure(WHOLE[0], WHOLE[0]))


def test_the_example_in_the_documentation_is_one(tmp_path: Path) -> None:
    """Whoever copies it begins with something that works."""
    text = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "alerts.yaml").write_text(text)

    assert ["fleet", "oncall", "tickets", "chat"] == [target.name for target in load(tmp_path / "alerts.yaml")]


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match=r"none.yaml:1:1: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_the_schema_is_one_and_uses_only_what_is_checked() -> None:
    """A keyword that the reader does not know would be ignored in silence."""
    schema = json.loads(config.SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)

    def keywords(value: object, named: bool = False) -> set[str]:
        if isinstance(value, dict):
            below = {
                word
                for key, part in value.items()
                for word in keywords(part, key in ("properties", "definitions", "dependencies") and not named)
            }
            return below if named else below | set(value)
        return {word for part in value for word in keywords(part)} if isinstance(value, list) else set()

    assert set() == keywords(schema) - shape.KEYWORDS - shape.ANNOTATIONS


def test_secrets_are_read_each_time_and_shown_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file or the environment; what tells of them tells only where they stand."""
    file = tmp_path / "key"
    file.write_text("hunter2\n")
    monkeypatch.setenv("KEY", "hunter3")

    assert "hunter2" == Secret(str(file)).read()
    file.write_text("hunter4")
    assert "hunter4" == Secret(str(file)).read()
    assert "hunter3" == Secret(env="KEY").read()
    assert "hunter" not in f"{Secret(str(file))!r} {Secret(env='KEY')!r} {Secret(env='KEY')}"
    for secret, why in (
        (Secret(str(tmp_path / "no")), "no such file"),
        (Secret(env="NOT_THERE"), "empty, or too long, or not there"),
        (Secret("/dev/zero"), "empty, or too long, or not there"),
    ):
        with pytest.raises(Unreadable, match=why):
            secret.read()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="empty, or too long, or not there"):
        Secret(str(tmp_path / "pipe")).read()
    file.write_text("two\nlines")
    with pytest.raises(Unreadable, match="not one line"):
        Secret(str(file)).read()


def test_a_signing_secret_in_base64_is_decoded_and_any_other_is_taken_as_it_is() -> None:
    assert b"\x01\x02\x03" == signing_key("whsec_AQID")
    assert b"plain text" == signing_key("plain text")


def test_which_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable before the user's, and the user's before the system's; root has none of its own."""
    monkeypatch.setattr(config, "SYSTEM", tmp_path / "etc.yaml")
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert standard_file(home) is None
    (tmp_path / "etc.yaml").touch()
    mine = tmp_path / "gpu-triage" / "alerts.yaml"
    mine.parent.mkdir()
    mine.touch()

    assert Path("/x.yaml") == standard_file({**home, "GPU_TRIAGE_ALERTS": "/x.yaml"})
    assert standard_file({**home, "GPU_TRIAGE_ALERTS": ""}) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert mine == standard_file(home)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert tmp_path / "etc.yaml" == standard_file(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be made to send what others may not read")
def test_root_reads_no_file_that_others_can_write(configure: Configure) -> None:
    """It names files whose contents are then sent somewhere."""
    path = configure(WHOLE[0])
    path.chmod(0o664)
    with pytest.raises(RulebookError, match="others than root can write it"):
        load(path)
    path.chmod(0o644)
    os.chown(path, 12345, -1)
    with pytest.raises(RulebookError, match="others than root can write it"):
        load(path)
