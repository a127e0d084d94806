"""Checkpoints in the trace of a run: the order of orders in them says nothing, and differs by process."""

from typing import Any

import msgpack

from depthcast.ingestor.checkpoint import FORMAT

ITEMS = 9
_FIRST = bytes([0x90 | ITEMS])


def without_order(what: Any) -> Any:
    """A command or a reply, with the orders of each checkpoint in it by their IDs."""
    if isinstance(what, list | tuple):
        return type(what)(map(without_order, what)) if type(what) in (list, tuple) else what
    if not isinstance(what, bytes) or not what.startswith(_FIRST):
        return what
    try:
        items = msgpack.unpackb(what, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return what
    if items[0] != FORMAT:
        return what
    for ids, orders in ((3, 4), (5, 6)):
        pairs = sorted(zip(items[ids], items[orders], strict=True), key=str)
        items[ids], items[orders] = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return items
