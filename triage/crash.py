"""Puts the lines of an oops, panic, warning or lockup together into one signal: what died, in whose code.

The head lines are signals of their own (`crash.*`, in `rules/signals/`); what
follows them, RIP, frames, taint and the task, is read here, because it only
means something together.  The result is one signal named `crash` with fields

- `kind`: the head's name without `crash.`; `trace` where the head is cut off; `stumbled` where an allocator fell over
  what somebody had written into free memory before: neither it nor who called it is to blame
- `nowhere`: where the CPU had jumped to, if no function is there; `unloaded`: the module that was unloaded last
- `module`: whose code it died in: the module of the function that the head names
  or of RIP (pc on arm64), else of the source file a WARNING names, else of the
  first reliable frame that has one, else `kernel`; empty if there is neither RIP
  nor frame.  A check of the kernel that only finds corruption (a list, a
  reference count, an allocator) blames its caller, never itself
- `origin`: where that module comes from: `nvidia`, `kernel` (its core) or `in-tree`; empty where nobody can tell.
  A kernel whose taint lacks the `O` runs no module but its own
- `by`: head, rip, path, frame, work or task, whichever told; waiting, where a CPU that hung waited for others
- `wait`: for a hung task, the first function that is not the scheduler's: a lock, or the work itself
- `frames`: the modules of all reliable frames, outermost last, comma separated; what a kworker was running
  (`Workqueue:`) is one, if a module's
- `origins`: where those come from, each once
- `left_overs`: the modules that frames marked `?` name, comma separated
- `symbol`, `comm`, `task`, `path`, `taint`: as printed (`taint`: the letters, or `Not tainted`)
- `panic`: yes, if the kernel gave up

Frames marked `?` are left-overs on the stack and never name the `module`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from probes.model import LogRecord
from triage.model import Signal

if TYPE_CHECKING:
    from triage.crash_lines import Crash

QUIET_RECORDS = 40
"""Records without anything of a crash in them after which one is over."""

# A frame, RIP in a module, or the last words of a process: what a crash whose head is cut off begins with.
_BEGINS = re.compile(
    r"\s*(?:\[<[0-9a-f]+>\]\s*)?(?:\?\s+)?[A-Za-z_][\w.$]*(?:\+0x[0-9a-f]+/0x[0-9a-f]+)(?:\s+\[[^\]]*\])?\s*\Z"
    r"|note: [^\[\s]{1,15}\[\d+\] exited with"
    r"|(?:RIP: [0-9a-f]{4}:|pc : )[\w.$]+\+0x[0-9a-f]+/0x[0-9a-f]+\s*\[[\w-]+"
)


class Crashes:
    """Reads records one by one and yields a `crash` signal when one has ended."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._open: Crash | None = None

    @property
    def underway(self) -> bool:
        """Whether a crash has begun and not ended."""
        return self._open is not None

    def idle(self, record: LogRecord) -> bool:
        """Whether a record without a signal belongs to no crash and begins none."""
        return self._open is None and _BEGINS.match(record.message) is None

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
                current = self._open = _crash(record, kind, self._modules)
            current.head(head, kind)
        if current is None and not heads and _BEGINS.match(record.message):
            current = self._open = _crash(record, "trace", self._modules)
        if current is not None:
            current.line(record.message)

    def close(self) -> Iterator[Signal]:
        """End the crash under way, if there is one."""
        if self._open is not None:
            yield self._open.signal()
        self._open = None


def _crash(record: LogRecord, kind: str, modules: Mapping[str, str]) -> Crash:
    from triage.crash_lines import Crash  # here, because most logs hold no crash

    return Crash(record, kind, modules)
