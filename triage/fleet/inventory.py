"""Where nodes stand: an inventory file (CSV, JSON or YAML) with a column `node` and whatever else is known.

`rack`, `chassis` and `leaf` (the switch of the network) are what rules ask for;
every other column is a fact of its own name.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

LARGEST = 64 << 20
"""Bytes of an inventory."""
MOST_TEXT = 256


class Unusable(Exception):
    """The file cannot be read or is no inventory; the text says where, why and what would help."""


def load(path: Path) -> dict[str, dict[str, str]]:
    """Return the facts of each node.

    Raises:
        Unusable: if the file cannot be read, or what it holds is no inventory; with what would help.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Unusable(f"{path}: larger than {LARGEST >> 20} MiB; an inventory is one line for each node")
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{path}: not UTF-8 text (byte {error.start}); write it as UTF-8") from error
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(_rows(path, content), 1):
        node = row.get("node")
        if not isinstance(node, str) or not node.strip():
            raise Unusable(f"{path}: entry {number} names no node; every entry needs a column or key `node`")
        found[node.strip()] = {
            str(name): _word(path, number, name, value)
            for name, value in row.items()
            if name and name != "node" and value not in (None, "")
        }
    if not found:
        raise Unusable(f"{path}: holds no entry; write a line `node,rack` and a line for each node")
    return found


def _word(path: Path, number: int, name: object, value: object) -> str:
    """Return a fact as text.  A list is none: one of YAML's aliases, written out, may be larger than all memory."""
    if isinstance(value, (str, bool, int, float, date)):
        return str(value)[:MOST_TEXT]
    raise Unusable(f"{path}: entry {number}: '{str(name)[:40]}' is no word or number; write one, or leave it out")


def _rows(path: Path, content: str) -> Iterable[Mapping[str, Any]]:
    try:
        if path.suffix == ".csv":
            return list(csv.DictReader(content.splitlines(), strict=True))
        if path.suffix == ".json":
            told = json.loads(content)
        elif path.suffix in (".yaml", ".yml"):
            import yaml

            told = yaml.safe_load(content)
        else:
            raise Unusable(f"{path}: name it .csv, .json or .yaml, so that it is known how to read it")
    except (csv.Error, ValueError, RecursionError) as error:
        raise Unusable(f"{path}: {' '.join(str(error).split())}") from error
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise Unusable(f"{path}: {' '.join(str(error).split())}") from error
        raise
    if isinstance(told, dict):  # by node
        told = [{"node": node, **(facts if isinstance(facts, dict) else {})} for node, facts in told.items()]
    if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
        raise Unusable(f"{path}: not a list of entries, nor a mapping of nodes")
    return told
