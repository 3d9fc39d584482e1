"""A fake NVML that the real bindings load: how to build it, and how to say what it answers.

    library = build(tmp_path)
    scenario = Scenario(tmp_path / "scenario", gpus=4)
    scenario.gpu(2).set("temperature", 91).on("nvmlDeviceGetTotalEccErrors", "hang")
    subprocess.run([...], env={**os.environ, **scenario.env(library)})

Each change is written at once and seen by the next NVML call of a running
program.  What keys and behaviours there are stands in `fake_nvml.c`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

SOURCES = tuple(Path(__file__).with_name(name) for name in ("fake_nvml.c", "fake_newer.c"))
XID_EVENT = 8


def build(directory: Path, omit: Iterable[str] = ()) -> Path:
    """Compile the library into `directory` and return the directory, fit for LD_LIBRARY_PATH.

    The functions named in `omit` are left out, as if the driver were too old to have them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    hidden = "".join(f" {name};" for name in omit)
    exports = directory / "exports.map"
    exports.write_text("{ global: nvml*; local:" + (hidden or " _*;") + " };\n")
    library = directory / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["cc", *flags, f"-Wl,--version-script={exports}", "-o", library, *SOURCES], check=True)
    return directory


class Scenario:
    """What the fake driver answers; a file that is rewritten whole on every change."""

    def __init__(self, path: Path, gpus: int = 1) -> None:
        """Start with `gpus` healthy GPUs."""
        self.path = path
        self._lines: dict[str, str] = {"gpus": str(gpus)}
        self._events: list[str] = []
        self._write()

    def set(self, key: str, value: object) -> Scenario:
        """Set a value of the node (`driver.version`), or of any GPU by its whole key."""
        self._lines[key] = str(value)
        self._write()
        return self

    def on(self, function: str, behaviour: str) -> Scenario:
        """Make a function behave so on every GPU: an error's name, `hang`, `crash`, `delay_ms:500` ..."""
        return self.set(f"do.{function}", behaviour)

    def gpu(self, index: int | str) -> Gpu:
        """The GPU listed at `index`, or every GPU (`"*"`)."""
        return Gpu(self, f"gpu.{index}")

    def clear(self, key: str) -> Scenario:
        """Forget a key, so that the healthy default holds again."""
        self._lines.pop(key, None)
        self._write()
        return self

    def event(self, gpu: int, data: int, kind: int = XID_EVENT) -> Scenario:
        """Let a GPU report an event once to whoever registered for its kind; by default the Xid `data`."""
        self._events.append(f"{len(self._events) + 1} {gpu} {kind} {data}")
        self._write()
        return self

    def env(self, library: Path) -> dict[str, str]:
        """The environment in which a program loads the fake library and this scenario."""
        return {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_SCENARIO": str(self.path)}

    def _write(self) -> None:
        lines = [f"{key} = {value}" for key, value in self._lines.items()]
        lines += [f"event = {event}" for event in self._events]
        scratch = self.path.with_name(self.path.name + ".new")
        scratch.write_text("\n".join(lines) + "\n")
        os.replace(scratch, self.path)


class Gpu:
    """One GPU of a scenario (or all of them)."""

    def __init__(self, scenario: Scenario, prefix: str) -> None:
        """Name the GPU by the `prefix` of its keys."""
        self._scenario = scenario
        self._prefix = prefix

    def set(self, key: str, value: object) -> Gpu:
        """Set a value of this GPU (`temperature`, `ecc.uncorrected.volatile`, `fabric.state`)."""
        self._scenario.set(f"{self._prefix}.{key}", value)
        return self

    def on(self, function: str, behaviour: str) -> Gpu:
        """Make a function (or `*`) behave so on this GPU."""
        return self.set(f"do.{function}", behaviour)

    def field(self, field: int, value: int | str, scope: int | None = None) -> Gpu:
        """Set a field value, or its error as `!NOT_SUPPORTED`."""
        return self.set(f"field.{field}" if scope is None else f"field.{field}.{scope}", value)

    def lost(self) -> Gpu:
        """Let the GPU fall off the bus: every call on it answers GPU_IS_LOST."""
        return self.on("*", "GPU_IS_LOST")
