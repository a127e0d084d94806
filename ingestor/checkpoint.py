"""The recovery state of one orders-feed symbol, stored in Redis for the next leader.

A msgpack array `[format, position, src, bid_ids, bids, ask_ids, asks, limits, rules]`: its positions in
`deltas` and `events`, then all orders; `bids[i]` is the (price, quantity) of the order `bid_ids[i]`. `limits`
is the array of the limits under which the input after it is applied; without it there were none. `rules` is
the version of the rules by which that input is read; without it 0. Only ingestors and their scripts read it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from depthcast.ingestor.limits import UNLIMITED, Limits
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.codec import pack, unpack
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.position import Position

FORMAT: Final = 1
_ITEMS: Final = 7

RULES: Final = 1
"""Version of the rules by which input becomes events: raised when the same bytes come to mean something else.

0: a float was malformed even if integral, and a malformed `_` did not refuse its entry.
"""

SLICE_ORDERS: Final = 10_000


class Checkpoint(NamedTuple):
    """All orders of a symbol after input `src`, as published at `position`, under `limits` and `rules`."""

    position: Position
    src: Position
    orders: OrdersCopy
    limits: Limits = UNLIMITED
    rules: int = RULES


def encode(checkpoint: Checkpoint) -> bytes:
    """Encode a checkpoint as the value of its key."""
    return b"".join(slices(checkpoint))


def slices(checkpoint: Checkpoint) -> Iterator[bytes]:
    """Encode in pieces of a few milliseconds each; joined, they equal the result of `encode`."""
    packer = msgpack.Packer(use_bin_type=True)
    start = packer.pack_array_header(_ITEMS + 2)
    yield start + b"".join(map(pack, (FORMAT, str(checkpoint.position), str(checkpoint.src))))
    for column in checkpoint.orders:
        yield packer.pack_array_header(len(column))
        for first in range(0, len(column), SLICE_ORDERS):
            yield _items(packer, column[first : first + SLICE_ORDERS])
    yield pack(checkpoint.limits) + pack(checkpoint.rules)


def _items(packer: msgpack.Packer, part: Sequence[Any]) -> bytes:
    """Pack items without the array header, whose length depends only on the number of items."""
    header: bytes = packer.pack_array_header(len(part))
    packed: bytes = packer.pack(part)
    return packed[len(header) :]


def decode(raw: bytes) -> Checkpoint:
    """Inverse of `encode`; raises `CodecError`. Orders are checked later, when they are restored."""
    value: Any = unpack(raw, "checkpoint")
    if not isinstance(value, list) or len(value) < _ITEMS or value[0] != FORMAT:
        raise CodecError("checkpoint", f"not an array of format {FORMAT} with {_ITEMS} items")
    position, src, *columns = value[1:_ITEMS]
    if not all(isinstance(column, list) for column in columns):
        raise CodecError("checkpoint", "the orders have the wrong type")
    limits = UNLIMITED
    if len(value) > _ITEMS:
        numbers = value[_ITEMS]
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number <= UNLIMITED[0] for number in numbers
        ):
            raise CodecError("checkpoint", "the limits have the wrong type")
        limits = Limits(*numbers[: len(limits)])
    rules = value[_ITEMS + 1] if len(value) > _ITEMS + 1 else 0
    if type(rules) is not int:
        raise CodecError("checkpoint", "the version of the rules is no integer")
    try:
        return Checkpoint(Position.parse(position), Position.parse(src), OrdersCopy(*columns), limits, rules)
    except PositionError as error:
        raise CodecError("checkpoint", str(error)) from error
