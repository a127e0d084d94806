"""What happens to the messages of a venue on their way, and between them. Pure."""

import re
from collections.abc import Collection
from enum import StrEnum
from random import Random
from typing import Final

from tests.venues.faults import Fault
from tests.venues.field_faults import field_fault
from tests.venues.model import Kind, Message, ModelVenue


class Mutation(StrEnum):
    """What happens to a message, or between two."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    LATE = "late"
    """One of those before comes again."""
    SWAP = "swap"
    CUT = "cut"
    GARBAGE = "garbage"
    FIELD = "field"
    """One field is absent or wrong."""
    WRONG_TYPE = "wrong-type"
    """One value or key is replaced by what cannot be right at any place."""
    WRONG_VALUE = "wrong-value"
    """One value is replaced by a number: only a checksum notices it."""
    OTHER_KIND = "other-kind"
    """An update says that it is a snapshot, or the other way round."""
    OTHER_SYMBOL = "other-symbol"
    """An update names another symbol."""
    SPOIL = "spoil"
    """The checksum is another one."""
    RESET = "reset"
    RECONNECT = "reconnect"
    ASK = "ask"
    """A snapshot is requested, though none is needed."""
    RESUBSCRIBE = "resubscribe"


BETWEEN: Final = frozenset({Mutation.RESET, Mutation.RECONNECT, Mutation.ASK, Mutation.RESUBSCRIBE})
"""What happens between messages."""

_NOTICED: Final = {
    Fault.GAP: {Mutation.DROP},
    Fault.DUPLICATE: {Mutation.DUPLICATE},
    Fault.REORDER: {Mutation.LATE, Mutation.SWAP},
    Fault.GARBAGE: {Mutation.CUT, Mutation.FIELD, Mutation.GARBAGE},
}
_TOKEN: Final = re.compile(r'"[^"]*"|-?\d+(?:\.\d+)?')
_WRONG: Final = ("null", "true", '"x"', "[]", "{}", "-1", '"-1"', "NaN", '""', "[1]", "1e999")
_NUMBERS: Final = ("7", '"7"', "1.50", "0", '"0.0"', "4.8E-7", '"650.01"')


def noticed(faults: Collection[Fault]) -> frozenset[Mutation]:
    """Return what a venue's rule notices, or what harms no book, by the faults of its model."""
    found = {mutation for fault in faults for mutation in _NOTICED.get(fault, ())}
    return frozenset(found | BETWEEN)


def spoilt(mutation: Mutation, message: Message, model: ModelVenue, random: Random) -> Message:
    """Return a message with other text."""
    raw = message.raw if isinstance(message.raw, str) else message.raw.decode()
    match mutation:
        case Mutation.CUT:
            raw = raw[: random.randrange(len(raw))]
        case Mutation.FIELD if raw.startswith(("{", "[")):
            raw = field_fault(raw, random)
        case Mutation.SPOIL if message.kind is Kind.BOOK:
            return model.spoil(message, random) or message
        case Mutation.OTHER_KIND:
            names = {"snapshot": "update", "update": "snapshot"}
            raw = re.sub(r'"(snapshot|update)"', lambda found: f'"{names[found[1]]}"', raw)
        case Mutation.OTHER_SYMBOL if message.kind is Kind.BOOK:
            raw = raw.replace(message.symbol, random.choice(sorted(model.market.books)))
        case Mutation.WRONG_TYPE | Mutation.WRONG_VALUE:
            tokens = list(_TOKEN.finditer(raw))
            if tokens:
                found = random.choice(tokens)
                pool = _WRONG if mutation is Mutation.WRONG_TYPE else _NUMBERS
                raw = raw[: found.start()] + random.choice(pool) + raw[found.end() :]
    return message._replace(raw=raw)
