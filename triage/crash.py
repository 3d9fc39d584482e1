"""Puts the lines of an oops, panic, warning or lockup together into one signal: what died, in whose code.

The head lines are signals of their own (`crash.*`, in `rules/signals/`); what
follows them, RIP, frames, taint and the task, is read here, because it only
means something together.  The result is one signal named `crash` with fields

- `kind`: the head's name without `crash.`; `trace` where the head is cut off
- `module`: whose code it died in: the module of RIP (pc on arm64), else of the
  source file a WARNING names, else of the first reliable frame that has one,
  else `kernel`; empty if there is neither RIP nor frame
- `by`: rip, path, frame or task, whichever told
- `frames`: the modules of all reliable frames, outermost last, comma separated
- `symbol`, `comm`, `task`, `path`, `taint`: as printed
- `panic`: yes, if the kernel gave up

Frames marked `?` are left-overs on the stack and never blame anyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from probes.model import LogRecord
from triage.model import Signal

QUIET_RECORDS = 40
"""Records without anything of a crash in them after which one is over."""
MAX_FRAMES = 200

_RIP = re.compile(r"(?:RIP|EIP|pc)\s*: (?:[0-9a-f]{2,4}:)?(?:\[?<?[0-9a-f]{8,16}>?\]?\s*)?([\w.$]+)(?:\+0x|$|/)")
_IN_MODULE = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+\s*\[([\w-]+)")
_FRAME = re.compile(
    r"(\?\s+)?(?<![\w.$])([A-Za-z_][\w.$]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+|\+\d+/\d+\])(?:\s+\[([A-Za-z][\w-]*)[^\]]*\])?"
)
_FRAME_LINE = re.compile(
    r"\s*(?:\[<[0-9a-f]+>\]\s*)?(?:\?\s+)?[A-Za-z_][\w.$]*(?:\+0x[0-9a-f]+/0x[0-9a-f]+)(?:\s+\[[^\]]*\])?\s*\Z"
)
_COMM = re.compile(r"(?:Comm: |task )([^:\s][^:]{0,15}?)(?:$|\s+(?:Kdump|Tainted|Not tainted|blocked)|:\d+)")
_TAINT = re.compile(r"Tainted: ((?:[A-Z] *)+)")
_PATH = re.compile(r"(?:at |in )((?:[\w.-]+/)+[\w.-]+\.[chS])")
_NOTE = re.compile(r"note: ([^\[\s]{1,15})\[\d+\] exited with")
_PART = re.compile(
    r"Call [Tt]race|Modules linked in|RIP: |[RE]?[A-D]X: |R\d\d: |x\d+ ?: |[CDEFG]S: |CR2: |Code: |</?TASK>|PGD |#PF"
    r"|pstate|[ls][rp] : |---\[|pc : |Hardware name|Workqueue: |CPU: |PKRU|DR\d: |Tainted|Not tainted|note: "
    r"|(?:Read|Write) of size"
)


class Crashes:
    """Reads records one by one and yields a `crash` signal when one has ended."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._open: _Crash | None = None

    def feed(self, record: LogRecord, signals: Sequence[Signal]) -> Iterator[Signal]:
        """Take one record with the signals found in it."""
        if not record.kernel:
            return
        heads = [s for s in signals if s.name.startswith("crash.")]
        current = self._open
        if current is not None and (record.boot != current.record.boot or current.quiet > QUIET_RECORDS):
            yield from self.close()
            current = None
        for head in heads:
            kind = head.name[len("crash.") :]
            if current is None or (current.body and kind not in ("panic", "oops") and not current.fresh):
                yield from self.close()
                current = self._open = _Crash(record, kind, self._modules)
            current.head(head, kind)
        if current is None and not heads and _FRAME_LINE.match(record.message):
            current = self._open = _Crash(record, "trace", self._modules)
        if current is None and not heads and _NOTE.match(record.message):
            current = self._open = _Crash(record, "trace", self._modules)
        if current is not None:
            current.line(record.message)

    def close(self) -> Iterator[Signal]:
        """End the crash under way, if there is one."""
        if self._open is not None:
            yield self._open.signal()
        self._open = None


class _Crash:
    def __init__(self, record: LogRecord, kind: str, modules: Mapping[str, str]) -> None:
        self.record = record
        self.quiet = 0
        self.body = 0
        self.fresh = True
        self._modules = modules
        self._fields: dict[str, str] = {"kind": kind}
        self._frames: list[tuple[str, str]] = []
        self._rip: str | None = None

    def head(self, head: Signal, kind: str) -> None:
        if kind == "panic":
            self._fields["panic"] = "yes"
        for name, value in head.fields.items():
            self._fields.setdefault(name, value)
        self._fields["heads"] = ",".join(dict.fromkeys([*self._fields.get("heads", "").split(","), kind])).strip(",")
        self.quiet = 0

    def line(self, message: str) -> None:
        before = self.body
        rip = _RIP.search(message)
        if rip and self._rip is None and not message.lstrip().startswith("mce"):
            self._rip = rip[1]
            inside = _IN_MODULE.search(message, rip.start())
            self._fields["symbol"] = rip[1]
            self._fields["module"] = self._name(rip[1], inside[1] if inside else None) or "kernel"
            self._fields["by"] = "rip"
            self.body += 1
        elif not rip and "+" in message and "/" in message and "Code:" not in message:
            for unreliable, symbol, module in _FRAME.findall(message):
                self.body += 1
                if not unreliable and len(self._frames) < MAX_FRAMES:
                    self._frames.append((symbol, self._name(symbol, module or None) or "kernel"))
        for name, regex in (("comm", _COMM), ("taint", _TAINT), ("path", _PATH), ("comm", _NOTE)):
            found = regex.search(message)
            if found:
                self._fields.setdefault(name, found[1].strip())
        if self.body > before or _PART.search(message):
            self.quiet = 0
            self.body += 1
        else:
            self.quiet += 1
        if "end trace" in message or self.body > before:
            self.fresh = False

    def signal(self) -> Signal:
        fields = self._fields
        path_owner = self._owner(fields.get("path", ""), "/")
        if "module" not in fields or fields["module"] == "kernel":
            frame = next((module for _, module in self._frames if module != "kernel"), None)
            if path_owner:
                fields["module"], fields["by"] = path_owner, "path"
            elif frame:
                fields["module"], fields["by"] = frame, "frame"
            elif self._frames:
                fields["module"] = "kernel"
                fields.setdefault("by", "frame")
            else:
                task = self._owner(fields.get("comm", ""), None)
                if "module" not in fields and task:
                    fields["module"], fields["by"] = task, "task"
        fields.setdefault("symbol", self._frames[0][0] if self._frames else "")
        fields["frames"] = ",".join(dict.fromkeys(module for _, module in self._frames))
        return Signal("crash", None, fields, self.record)

    def _name(self, symbol: str, module: str | None) -> str | None:
        """Return the module that a frame prints, else the one its symbol's prefix belongs to."""
        if module:
            return module.replace("-", "_")
        return self._owner(symbol, None)

    def _owner(self, text: str, separator: str | None) -> str | None:
        """Return the module whose known prefix (of a symbol, task or, with `separator`, source path) this has."""
        if not text:
            return None
        for prefix, module in self._modules.items():
            if ("/" in prefix) == (separator == "/") and (prefix in text if separator else text.startswith(prefix)):
                return module
        return None
