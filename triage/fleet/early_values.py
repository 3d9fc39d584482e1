"""The values of early signs: what a GPU told, what is a sign, and who shows one."""

from __future__ import annotations

from collections.abc import Mapping

from probes.named import NamedTuple

MODEL = "gpu.name"
DAY = 86400.0


class Observation(NamedTuple):
    """What one GPU told at one moment (UTC epoch seconds); `gpu` is who it is, wherever it sits."""

    at: float
    gpu: str
    node: str
    facts: Mapping[str, str]
    numbers: Mapping[str, float]


class Sign(NamedTuple):
    """One entry of the file."""

    id: str
    kind: str
    of: tuple[str, ...]
    named: str
    why: str
    do: str
    at_least: int
    lift: float
    far: float
    least: float
    times: int
    beside: str | None
    busy: float | None
    logarithm: bool
    no_less: float
    lasting: bool


class Signs(NamedTuple):
    """All of them; `alpha` and `peers` as in the file."""

    alpha: float
    peers: int
    all: tuple[Sign, ...]


class Seen(NamedTuple):
    """A GPU that shows a sign: `value` where `expected` was likely, against its `past` or its `peers`."""

    sign: Sign
    of: str
    gpu: str
    node: str
    against: str
    at: float
    value: float
    expected: float
    chance: float | None
    distance: float | None
    says: str


class Early(NamedTuple):
    """Signs, worst first; what could not be compared, by sign, with the number of GPUs and why.

    `backwards` is how many GPUs the same test names when time runs backwards: by chance, or because they were cured.
    """

    seen: tuple[Seen, ...]
    nodes: int
    gpus: int
    tests: int
    not_judged: tuple[tuple[str, int, str], ...]
    backwards: int = 0
