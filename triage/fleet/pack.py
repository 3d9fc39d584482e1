"""The probes as one script for the standard input of a node's Python: nothing of it touches the node's disk.

The script holds two zip archives, which it keeps in memory files, so that
processes it starts can import from them too.  The same sources give the same
bytes.  pynvml, one pure file, travels along and is used where the node has
none of its own.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from probes.carry import FAILED
from triage import __version__

# Read by any Python there is, so that one that is too old can say so.
_SCRIPT = """\
import os, sys
if sys.version_info < (3, 9):
    print("{failed} old-python " + ".".join(map(str, sys.version_info[:3])))
    sys.exit(0)
import base64
def carried(packed):
    memory = os.memfd_create("gpu-triage")
    with open(memory, "wb", closefd=False) as file:
        file.write(base64.b64decode(packed))
    return "/proc/%d/fd/%d" % (os.getpid(), memory)
sys.dont_write_bytecode = True
sys.path.insert(0, carried("{probes}"))
sys.path.append(carried("{pynvml}"))
from probes import carry
carry.main({seconds!r}, {version!r}, sys.stdout.buffer)
"""
_BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can tell; the sources' own would make equal ones differ."""


def script(seconds: float) -> bytes:
    """Return the script that reads a node for at most so many seconds and prints its capture."""
    probes, pynvml = _packed()
    filled = _SCRIPT.format(failed=FAILED, probes=probes, pynvml=pynvml, seconds=float(seconds), version=__version__)
    return filled.encode("ascii")


@cache
def _packed() -> tuple[str, str]:
    folder = _origin("probes").parent
    probes = {f"probes/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
    return _pack(probes), _pack({"pynvml.py": _origin("pynvml").read_bytes()})


def _pack(files: Mapping[str, bytes]) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _BEGINNING), content, zipfile.ZIP_DEFLATED, 9)
    return base64.b64encode(packed.getvalue()).decode("ascii")


def _origin(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not installed as a file")
    return Path(spec.origin)
