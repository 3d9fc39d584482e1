"""Where alerts go, as a file says: read, held against its schema, and turned into values.

    targets:
      - name: oncall
        severity: critical
        pagerduty: {key: {file: /etc/gpu-triage/pagerduty.key}}

A secret never stands in the file itself.  Which file: the one that is named, else
GPU_TRIAGE_ALERTS (empty is for none), else that of the user, else that of the system.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from probes.named import NamedTuple
from triage.alert.secret import Secret, Unreadable
from triage.model import SEVERITIES
from triage.rulebook import shape, yamlload
from triage.rulebook.folders import user_folder
from triage.rulebook.model import Place
from triage.rulebook.problems import Problem, RulebookError

SCHEMA = Path(__file__).parent / "config.v1.json"
SYSTEM = Path("/etc/gpu-triage/alerts.yaml")
VARIABLE = "GPU_TRIAGE_ALERTS"
KINDS = ("alertmanager", "pagerduty", "webhook", "apprise")
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
PREFIX = "whsec_"
"""With which the secret of a standard webhook begins, if it is in Base64."""
LIMIT = 20
MOST_TARGETS = 32
"""Each has a thread."""
_ADDRESS = re.compile(r"https?://[^\s/?#@]+([/?][^\s#]*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Target(NamedTuple):
    """Who is told, of what, and how."""

    name: str
    kind: str
    url: str | Secret
    severity: str = "warning"
    family: tuple[str, ...] = ()
    limit: int | None = LIMIT
    timeout: float = 10.0
    allow_link_local: bool = False
    key: Secret | None = None
    bearer: Secret | None = None
    user: str | None = None
    password: Secret | None = None
    ca: str | None = None
    proxy: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    resend: float = 60.0
    expires: float = 7200.0

    def wants(self, severity: str, family: str) -> bool:
        """Return whether an incident of this severity, blamed on this family, is told."""
        bad = SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)
        return bad and (not self.family or family in self.family)

    @property
    def where(self) -> str:
        """What may be printed of its address: neither path nor query, for those may be secret."""
        if isinstance(self.url, Secret):
            return f"address in {self.url}"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def secrets(self) -> dict[str, str]:
        """Return what its secrets are now.

        Raises:
            Unreadable: if one cannot be had, or is no proper one.
        """
        named = {"url": self.url, "key": self.key, "bearer": self.bearer, "password": self.password}
        found = {name: secret.read() for name, secret in named.items() if isinstance(secret, Secret)}
        if self.kind == "webhook":
            try:
                signing_key(found["key"])
            except (ValueError, binascii.Error):
                raise Unreadable(f"its secret in {self.key} begins with {PREFIX} and is not Base64") from None
        return found


def signing_key(secret: str) -> bytes:
    """Return the bytes by which a webhook is signed."""
    if secret.startswith(PREFIX):
        return base64.b64decode(secret[len(PREFIX) :], validate=True)
    return secret.encode()


def standard_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the file that holds where nobody named one, None if there is none."""
    env = os.environ if environ is None else environ
    if VARIABLE in env:
        return Path(env[VARIABLE]) if env[VARIABLE] else None
    own = user_folder(env)
    mine = [own / "alerts.yaml"] if own is not None and os.geteuid() != 0 else []
    return next((path for path in (*mine, SYSTEM) if os.path.lexists(path)), None)


def load(path: Path) -> tuple[Target, ...]:
    """Read the targets of a file.

    Raises:
        RulebookError: with everything that is wrong, and where.
    """
    problems: list[Problem] = []
    _see_owner(path)
    _, document = yamlload.read(path, str(path), problems)
    if document is not None and not problems:
        problems += shape.check(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    if document is None or problems:
        raise RulebookError(problems)
    targets = [_target(body) for body in document.root["targets"]]
    for number, target in enumerate(targets):
        place = document.place("targets", number)
        problems += [Problem(place, said) for said in _wrong(target, [other.name for other in targets[:number]])]
    if len(targets) > MOST_TARGETS:
        problems.append(Problem(document.place("targets"), f"there are more than {MOST_TARGETS} targets"))
    if problems:
        raise RulebookError(problems)
    return tuple(targets)


def _see_owner(path: Path) -> None:
    """Refuse to read as root what others can write: it names files that are then sent somewhere."""
    try:
        found = os.stat(path)
    except OSError:
        return  # what is wrong is told by whoever reads it
    if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        says = "others than root can write it; chown it to root and chmod it to 0600"
        raise RulebookError([Problem(Place(str(path), 1, 1), says)])


def _target(body: Mapping[str, Any]) -> Target:
    kind = next(kind for kind in KINDS if kind in body)
    own: Mapping[str, Any] = body[kind]

    def secret(name: str) -> Secret | None:
        value = own.get(name)
        return None if value is None else Secret(value.get("file"), value.get("env"))

    url = own.get("url", PAGERDUTY)
    plain = {name: body[name] for name in ("severity", "timeout", "allow_link_local") if name in body}
    plain |= {name: own[name] for name in ("user", "ca", "proxy", "resend", "expires") if name in own}
    return Target(
        name=body["name"],
        kind=kind,
        url=url if isinstance(url, str) else Secret(url.get("file"), url.get("env")),
        family=tuple(body.get("family", ())),
        limit=body.get("limit", None if kind == "alertmanager" else LIMIT),
        key=secret("key") or secret("secret"),
        bearer=secret("bearer"),
        password=secret("password"),
        labels=tuple(sorted(own.get("labels", {}).items())),
        **plain,
    )


def _wrong(target: Target, before: list[str]) -> list[str]:
    """Return what no schema says.  Nothing that may be a secret in the wrong place is shown."""
    found = []
    if target.name in before:
        found.append(f"a second target is called '{target.name}'; names tell them apart in the queue")
    secrets = [target.url, target.key, target.bearer, target.password]
    for secret in secrets:
        if isinstance(secret, Secret) and secret.file is not None and not secret.file.startswith("/"):
            found.append(f"target '{target.name}': the file of a secret is named by an absolute path")
        elif isinstance(secret, Secret) and secret.env is not None and not _VARIABLE.fullmatch(secret.env):
            found.append(f"target '{target.name}': the variable of a secret is named by letters, digits and _")
    if target.ca is not None and not target.ca.startswith("/"):
        found.append(f"target '{target.name}': 'ca' must be an absolute path")
    for address in (target.url, target.proxy):
        if isinstance(address, str) and not _is_address(address):
            return [*found, f"an address of target '{target.name}' is no http:// or https:// without a password in it"]
    if target.kind == "pagerduty" and isinstance(target.url, str):
        parts = urlsplit(target.url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            found.append(f"target '{target.name}' would send its key in the clear; write https://")
    if target.kind == "alertmanager" and target.expires < 2 * target.resend:
        found.append(f"target '{target.name}' sends again after {target.resend:g} s; 'expires' must be twice as much")
    if target.proxy is not None and not target.proxy.startswith("http://"):
        found.append(f"target '{target.name}': a proxy is reached by http://, with CONNECT for https")
    reserved = {"alertname", "severity", "node", "gpu", "fingerprint", "tool"} & {name for name, _ in target.labels}
    if reserved:
        found.append(f"target '{target.name}' must not set the label {sorted(reserved)[0]}, which each alert has")
    return found


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return _ADDRESS.fullmatch(text) is not None and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        return False
