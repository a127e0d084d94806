"""Ports of this machine for servers that are told where to listen, and may be started there again.

A port that the system picks for `bind(0)` is one that it may also give to an outgoing connection, at once or
while the server restarts; the server is then refused it. The ports here are never given to connections, and
two processes that ask at the same time get different ones.
"""

import os
import secrets
import socket
from collections import deque
from pathlib import Path
from typing import Final

__all__ = ["HOST", "free_port", "held", "server_ports"]

HOST: Final = "127.0.0.1"

_FIRST: Final = 10_000
_LAST: Final = 65_535
_ROOM_MIN: Final = 1000
"""With fewer ports than these left to servers, the system chooses."""

_TRIES: Final = 200
_HELD_MAX: Final = 64

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_USUAL: Final = (32_768, 65_535)
"""Covers Linux, macOS and Windows as they are delivered."""

held: deque[int] = deque()
"""Descriptors of datagram sockets on the ports given last: other callers meet them, TCP servers do not."""


def free_port() -> int:
    """Return a port of `HOST` on which nobody listens, and which no outgoing connection takes.

    It stays this process's against others that call this, while at most 64 more are given.
    """
    ports = server_ports(*_ephemeral())
    for _ in range(_TRIES if len(ports) >= _ROOM_MIN else 0):
        port = secrets.choice(ports)
        if _hold(port):
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        chosen: int = probe.getsockname()[1]
        return chosen


def server_ports(first_ephemeral: int, last_ephemeral: int) -> range:
    """The larger of the two ranges of ports from 10,000 that outgoing connections leave."""
    below = range(_FIRST, min(first_ephemeral, _LAST + 1))
    above = range(max(last_ephemeral + 1, _FIRST), _LAST + 1)
    return max(below, above, key=len)


def _ephemeral() -> tuple[int, int]:
    try:
        first, last = map(int, _EPHEMERAL.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return _EPHEMERAL_USUAL
    return first, last


def _hold(port: int) -> bool:
    """Hold a port against other callers; False if one has it, or somebody listens there."""
    holder = socket.socket(type=socket.SOCK_DGRAM)
    try:
        holder.bind((HOST, port))
        with socket.socket() as probe:
            probe.bind((HOST, port))
    except OSError:
        holder.close()
        return False
    held.append(holder.detach())
    if len(held) > _HELD_MAX:
        os.close(held.popleft())
    return True
