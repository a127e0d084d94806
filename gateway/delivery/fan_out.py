"""Writes the same bytes to each of many clients: the loop that a gateway spends most of its own time in.

Nothing that could be done once is done in it, and it is compiled where there is a C compiler.
"""

from typing import Any

from depthcast.gateway.delivery.writer import Send


def write_to_each(sends: dict[Any, Send], data: bytes) -> list[tuple[Send, int]]:
    """Send `data` through every value of `sends`; returns those that took fewer bytes, and how many."""
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
