"""Messages with a fault in one field: absent, or with a value that cannot be right there."""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from random import Random
from typing import Any, Final, NamedTuple

MISSING: Final = object()
WRONG: Final[tuple[Any, ...]] = (
    *(MISSING, None, "", "x", -1, 1.5, True, [], {}, [[]], [None], [1], {"a": 1}, 10**30),
)
NUMBERS: Final = (1.5, 10**30)
"""Of these, what may be right for a number: prices and quantities are of any size."""
PLAIN: Final = frozenset({"price_level", "new_quantity", "price", "size", "qty"})
"""Keys of prices and quantities."""

Path = tuple[str | int, ...]


class FieldFault(NamedTuple):
    """The field, its value, and what it is instead."""

    path: Path
    value: Any
    wrong: Any

    @property
    def in_list(self) -> bool:
        """Whether it is an item of a list."""
        return isinstance(self.path[-1], int)

    @property
    def may_be_meant(self) -> bool:
        """Whether a venue could say so: fewer levels, another price, another quantity."""
        if self.wrong is MISSING:
            return self.in_list and isinstance(self.value, list | dict)
        if self.wrong == [] and isinstance(self.value, list):
            return True
        return (self.in_list or self.path[-1] in PLAIN) and self.wrong in NUMBERS


def field_faults(message: Any) -> Iterator[FieldFault]:
    """Yield all faults of a message; of a list inside of something its first two items are taken."""
    for path, value in _paths(message):
        for wrong in WRONG:
            if wrong is MISSING or type(wrong) is not type(value) or wrong != value:
                yield FieldFault(path, value, wrong)


def meant_by_nobody(raw: str | bytes) -> list[str]:
    """Return a message with each of its faults that no venue could mean."""
    message = json.loads(raw)
    return [with_fault(message, fault) for fault in field_faults(message) if not fault.may_be_meant]


def field_fault(raw: str | bytes, random: Random) -> str:
    """Return a message with one of its faults that no venue could mean; without a field, as it is."""
    message = json.loads(raw)
    faults = [fault for fault in field_faults(message) if not fault.may_be_meant]
    if not faults:
        return raw if isinstance(raw, str) else raw.decode()
    return with_fault(message, random.choice(faults))


def with_fault(message: Any, fault: FieldFault) -> str:
    """Return the message with the fault, as JSON."""
    changed = deepcopy(message)
    parent = changed
    for key in fault.path[:-1]:
        parent = parent[key]
    if fault.wrong is MISSING:
        del parent[fault.path[-1]]
    else:
        parent[fault.path[-1]] = fault.wrong
    return json.dumps(changed)


def _paths(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value if len(path) < 2 else value[:2])
    for key, item in items:
        yield from _paths(item, (*path, key))
