"""The driver's lines are understood whichever way its version begins them."""

from __future__ import annotations

import re

import pytest

from probes.model import LogRecord
from triage.rulebook.load import load
from triage.rulebook.model import SignalPattern
from triage.scanner import Scanner, signal_name

_NAMED = re.compile(r"NVRM:? (?:GPU\d+ )?(?P<function>_?[a-zA-Z]\w+)(?P<rest>: .*)", re.S)
_NO_FUNCTION = ("Xid", "version", "FATAL")


@pytest.mark.parametrize("opening", ["NVRM: GPU0 {}", "NVRM: {}", "NVRM {}"])
def test_a_line_that_names_its_function_is_read_whether_or_not_it_names_the_gpu(opening: str) -> None:
    rulebook = load()
    scanner = Scanner(rulebook)
    examples: list[tuple[SignalPattern, str]] = [
        (pattern, opening.format(named["function"] + named["rest"]))
        for pattern in rulebook.signals
        for example in pattern.examples
        if (named := _NAMED.match(example)) and named["function"] not in _NO_FUNCTION
    ]
    unread = [
        f"{pattern.id}: {line}"
        for pattern, line in examples
        if signal_name(pattern.id) not in {signal.name for signal in scanner.match(LogRecord(line))}
    ]
    assert not unread
    assert len(examples) > 30
