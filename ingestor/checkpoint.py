"""The recovery state of one orders-feed symbol as the ingestor keeps it for itself in Redis.

A msgpack array `[format, position, src, bid_ids, bids, ask_ids, asks]`: where in `deltas` and in `events` it stands,
then every order, (price, quantity) at the same place as its id. Private: only ingestors and their scripts read it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.codec import pack, unpack
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.position import Position

FORMAT: Final = 1
_ITEMS: Final = 7

SLICE_ORDERS: Final = 10_000


class Checkpoint(NamedTuple):
    """All orders of a symbol after the input up to `src`, which was published at `position`."""

    position: Position
    src: Position
    orders: OrdersCopy


def encode(checkpoint: Checkpoint) -> bytes:
    """Bytes of the checkpoint key."""
    return b"".join(slices(checkpoint))


def slices(checkpoint: Checkpoint) -> Iterator[bytes]:
    """The same in pieces, each the work of a few milliseconds at most."""
    packer = msgpack.Packer(use_bin_type=True)
    start = packer.pack_array_header(_ITEMS)
    yield start + b"".join(map(pack, (FORMAT, str(checkpoint.position), str(checkpoint.src))))
    for column in checkpoint.orders:
        yield packer.pack_array_header(len(column))
        for first in range(0, len(column), SLICE_ORDERS):
            yield _items(packer, column[first : first + SLICE_ORDERS])


def _items(packer: msgpack.Packer, part: Sequence[Any]) -> bytes:
    """The items of an array without its header, which is as long as that of any array of this length."""
    header: bytes = packer.pack_array_header(len(part))
    packed: bytes = packer.pack(part)
    return packed[len(header) :]


def decode(raw: bytes) -> Checkpoint:
    """Inverse of `encode`; raises `CodecError`. What the orders hold is checked where they are restored."""
    value: Any = unpack(raw, "checkpoint")
    if not isinstance(value, list) or len(value) < _ITEMS or value[0] != FORMAT:
        raise CodecError("checkpoint", f"not an array of format {FORMAT} with {_ITEMS} items")
    position, src, *columns = value[1:_ITEMS]
    if not all(isinstance(column, list) for column in columns):
        raise CodecError("checkpoint", "the orders have the wrong type")
    try:
        return Checkpoint(Position.parse(position), Position.parse(src), OrdersCopy(*columns))
    except PositionError as error:
        raise CodecError("checkpoint", str(error)) from error
