"""What a watch knows, and what it concludes from it: the axis of signals, the latest readings, the history.

Records are fed in as they come; `decide` concludes from all that is known by then
and writes it, with what is to be told, in one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from probes.model import LogRecord, Reading, Source
from probes.moment import moment
from probes.named import NamedTuple
from probes.pci import same_device
from triage import __version__
from triage.assess import conclude
from triage.history import sweep
from triage.history.place import Unavailable
from triage.history.store import Store, in_memory, open_store
from triage.report import to_report
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.timeline import Axis, Spans
from triage.watch import telling
from triage.watch.telling import Cursor

Json = dict[str, Any]

MOST_SIGNALS = 4000
"""Distinct signals that are kept; with as many the oldest quarter goes.  Open incidents are kept by the history."""
PATIENCE = 2.0
"""Seconds for which a sweep beside this watch is waited for when both write the history."""


class Notice(NamedTuple):
    """Something to be told of the watch itself: a word for it, a sentence, and figures."""

    what: str
    says: str
    facts: Json


class Judge:
    """The knowledge of one node.  `notices` are told with the next decision."""

    def __init__(self, rulebook: Rulebook, directory: Path | None) -> None:
        """Know nothing yet; without a directory, or a usable one, the history lasts as long as this does."""
        self.node = os.uname().nodename
        self.notices: list[Notice] = []
        self.report: Json | None = None
        self.began = moment().monotonic
        self._directory = directory
        self._ram: Store | None = None
        self._file: Store | None = None
        self._keeps_file = True
        self._told = telling.Told({}, 0)
        self._readings: Sequence[Reading] = ()
        self._counted: Sequence[Source] = ()
        self._fresh = False
        self.use(rulebook)
        if directory is None:
            self._ram = in_memory()

    def use(self, rulebook: Rulebook) -> None:
        """Judge by these rules from now on; what was read of the log is to be fed in anew."""
        self.rulebook = rulebook
        self._lasts = {rule.id: rule.lasts for rule in rulebook.rules}
        self._spans = Spans()
        self._scanner = Scanner(rulebook)
        self._axis = Axis(self._spans, MOST_SIGNALS + 1)

    @property
    def has_readings(self) -> bool:
        """Whether the counters have been read."""
        return bool(self._counted)

    @property
    def crash_underway(self) -> bool:
        """Whether the lines of a crash are being put together."""
        return self._scanner.crashes.underway

    def feed(self, records: Iterable[LogRecord]) -> bool:
        """Take records in; whether any of them meant something."""
        found = False
        for record in self._spans.watch(records):
            for signal in self._scanner.feed(record):
                found = True
                self._axis.take(signal)
                if self._axis.kept >= MOST_SIGNALS:
                    self._axis.forget(MOST_SIGNALS * 3 // 4)
        return found

    def close_crash(self) -> bool:
        """Take the crash under way for complete."""
        found = False
        for signal in self._scanner.crashes.close():
            found = True
            self._axis.take(signal)
        return found

    def missed(self, record: LogRecord) -> None:
        """Note that records before this one, which was fed in, were lost."""
        self._spans.missed((record.origin, record.boot), record.at, record.monotonic)

    def counted(self, readings: Sequence[Reading], sources: Sequence[Source], began: float) -> None:
        """Take new readings in, which were begun at this time of CLOCK_MONOTONIC."""
        before = {source.kind: source.readable for source in self._counted}
        for source in sources:
            if source.kind == "nvml" and source.readable != before.get(source.kind, True):
                what, says = ("nvml-readable", "it is read again") if source.readable else ("nvml-unreadable", "")
                self.note(what, f"NVML: {source.reason or says or 'it cannot be read'}")
        self._readings, self._counted, self._fresh, self.began = readings, sources, True, began

    def knows_xid(self, pci: str | None, number: int, since: float) -> bool:
        """Whether the kernel log told this Xid of this GPU at or after a time (epoch seconds)."""
        return any(
            signal.fields.get("xid") == str(number)
            and (signal.last_at or 0.0) >= since
            and (pci is None or signal.pci is None or same_device(signal.pci, pci))
            for signal in self._axis.timeline().by_name.get("xid", ())
        )

    def note(self, what: str, says: str, **facts: Any) -> None:
        """Put down something to be told with the next decision."""
        self.notices.append(Notice(what, says, facts))

    def open(self) -> sweep.Memory:
        """Open the history."""
        memory = sweep.begin(self._directory, patience=PATIENCE, borrowed=self._ram or self._kept())
        memory.began = memory.began._replace(monotonic=self.began)
        if memory.store is None:
            self._go_on(memory.notices)
            memory = sweep.begin(None, borrowed=self._ram)
        return memory

    def decide(self, memory: sweep.Memory, log: Source, cursor: Cursor | None, *, been_here: bool) -> Json | None:
        """Conclude, and write it with what is to be told of it; None if it could not be written.

        Call it again then: the file is opened anew, and if that does not help either it goes on without.
        """
        now = moment()
        sources = [log, *self._counted]
        past, known = memory.past(memory.named(self._readings), now)
        found = conclude(self.rulebook, self._axis.timeline(), known, sources, node=self.node, now=now.at, history=past)
        report = to_report(
            found,
            generated_at=now.at,
            tool_version=__version__,
            causes=self.rulebook.causes,
            rules=self.rulebook.digest,
        )
        told = list(self.notices)

        def also(db: Any, said: Json) -> None:
            for notice in told:
                telling.notice(db, self.node, now.at, *notice)
            telling.tell(db, said, now, been_here=been_here)
            if cursor is not None:
                telling.move(db, cursor)
            self._told = telling.so_far(db)

        said = memory.remember(
            report,
            incidents=found.incidents,
            lasts=self._lasts,
            read=known,
            sources=sources,
            now=now,
            fresh=self._fresh,
            also=also,
        )
        if memory.written is None:
            if self._file is None:
                self._go_on(memory.notices)
            self._let_go()
            self._keeps_file = False
            return None
        del self.notices[: len(told)]
        self._fresh = False
        self.report = said
        return said

    def close(self) -> None:
        """Let go of the history."""
        self._let_go()
        if self._ram is not None:
            self._ram.close()

    def _kept(self) -> Store | None:
        """The history's file, open since the decision before: to open and close it is most of what one costs.

        Once it could not be written it is opened for each decision, which mends what can be mended.
        """
        if self._file is not None and not self._file.is_current:
            self._let_go()
        if self._file is None and self._keeps_file and self._directory is not None:
            with suppress(Unavailable):  # whoever opens it next says why
                self._file = open_store(self._directory, now=moment().at, patience=PATIENCE)
        return self._file

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _go_on(self, notices: Sequence[str]) -> None:
        """Go on without the file, with what of it can be read."""
        if self._ram is not None:
            return
        why = "; ".join(notices) or "it cannot be used"
        self._ram = in_memory()
        telling.go_on(self._ram.db, self._told)
        self.note("history-lost", f"{why}; until this watch is started again, what it finds is kept in memory only")
