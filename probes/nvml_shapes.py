"""How one question to NVML is written down: what to call, what to pick of its answer, and what to name it.

Functions, constants and field ids are named, never numbered: they are looked
up in the bindings at run time, and what the bindings or the driver do not have
becomes a reading that is `not-supported`.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

from collections.abc import Mapping
from typing import Optional, Union

from probes.named import NamedTuple

Step = Union[int, str]


class Out(NamedTuple):
    """One reading made of a call's result.

    `pick` is the place in a list or the attribute of a structure, or several
    such steps; none takes the result whole.  `mask` keeps those bits only,
    counted from bit `shift`; `scale` turns NVML's unit into `unit`, `words`
    names the values of an enumeration; `form` says of a number how to read it:
    `return-code`, `cuda-version`, `hex`, `byte` (text of one byte) or `ber`.  A
    number outside `limits` is no reading but what a dying device answers.
    Where the attribute `needs` is zero, the result says that it does not apply.
    `no` is the error that answers a yes-or-no question with no.
    """

    name: str
    unit: str
    pick: Union[Step, tuple[Step, ...], None] = None
    mask: Optional[int] = None
    shift: int = 0
    scale: Optional[float] = None
    words: Optional[Mapping[int, Union[str, bool]]] = None
    limits: Optional[tuple[float, float]] = None
    form: Optional[str] = None
    needs: Optional[str] = None
    no: Optional[str] = None


class Call(NamedTuple):
    """One NVML call on a GPU.

    `ways` are (function, structure to be filled or "") to be tried in this
    order until one exists in both the bindings and the driver.  `args` are
    names of constants, or small numbers.  `many` returns a list whose length is
    the answer.  `sized`: a structure that was too small tells how much there is.
    """

    ways: tuple[tuple[str, str], ...]
    outs: tuple[Out, ...]
    args: tuple[Step, ...] = ()
    many: bool = False
    sized: bool = False


class Field(NamedTuple):
    """One field value; `since` is the first driver branch in which its id means this.

    Where a call has answered the same question already, the field only stands
    in for a call that could not.
    """

    constant: str
    out: Out
    since: int = 0


class Link(NamedTuple):
    """One field value of each NVLink (or C2C link), with the link as its scope.

    `whole` says what the links make together: `sum`, `most` or `least`.  A link
    whose own value is above zero has a reading of its own too if `each`.
    """

    constant: str
    out: Out
    since: int = 0
    whole: str = "sum"
    each: bool = True


SWITCH: Mapping[int, Union[str, bool]] = {0: "off", 1: "on"}
CELSIUS = (0.0, 200.0)
MARGIN = (-200.0, 200.0)
WATTS = (0.0, 10_000.0)
LANES = (0.0, 64.0)
PERCENT = (0.0, 1.0)


def ways(*functions: str) -> tuple[tuple[str, str], ...]:
    """Return functions that answer the same, the newest first."""
    return tuple((function, "") for function in functions)


def simple(
    function: str,
    name: str,
    unit: str,
    *args: Step,
    scale: Optional[float] = None,
    limits: Optional[tuple[float, float]] = None,
) -> Call:
    """Return a call that answers one question."""
    return Call(ways(function), (Out(name, unit, scale=scale, limits=limits),), args)
