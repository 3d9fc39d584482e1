"""Many logs read by the workers of a Dask cluster, with the result that one process would give.

The workers read, scan and fold; what comes back is as small as from a process of
this machine, and is put together here in the order in which the logs were given
(`fast_files`).  The workers need this program in the same version, and must see
the logs under the same names: a shared file system, or addresses of a store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, cast

from triage import __version__, folders
from triage.fast_files import PATIENCE, ManyIntake, _Read, read_log
from triage.remote import NotReadable, expand, is_address
from triage.rulebook.model import Rulebook

HINT = "the Python package distributed is not installed; pip install 'gpu-triage[cluster]'"
CONNECT = "10s"
"""How long the scheduler may take to answer."""


class NoCluster(Exception):
    """The cluster cannot be used.  The text says why, and the remedy."""


def _version() -> str:
    return __version__


class ClusterIntake(ManyIntake):
    """A `FastIntake` whose files are read by the workers of the Dask scheduler at `cluster`."""

    def __init__(self, paths: Sequence[str], *, cluster: str, **rest: Any) -> None:
        """Connect and hand out the files.

        Raises:
            NoCluster: if the scheduler does not answer, has no worker, or a worker has another version.
        """
        self._client = connected(cluster)
        self._called_off = False
        super().__init__(paths, jobs=None, **rest)

    def _begin_reading(
        self, paths: Sequence[str], rulebook: Rulebook, now: float, jobs: int | None, rest: dict[str, Any]
    ) -> None:
        book = self._client.scatter(rulebook, broadcast=True)
        given = (now, rest.get("tz_offset", 0.0), rest.get("window"))
        self._futures = {
            path: self._client.submit(read_log, path, book, *given, pure=False) for path in dict.fromkeys(files(paths))
        }
        self._last = paths[-1] if paths.count(paths[-1]) == 1 else None

    def __exit__(self, *_: object) -> None:
        self._client.cancel(list(self._futures.values()))
        self._client.close(timeout=5)

    def _stopped(self) -> bool:
        return self._called_off

    def _result(self, future: Any) -> _Read | None:
        """Wait for what a worker reads; what it cannot read is read here."""
        while True:
            try:
                found: _Read = future.result(timeout=PATIENCE)
                return found
            except TimeoutError:
                if self._progress is not None:
                    self._progress(self._bytes, self.passed)
            except KeyboardInterrupt:
                self._called_off = True
                raise
            except Exception:  # whatever befell the worker, this machine may fare better
                return None


def files(paths: Sequence[str]) -> Iterator[str]:
    """Yield the files and addresses that an `Intake` of these paths will open one by one."""
    for path in paths:
        if is_address(path):
            try:
                yield from expand(path)
            except NotReadable:
                continue
        elif os.path.isdir(path):
            try:
                yield from (item.path for item in folders.plan(path) if isinstance(item, folders.One))
            except OSError:
                continue
        elif path != "-":
            yield path


def connected(cluster: str) -> Any:
    """Return a client of the scheduler at an address; closing it ends the connection.

    Raises:
        NoCluster: if it does not answer, has no worker, or a worker has another version.
    """
    try:
        from distributed import Client
    except ImportError:
        raise NoCluster(HINT) from None
    try:
        client: Any = cast("Any", Client)(cluster, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # addresses, sockets and protocols each fail in their own way
        words = " ".join(str(error).split())[:150]
        raise NoCluster(f"no Dask scheduler answers at {cluster} ({words}); check the address") from None
    try:
        versions = client.run(_version)
    except Exception as error:  # a worker without this program cannot even be asked
        client.close()
        raise NoCluster(
            f"the workers of {cluster} cannot run gpu-triage ({' '.join(str(error).split())[:150]});"
            f" install version {__version__} on them"
        ) from None
    others = sorted({version for version in versions.values() if version != __version__})
    if others or not versions:
        client.close()
        raise NoCluster(
            f"workers of {cluster} have gpu-triage {', '.join(others)}; install version {__version__} on them"
            if others
            else f"the scheduler at {cluster} has no worker; start one: dask worker {cluster}"
        )
    return client
