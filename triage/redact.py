"""A capture without the names of a site: who, where and which part becomes a pseudonym, and the verdict stays.

Within one archive the same name always becomes the same pseudonym; the key
that makes them is random and is kept nowhere, so between archives they cannot
be compared, and nobody can turn them back.  UUIDs and serial numbers keep their
shape, because rules and parsers look at it.  PCI addresses, versions, models
and the names of well-known programs stay: the verdict rests on them.

Names are found in two ways: those that the capture knows (its hosts, people,
serial numbers) wherever they stand, and whatever is shaped like an address, an
identity or a path of somebody's own.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from probes.model import Entity, LogRecord, Missing, Reading, Source
from probes.records_text import TEXT_CAP, shorten
from triage import redact_words as words
from triage.capture import Capture

SHORTEST = 3
"""Letters of the shortest name that is looked for everywhere; shorter ones are parts of every line."""


_WHOSE = frozenset(
    {"user", "owner", "account", "pod", "namespace", "container", "job-id", "job-name", "partition", "unit", "step"}
)
"""Last words of the names of readings whose text says whose something is."""


class Redactor:
    """Replaces names.  `names` are those known, by kind: hosts, domains, users, serials, ids."""

    def __init__(self, names: Mapping[str, Iterable[str]], key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(32) if key is None else key
        self._known: dict[str, Callable[[str], str]] = {}
        for name in names.get("domains", ()):
            self._learn(name, self._named("domain"))
        for host in names.get("hosts", ()):
            short, _, domain = host.partition(".")
            self._learn(host, self.host)
            self._learn(short, self.host)
            if "." in domain:
                self._learn(domain, self._named("domain"))
        for user in names.get("users", ()):
            self._learn(user, self._named("user"))
        for name in (*names.get("serials", ()), *names.get("ids", ())):
            self._learn(name, self.shaped)
        joined = [name for name in self._known if not (name.isascii() and name.isalnum())]
        longest_first = "|".join(map(re.escape, sorted(joined, key=len, reverse=True)))
        self._joined = re.compile(rf"(?<![A-Za-z0-9])(?:{longest_first})(?![A-Za-z0-9])", re.I) if joined else None
        self.text = lru_cache(maxsize=1 << 16)(self._text)

    def _learn(self, name: str, how: Callable[[str], str]) -> None:
        name = name.strip().lower()
        if len(name) >= SHORTEST and name not in words.NOT_NAMES and set(name) - set("0-.: "):
            self._known.setdefault(name, how)

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256")

    def _named(self, kind: str) -> Callable[[str], str]:
        return lambda text: f"{kind}-{self._digest(kind, text.lower()).hex()[:8]}"

    def host(self, name: str) -> str:
        """The pseudonym of a host; the same for its short and its full name."""
        if name.lower() in ("localhost", ""):
            return name
        return f"host-{self._digest('host', name.lower().partition('.')[0]).hex()[:8]}"

    def shaped(self, text: str) -> str:
        """A pseudonym of the same shape: digits for digits, letters for letters; all zeros stay."""
        prefix = re.match(r"(?:MIG-)?(?:GPU-)?", text)
        kept = prefix[0] if prefix else ""
        body = text[len(kept) :]
        if not set(body) - set("0-: "):
            return text
        hexadecimal = words.UUID.fullmatch(body) or (words.LONG_ID.fullmatch(body) and not body.isdecimal())
        stream = b""
        while len(stream) < len(body):
            stream += self._digest(f"shape {len(stream)}", body.lower())
        out = []
        for sign, byte in zip(body, stream, strict=False):
            if hexadecimal and sign != "-":
                digit = "0123456789abcdef"[byte % 16]
                out.append(digit.upper() if sign.isupper() else digit)
            elif sign.isdecimal():
                out.append("0123456789"[byte % 10])
            elif sign.isalpha():
                out.append(chr((65 if sign.isupper() else 97) + byte % 26))
            else:
                out.append(sign)
        return kept + "".join(out)

    def program(self, name: str) -> str:
        """The name of a process: as it is if all know the program, else a pseudonym that fits its field."""
        bare = name.strip(" '\"")
        if not bare or words.is_known_program(bare):
            return name
        # A program of Windows is told by its ending.
        ending = re.search(r"\.ex?e?\Z", bare)
        return f"proc-{self._digest('process', bare).hex()[:8]}{ending[0] if ending else ''}"

    def command_line(self, text: str) -> str:
        """The kernel's command line: parameters that a verdict may rest on; of others the name, of init's nothing."""
        parameters, _, _ = text.partition(" -- ")
        kept = []
        for word in parameters.split():
            name, equals, _ = word.partition("=")
            whole = words.KEPT_PARAMETER.match(name) is not None
            kept.append(word if whole else f"{name}=..." if equals else self._named("word")(word))
        return " ".join(kept)

    def _text(self, text: str) -> str:
        """Any text: a line of a log, a path, a reason."""
        text = words.COMMAND_LINE.sub(lambda m: m[1] + self.command_line(m[2]), text)
        text = words.BUILDER.sub("(builder)", text)
        for place in words.PROGRAM_PLACES:
            text = place.sub(lambda m: m[1] + self.program(m[2]), text)
        text = words.UUID.sub(lambda m: self.shaped(m[0]), text)
        text = words.LONG_ID.sub(lambda m: self.shaped(m[0]), text)
        if "@" in text:
            text = words.MAIL.sub(lambda m: self._named("mail")(m[0]), text)
        if "://" in text:
            text = words.URL.sub(lambda m: m[1] + self._named("site")(m[2]), text)
        text = words.STORAGE_NAME.sub(lambda m: self._named("storage")(m[0]), text)
        if "/" in text or "~" in text:
            text = words.HOME.sub(lambda m: f"[{self._named('home')(m[0])}]", text)
            text = words.TILDE.sub(lambda m: f"[{self._named('home')(m[0])}]", text)
            text = words.PATH.sub(self._path, text)
        low = text.lower()
        if any(word in low for word in words.NAMES_PARTS):
            text = words.SERIAL.sub(self._serial, text)
        if "=" in text or ":" in text:
            text = words.ASSIGNED.sub(self._assigned, text)
            text = words.MAC.sub(lambda m: self._named("mac")(m[0]), text)
            text = words.IPV6.sub(self._address, text)
            text = words.GUID.sub(lambda m: self._named("guid")(m[0]), text)
        if any(word in low for word in words.NAMES_HOSTS):
            text = words.AFTER_WORD.sub(self._assigned, text)
        if "." in text:
            text = words.IPV4.sub(self._address, text)
            text = words.DOMAIN.sub(self._domain, text)
        text = words.IPV4_IN_NAME.sub(lambda m: self.host(m[0]), text)
        if self._joined is not None:
            text = self._joined.sub(lambda m: self._known[m[0].lower()](m[0]), text)
        return words.TOKEN.sub(self._token, text)

    def _token(self, found: re.Match[str]) -> str:
        how = self._known.get(found[0].lower())
        return found[0] if how is None else how(found[0])

    def _serial(self, found: re.Match[str]) -> str:
        return found[1] + (self.shaped(found[2]) if any(map(str.isdigit, found[2])) else found[2])

    def _assigned(self, found: re.Match[str]) -> str:
        value = found[2]
        bare = value.strip(".").lower()
        if bare in words.NOT_NAMES or words.PSEUDONYM.match(bare) or words.NO_VALUE.match(bare):
            return found[0]
        known = self._known.get(bare)
        return found[1] + (self._named("name")(value) if known is None else known(value))

    def _address(self, found: re.Match[str]) -> str:
        return found[0] if found[0] in words.NO_ADDRESSES else self._named("ip")(found[0])

    def _domain(self, found: re.Match[str]) -> str:
        name = found[0]
        if words.PSEUDONYM.match(name) or (name.rpartition(".")[2].lower() in words.FILE_ENDS and name.count(".") < 2):
            return name
        return self._known.get(name.lower(), self.host)(name)

    def _path(self, found: re.Match[str]) -> str:
        if found[1] in words.SYSTEM_ROOTS or words.SOURCE_FILE.search(found[0]):
            return found[0]
        return f"[{self._named('path')(found[0])}]"

    def file(self, name: str, content: bytes) -> bytes:
        """The content of a text file, line by line; what is no text is dropped."""
        text = content.decode("utf-8", "replace")
        if name == "proc/sys/kernel/hostname":  # it may be too short to be looked for
            return (self.host(text.strip()) + "\n").encode("utf-8", "replace")
        lines = (self.command_line(text) if name == "proc/cmdline" else text).split("\n")
        return "\n".join(self.text(line) for line in lines).encode("utf-8", "replace")

    def entity(self, entity: Entity) -> Entity:
        """An entity under pseudonyms; where it sits stays."""
        name = entity.name
        if name is not None and entity.kind not in ("gpu", "mig", "switch"):
            kept = entity.kind == "port" and words.KEPT_PORTS.match(name) is not None
            other = self.program if entity.kind == "process" else self._named(entity.kind)
            name = name if kept else other(name)
        return entity._replace(
            uuid=None if entity.uuid is None else self.shaped(entity.uuid),
            serial=None if entity.serial is None else self.shaped(entity.serial),
            name=name,
        )

    def reading(self, reading: Reading) -> Reading:
        """A reading; numbers and flags stay."""
        entity, value = self.entity(reading.entity), reading.value
        if isinstance(value, Missing):
            value = Missing(self.text(value.reason))
        elif isinstance(value, str) and not words.KEPT_READINGS.match(reading.name):
            last = reading.name.rpartition(".")[2]
            if reading.name == "host.name" or last in ("host", "hostname"):
                value = self.host(value)
            elif last in ("uuid", "serial", "guid"):
                value = self.shaped(value)
            elif last == "program":
                value = self.program(value)
            elif last in _WHOSE or reading.name == "job.id":
                value = self._named("job" if last in ("id", "job-id") else last)(value)
            else:
                value = self.text(value)
        return reading._replace(entity=entity, value=value)

    def record(self, record: LogRecord) -> LogRecord:
        """A record; its clocks, level and line number stay."""
        identifier = record.identifier
        if identifier is not None and identifier != "kernel":
            identifier = self.program(identifier)
        boot = record.boot
        if boot is not None and not boot.startswith("#"):
            boot = self.shaped(boot) if re.fullmatch(r"[0-9a-f-]{32,36}", boot) else self.text(boot)
        lines = record.message.split("\n")
        return record._replace(
            message="\n".join(map(self.text, lines)),
            text=self._as_it_stood(record.text, lines[0], record.host),
            host=None if record.host is None else self.host(record.host),
            identifier=identifier,
            boot=boot,
            origin=self.text(record.origin),
        )

    def _as_it_stood(self, text: str, first: str, host: str | None) -> str:
        """The raw line: what stands before the message, and the message as it is replaced elsewhere."""
        start = text.find(first[:40]) if first else -1
        if host and len(host) < SHORTEST:
            # Looked for where a log has its host, before the message; elsewhere it is a part of other words.
            end = len(text) if start < 0 else start
            head = re.sub(
                rf"(?<![^\s\"]){re.escape(host)}(?=[\s:\",]|$)", lambda m: self.host(m[0]), text[:end], count=1
            )
            text, start = head + text[end:], start if start < 0 else len(head)
        if start < 0 or not first.startswith(text[start:].rstrip("…")):
            return self.text(text)
        return shorten(self.text(text[:start]) + self.text(first), TEXT_CAP)

    def answer(self, answer: Any) -> Any:
        """An answer of the history: texts in it may be boot ids, and sentences."""
        if isinstance(answer, str):
            return self.text(answer)
        if isinstance(answer, list):
            return [self.answer(each) for each in answer]
        return {name: self.answer(each) for name, each in answer.items()} if isinstance(answer, dict) else answer

    def source(self, source: Source) -> Source:
        """A source; a reason may quote a name."""
        reason = None if source.reason is None else self.text(source.reason)
        return source._replace(origin=self.text(source.origin), reason=reason)


def names_in(capture: Capture) -> dict[str, list[str]]:
    """Return every name that the capture itself knows, by kind."""
    names = {kind: list(known) for kind, known in capture.private.items()}
    hosts = names.setdefault("hosts", [])
    serials, ids = names.setdefault("serials", []), names.setdefault("ids", [])
    hosts += [capture.node] if capture.node else []
    for reading in capture.readings:
        entity = reading.entity
        if reading.name == "host.name" and isinstance(reading.value, str):
            hosts.append(reading.value)
        elif reading.name in ("job.user", "process.user") and isinstance(reading.value, str):
            names.setdefault("users", []).append(reading.value)
        serials += [entity.serial] if entity.serial and len(entity.serial) > 5 else []
        ids += [entity.uuid.partition("-")[2]] if entity.uuid else []
    seen: set[str] = set()
    for record in capture.records:
        if record.host and record.host not in seen:
            seen.add(record.host)
            hosts.append(record.host)
        if record.boot and not record.boot.startswith("#") and record.boot not in seen:
            seen.add(record.boot)
            ids.append(record.boot)
    return names


def redact(capture: Capture, key: bytes | None = None) -> Capture:
    """Return the capture under pseudonyms made with a random key (`key` is for tests)."""
    redactor = Redactor(names_in(capture), key)
    return capture._replace(
        node=None if capture.node is None else redactor.host(capture.node),
        readings=[redactor.reading(reading) for reading in capture.readings],
        records=[redactor.record(record) for record in capture.records],
        sources=[redactor.source(source) for source in capture.sources],
        files={name: redactor.file(name, content) for name, content in capture.files.items()},
        private={},
        redacted=True,
        notes=[redactor.text(note) for note in capture.notes],
        history=None if capture.history is None else {q: redactor.answer(a) for q, a in capture.history.items()},
    )


def same_verdicts(one: Sequence[Mapping[str, object]], other: Sequence[Mapping[str, object]]) -> bool:
    """Whether two lists of incidents (of reports) say the same but for names."""
    return [_verdict(incident) for incident in one] == [_verdict(incident) for incident in other]


def _verdict(incident: Mapping[str, object]) -> tuple[object, ...]:
    return (incident["rule"], incident["severity"], incident["state"], incident["seen"], incident["verdict"])
