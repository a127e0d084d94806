"""Writes the same bytes to many clients: the loop in which a gateway spends most of its time.

The loop does nothing that could be done once, and is compiled if there is a C compiler.
"""

from typing import Any

from depthcast.gateway.delivery.writer import Send


def write_to_each(sends: dict[Any, Send], data: bytes) -> list[tuple[Send, int]]:
    """Send `data` through every value of `sends`; returns the keys that took fewer bytes, and how many."""
    size = len(data)
    short: list[tuple[Send, int]] = []
    for send in sends.values():
        try:
            sent = send(data)
        except OSError:
            sent = 0
        if sent != size:
            short.append((send, sent))
    return short
