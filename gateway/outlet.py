"""What a session needs of its connection: somewhere to write, and whether it can take more.

The runtime gives a transport this face; tests give it a list.
"""

from collections.abc import Callable
from typing import Protocol


class Outlet(Protocol):
    """The sending half of a connection.

    `paused`: more than the mark is waiting, write nothing more if it can wait. `buffered`: bytes accepted but not yet
    handed to the kernel. `send` writes likewise, without asking whether the connection is still there: for those who are
    told when it is not; it may raise `RuntimeError` then.
    """

    @property
    def send(self) -> Callable[[bytes], object]: ...

    @property
    def paused(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def buffered(self) -> int: ...
