"""What can be wrong with a store: what ends it, and what passes by itself."""

from __future__ import annotations


class Unusable(Exception):
    """The store cannot be used; the text says which, why and what would help."""


class Unreachable(Unusable):
    """The store did not answer in time; what was not acknowledged is not in it, as far as is known."""


class Outdated(Unusable):
    """The store has another schema than this version writes."""
