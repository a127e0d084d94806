"""How sends reach the kernel: many at a time by io_uring, by send() in C, or by Python's sockets.

The C part, `_batch.c`, is compiled where there is a C compiler. Whichever way is taken, clients get the same
bytes. Containers often forbid io_uring. Then send() takes its place: at the start, or when an error says so.
"""

import importlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from depthcast.gateway.delivery.fan_out import Batch, DirectBatch

if TYPE_CHECKING:
    from depthcast.gateway.runtime import _batch


def _compiled() -> Any:
    """The module in C; None if it is not compiled, or not wanted."""
    if os.environ.get("DEPTHCAST_PURE") == "1":
        return None
    try:
        return importlib.import_module("depthcast.gateway.runtime._batch")
    except ImportError:
        return None


in_c: Final = _compiled()
logger = logging.getLogger(__name__)

IO_URING: Final = "io_uring"
SEND: Final = "send"
PROOF: Final = bytes(range(256)) * 16
PROOFS_MAX: Final = 4096
"""More of them than a socket pair takes without being read."""


class DirectSend(Protocol):
    """Sends to one client at once; owns a descriptor."""

    def __call__(self, data: bytes, /) -> int: ...

    def close(self) -> None:
        """Close the descriptor; whatever is sent then fails."""
        ...


class SocketSend:
    """A direct send in Python."""

    __slots__ = ("_send", "_socket")

    def __init__(self, own: socket.socket) -> None:
        own.setblocking(False)
        self._socket = own
        self._send = own.send

    def __call__(self, data: bytes, /) -> int:
        return self._send(data)

    def close(self) -> None:
        """As in `DirectSend`."""
        self._socket.close()


def direct_send(peer: socket.socket) -> DirectSend:
    """A direct send with a descriptor of its own for the socket of `peer`; raises `OSError`."""
    fd = os.dup(peer.fileno())
    if in_c is not None:
        made: DirectSend = in_c.DirectSend(fd)
        return made
    return SocketSend(socket.socket(peer.family, peer.type, peer.proto, fd))


class Submission:
    """The batch of one process, by the setting `submit`. Belongs to the thread that makes it."""

    def __init__(self, submit: str) -> None:
        self.failures = 0
        self._ring: _batch.Batch | None = None
        self.batch: Batch = DirectBatch() if in_c is None else in_c.Batch()
        if submit != SEND:
            self._try_ring(wanted=submit == IO_URING)

    @property
    def by_ring(self) -> bool:
        """Whether sends go by io_uring now."""
        return self._ring is not None

    def check(self) -> None:
        """Say so, once, if the ring was given up."""
        if self._ring is not None and self._ring.failure:
            problem = os.strerror(self._ring.failure)
            self.failures += 1
            self._ring = None
            logger.warning(
                "io_uring failed; clients are sent to by send() from now on", extra={"problem": problem}
            )

    def _try_ring(self, *, wanted: bool) -> None:
        try:
            self.batch = self._ring = open_ring()
        except OSError as error:
            problem = {"problem": str(error)}
            if wanted:
                logger.warning("io_uring cannot be used; clients are sent to by send()", extra=problem)
            else:
                logger.info("io_uring cannot be used; clients are sent to by send()", extra=problem)
        else:
            logger.info("clients are sent to by io_uring")


def open_ring() -> "_batch.Batch":
    """A batch that sends by io_uring, and has shown that it does; raises `OSError`."""
    if in_c is None:
        raise OSError("the C part of the gateway is not compiled")
    ring: _batch.Batch = in_c.Batch(ring=True)
    if not proves_right(ring) or ring.failure:
        raise OSError("it did not send what it was given")
    return ring


def proves_right(batch: Batch) -> bool:
    """Whether a batch sends through a socket pair exactly what it says, until the pair takes no more."""
    ours, theirs = socket.socketpair()
    unsent: Sequence[tuple[Any, Any, bytes, int]] = ()
    with ours, theirs:
        theirs.setblocking(False)
        through, taken = direct_send(ours), 0
        try:
            for _ in range(PROOFS_MAX):
                batch.add(None, {None: through}, [PROOF[:100], PROOF[100:]])
                unsent = batch.finish()
                taken += unsent[0][3] if unsent else len(PROOF)
                if unsent:
                    break
            got = bytearray()
            while len(got) < taken:
                got += theirs.recv(taken - len(got))
            whole, part = divmod(taken, len(PROOF))
            return bool(unsent) and taken > 0 and got == PROOF * whole + PROOF[:part]
        except BlockingIOError:
            return False
        finally:
            through.close()
