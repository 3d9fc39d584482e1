"""The driver being asked, in a child process, before anything else of a sweep is loaded."""

from __future__ import annotations

from pathlib import Path

from probes import nvml


class Asking:
    """The first child of a sweep of NVML; whoever sweeps takes it over, else it is stopped.

    with Asking(deadline, state_dir) as asking:
        ...                      # load what is slow to load
        probe(deadline, started=asking.take())
    """

    def __init__(self, deadline: float, state_dir: Path | None) -> None:
        """Begin to ask, for at most `deadline` seconds; `state_dir` is where the history stands, None for none."""
        self._children = children_of(state_dir)
        self._started = nvml.begin(deadline, state_dir=self._children)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        started = self.take()
        if started is not None:
            nvml.stop(started, self._children)

    def take(self) -> nvml.Started | None:
        """Return what was begun, which then belongs to the caller; None if nothing was, or it was taken."""
        started, self._started = self._started, None
        return started


def children_of(state_dir: Path | None) -> Path | None:
    """Return where children that hang are noted: beside the history, if that is a place of ours."""
    if state_dir is None:
        return None
    from triage.history.place import Unavailable, prepare

    try:
        prepare(state_dir)
    except Unavailable:
        return None
    return state_dir / "children"
