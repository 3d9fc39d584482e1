"""The JSON Schemas of what this program prints, as files beside this one."""

from __future__ import annotations

from pathlib import Path

REPORT = Path(__file__).parent / "report.v1.json"
