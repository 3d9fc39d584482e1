"""Values that are made in less time than those of `typing`, and are the same to whoever uses them."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from probes.model import NODE, LogRecord, Reading
from probes.named import NamedTuple


class Plain(typing.NamedTuple):
    """Made by `typing`."""

    name: str
    number: int = 3
    more: tuple[int, ...] = ()

    def twice(self) -> int:
        """Return something."""
        return self.number * 2


class Quick(NamedTuple):
    """Made by us."""

    name: str
    number: int = 3
    more: tuple[int, ...] = ()

    def twice(self) -> int:
        """Return something."""
        return self.number * 2


KINDS: tuple[Any, Any] = (Plain, Quick)


def test_they_are_made_and_compared_alike() -> None:
    for made in (("a",), ("a", 4), ("a", 4, (1, 2))):
        plain, quick = (kind(*made) for kind in KINDS)
        assert plain == quick
        assert hash(plain) == hash(quick)
        assert repr(plain).partition("(")[2] == repr(quick).partition("(")[2]
        assert plain._asdict() == quick._asdict()
        assert plain._replace(number=9) == quick._replace(number=9)
        assert plain.twice() == quick.twice()
    plain, quick = (kind(number=5, name="b") for kind in KINDS)
    assert plain == quick
    assert plain._make(("a", 1, ())) == quick._make(("a", 1, ()))


def test_they_tell_alike_what_they_are() -> None:
    assert Plain._fields == Quick._fields
    assert Plain._field_defaults == Quick._field_defaults
    assert typing.get_type_hints(Plain) == typing.get_type_hints(Quick)
    assert ("Quick", "Made by us.") == (Quick.__qualname__, Quick.__doc__)
    match Quick("x", 7):
        case Quick(name="x", number=number):
            assert 7 == number
        case _:
            pytest.fail("it is matched by its fields")


@pytest.mark.parametrize(
    "wrong", [{}, {"name": "a", "colour": 1}, {"name": "a", "number": 1, "more": (), "further": 2}]
)
def test_they_refuse_alike(wrong: dict[str, Any]) -> None:
    for kind in KINDS:
        with pytest.raises(TypeError):
            kind(**wrong)
        with pytest.raises(ValueError, match="unexpected field"):
            kind("a")._replace(colour=1)
        with pytest.raises(TypeError, match="Expected 3 arguments, got 1"):
            kind._make(("a",))
        with pytest.raises(AttributeError):
            kind("a").colour = 1


def test_they_cross_a_process_border_and_are_copied() -> None:
    record = LogRecord("text", 1.0, line=4)
    assert record == pickle.loads(pickle.dumps(record))
    assert record == copy.deepcopy(record)
    assert isinstance(record, tuple)
    assert Reading is type(pickle.loads(pickle.dumps(Reading(NODE, "a", 1, "count", 0.0))))


def test_a_default_before_a_field_without_one_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="default"):
        exec("class Wrong(NamedTuple):\n a: int = 1\n b: int", {"NamedTuple": NamedTuple, "__name__": "x"})
