"""`NamedTuple`, made in a fraction of the time that `typing` takes for it.

A health check makes seventy kinds of values before it has asked anything, and
`typing.NamedTuple` compiles a function for each and looks at each annotation:
a tenth of what the check takes.  These are the same to whoever uses them; type
checkers see those of `typing`.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or sys.version_info >= (3, 14):  # from 3.14 on annotations are read in another way
    from typing import NamedTuple
else:
    from _collections import _tuplegetter
    from types import FunctionType

    _news = {}

    def _new(name, fields, defaults):
        """What makes a value of its fields; all that have as many share the code but for the names."""
        code = _news.get(len(fields))
        if code is None:
            names = "".join(f"_{number}, " for number in range(len(fields)))
            made = eval(f"lambda _cls, {names}: _make(_cls, ({names}))", {"_make": tuple.__new__})
            code = _news[len(fields)] = made.__code__
        named = code.replace(co_varnames=("_cls", *fields))
        new = FunctionType(named, {"_make": tuple.__new__}, "__new__", tuple(defaults.values()) or None)
        new.__qualname__ = f"{name}.__new__"
        return new

    class _Values(tuple):
        __slots__ = ()

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, **values):
            made = self._make(map(values.pop, self._fields, self))
            if values:
                raise ValueError(f"Got unexpected field names: {list(values)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self))

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self))})"

        def __getnewargs__(self):
            return tuple(self)

    class _Kind(type):
        def __new__(kind, name, bases, space):
            fields = tuple(space.get("__annotations__", ()))
            defaults = {field: space.pop(field) for field in fields if field in space}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"a field of {name} without a default follows one with a default")
            space.update(
                (field, _tuplegetter(place, f"Alias for field number {place}")) for place, field in enumerate(fields)
            )
            space.update(_fields=fields, _field_defaults=defaults, __match_args__=fields, __slots__=())
            space["__new__"] = _new(name, fields, defaults)
            return type(name, (_Values,), space)

    NamedTuple = type.__new__(_Kind, "NamedTuple", (), {})

__all__ = ["NamedTuple"]
