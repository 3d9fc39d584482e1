"""A secret: where it is read from each time it is needed, and nothing that could print it."""

from __future__ import annotations

import os

from probes.named import NamedTuple

MOST = 16 << 10
"""Bytes of a secret."""


class Unreadable(Exception):
    """A secret cannot be had; the text says which and why, and holds nothing of it."""


class Secret(NamedTuple):
    """Where a secret stands: in a file, or in a variable of the environment."""

    file: str | None = None
    env: str | None = None

    def __str__(self) -> str:
        return f"file {self.file}" if self.file is not None else f"variable {self.env}"

    def read(self) -> str:
        """Return what stands there now, without the space around it.

        Raises:
            Unreadable: if there is none.
        """
        if self.file is None:
            text = os.environ.get(self.env or "", "")
        else:
            try:
                # A pipe without a writer would be waited for.
                with open(os.open(self.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
                    data = stream.read(MOST + 1) or b""
                text = data.decode() if len(data) <= MOST else ""
            except OSError as error:
                raise Unreadable(f"its secret in {self} cannot be read: {(error.strerror or '').lower()}") from None
            except UnicodeDecodeError:
                raise Unreadable(f"its secret in {self} is not UTF-8") from None
        text = text.strip()
        if not text or not text.isprintable():
            raise Unreadable(
                f"its secret in {self} is {'not one line' if text else 'empty, or too long, or not there'}"
            )
        return text
