"""Reports made by hand, and golden files that change only when asked to."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.triage.samples import assessment, off_bus, report_of, timeout

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def full() -> dict[str, Any]:
    """A report with a decided and an undetermined incident."""
    return report_of(assessment(off_bus(), timeout()))


@pytest.fixture
def quiet() -> dict[str, Any]:
    """A report of a node on which all is well."""
    healthy = assessment(status="ok")
    return report_of(healthy._replace(sources=healthy.sources[:1], notices=()))


@pytest.fixture
def unknown() -> dict[str, Any]:
    """A report that can say nothing."""
    return report_of(assessment(status="unknown")._replace(node=None, gpus=()))


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare text with a file of tests/golden; UPDATE_GOLDEN=1 writes the file and fails, so that it is looked at."""

    def compare(name: str, actual: str) -> None:
        path = GOLDEN / name
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if actual == expected:
            return
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
            pytest.fail(f"wrote {path}; look at it, then run again without UPDATE_GOLDEN")
        lines = difflib.unified_diff(expected.splitlines(), actual.splitlines(), str(path), "now", lineterm="")
        pytest.fail("\n".join(lines))

    return compare
