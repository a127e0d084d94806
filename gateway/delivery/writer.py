"""What a session needs from its connection: a place to write, and whether it can take more.

The runtime implements it over a transport (`depthcast.gateway.runtime.writer`); tests implement it over a
list.
"""

from collections.abc import Callable
from typing import Protocol

Send = Callable[[bytes], int]
"""Passes bytes to the kernel at once and returns how many it took; raises `OSError` if it took none."""


class Writer(Protocol):
    """The sending half of a connection.

    - `paused`: more bytes than the mark are waiting; write only what cannot wait.
    - `clear`: nothing is waiting. The connection tells the session each time this changes.
    - `buffered`: bytes accepted but not yet passed to the kernel.
    - `direct`: sends past any waiting bytes, so use it only while `clear`; give the rest of a partial send to
      `write`. Raises `OSError` if direct sends are impossible.
    """

    @property
    def paused(self) -> bool: ...

    @property
    def clear(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def buffered(self) -> int: ...

    def direct(self) -> Send: ...
