"""`nvidia-smi -q -x`, read by a parser that follows nothing and expands nothing.

The one document type that nvidia-smi names is accepted by name only; an
internal subset, an entity or anything that would be fetched ends the reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.parsers import expat

from probes.model import Reading
from triage.sections import smi
from triage.sections.smi_text import MOST_FIELDS, MOST_GPUS, stamp

MOST_DEPTH = 24
MOST_ELEMENTS = 1_000_000
MOST_TEXT = 4096
ROOT = "nvidia_smi_log"


class Refused(Exception):
    """The document holds what no output of nvidia-smi does."""


class Log:
    """The document so far: feed blocks, then ask for the readings."""

    def __init__(self) -> None:
        self.node: dict[str, str] = {}
        self.gpus: list[tuple[str | None, dict[str, str], list[int]]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._size = 0
        self._elements = 0
        self._inside = False
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = _refuse_entity
        parser.SkippedEntityHandler = _refuse_skipped
        parser.ExternalEntityRefHandler = _refuse_external
        self._parser = parser

    def feed(self, parts: Iterable[bytes]) -> str | None:
        """Take the document; return why it could not be read to its end, or None."""
        try:
            for part in parts:
                for place in range(0, len(part), 1 << 16):
                    self._parser.Parse(part[place : place + (1 << 16)], False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            return f"the XML breaks off at line {error.lineno} ({expat.errors.messages.get(error.code, 'damaged')})"
        except Refused as error:
            return f"the XML is not nvidia-smi's: {error}"
        except (LookupError, ValueError):  # an encoding that is none
            return "the XML is in an encoding that is not known"
        return None

    def taken_at(self, tz_offset: float) -> float | None:
        """When it was printed, in epoch seconds; its stamp names no zone."""
        return stamp(self.node.get("timestamp", ""), tz_offset)

    def readings(self, at: float) -> list[Reading]:
        """All readings of the node and its GPUs."""
        readings = smi.node_readings(self.node, at)
        for index, (address, fields, processes) in enumerate(self.gpus):
            told = fields.get("processes", "")
            known = None if told or not processes[1] else processes[0]
            readings += smi.gpu_readings(fields, address, index, known, at)
        return readings

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._path) >= MOST_DEPTH or self._elements > MOST_ELEMENTS:
            raise Refused("it is nested too deeply or has too many elements")
        if not self._path and tag != ROOT:
            raise Refused(f"it does not begin with <{ROOT}>")
        self._path.append(tag[:64].lower().replace("_", " "))
        self._text, self._size = [], 0
        if self._path == [ROOT.replace("_", " "), "gpu"]:
            self._inside = len(self.gpus) < MOST_GPUS
            if self._inside:
                self.gpus.append((attributes.get("id"), {}, [0, 0]))

    def _end(self, _tag: str) -> None:
        text = " ".join("".join(self._text).split())
        self._text, self._size = [], 0
        path = "/".join(self._path[2:]) if self._path[1:2] == ["gpu"] else "/".join(self._path[1:])
        gpu = self.gpus[-1] if self._inside and self._path[1:2] == ["gpu"] else None
        if gpu is not None:
            if path == "processes":
                gpu[2][1] = 1
            if path == "processes/process info":
                gpu[2][0] += 1
            elif text and not path.startswith("processes/") and len(gpu[1]) < MOST_FIELDS:
                gpu[1].setdefault(path, text)
        elif text and self._path[1:2] != ["gpu"] and len(self.node) < MOST_FIELDS:
            self.node.setdefault(path, text)
        self._path.pop()

    def _characters(self, data: str) -> None:
        if self._size < MOST_TEXT:
            self._text.append(data[: MOST_TEXT - self._size])
            self._size += len(data)

    def _doctype(self, _name: str, _system: str | None, _public: str | None, internal: int) -> None:
        if internal:
            raise Refused("it declares a document type of its own")


def _refuse_entity(*_: object) -> None:
    raise Refused("it declares an entity")


def _refuse_skipped(*_: object) -> None:
    raise Refused("it refers to an entity")


def _refuse_external(*_: object) -> int:
    raise Refused("it refers to another document")
