"""Logs in object stores and archives, named by address: `s3://bucket/day/*.log`, `tar://kern.log::crash.tar`.

fsspec opens them; which kinds of store it knows depends on what is installed
beside it (`s3fs` for s3, `gcsfs` for gs ...).  Nothing is asked of the network
unless an address that names it was given.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,30}(?:::[a-z][a-z0-9+.-]{1,30})*://")
HINT = "install it: pip install 'gpu-triage[remote]'"
MOST = 100_000
"""Files that one pattern may name."""


class NotReadable(Exception):
    """An address cannot be read.  The text says why, and the remedy."""


def is_address(path: str) -> bool:
    """Return whether a path is an address and no name of a file."""
    return _ADDRESS.match(path) is not None


def expand(path: str) -> Sequence[str]:
    """Return the addresses that a pattern with `*` names, in order; any other address as it is.

    Raises:
        NotReadable: if it cannot be listed, or nothing is there.
    """
    first, chain, rest = path.partition("::")
    if not any(letter in first for letter in "*?["):
        return [path]
    try:
        import fsspec  # type: ignore[import-untyped]

        files = fsspec.open_files(path, "rb", expand=True)
        found = sorted(str(file.full_name) if not chain else f"{_scheme(first)}{file.path}::{rest}" for file in files)
    except ImportError as error:
        raise NotReadable(f"the Python package {error.name} is not installed; {HINT}") from None
    except Exception as error:  # every store raises errors of its own
        raise NotReadable(f"cannot be listed ({_said(error)})") from None
    if not found:
        raise NotReadable("nothing matches it; check the pattern")
    if len(found) > MOST:
        raise NotReadable(f"it names {len(found)} files; give a pattern that names at most {MOST}")
    return found


class Opened:
    """A file of a store, read from its start to its end.  It cannot be searched in: every jump would be a request."""

    def __init__(self, path: str) -> None:
        """Open what an address names.

        Raises:
            NotReadable: if it cannot be opened.
        """
        try:
            import fsspec

            self._held = fsspec.open(path, "rb")  # kept, because a member of an archive is closed with it
            self._file = self._held.__enter__()
        except ImportError as error:
            raise NotReadable(f"the Python package {error.name} is not installed; {HINT}") from None
        except FileNotFoundError:
            raise NotReadable("no such file; check the address") from None
        except Exception as error:  # every store raises errors of its own
            raise NotReadable(f"cannot be opened ({_said(error)})") from None

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes; empty at the end.

        Raises:
            OSError: if the store does not give them.
        """
        try:
            data: bytes = self._file.read(size)
        except OSError:
            raise
        except Exception as error:  # every store raises errors of its own
            raise OSError(_said(error)) from None
        return data

    def tell(self) -> int:
        """Say that nothing can be searched for."""
        raise OSError("a file of a store is read from its start to its end")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        with contextlib.suppress(Exception):
            self._held.__exit__()


def _scheme(address: str) -> str:
    return address[: address.index("://") + 3]


def _said(error: Exception) -> str:
    words = " ".join(str(error).split())[:150]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
