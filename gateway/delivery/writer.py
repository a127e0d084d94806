"""What a session needs of its connection: somewhere to write, and whether it can take more.

The runtime implements it over a transport (`depthcast.gateway.runtime.writer`); tests implement it over a
list.
"""

from collections.abc import Callable
from typing import Protocol

Send = Callable[[bytes], int]
"""Hands bytes to the kernel at once and returns how many it took; raises `OSError` if it took none."""


class Writer(Protocol):
    """The sending half of a connection.

    - `paused`: more bytes than the mark are waiting; write nothing more if it can wait.
    - `clear`: nothing is waiting. Its owner reports to the session when that ends, and when it is so again.
    - `buffered`: bytes accepted but not yet handed to the kernel.
    - `direct`: a way past what is waiting, so use it only while `clear`; what it did not take is then for
      `write`. Raises `OSError` if there is none.
    """

    @property
    def paused(self) -> bool: ...

    @property
    def clear(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def buffered(self) -> int: ...

    def direct(self) -> Send: ...
