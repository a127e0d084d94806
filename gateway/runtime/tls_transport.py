"""TLS between a TCP connection and the protocols of a gateway: to TCP a protocol, to those a transport.

Nothing waits here on its way out: what is written is encrypted and passed on at once. So what waits in the
TCP transport is all that waits, a slow client is noticed as soon as without TLS, and its updates conflate.
asyncio's own TLS holds back more than `get_write_buffer_size` says, and tells it later.

What comes is decrypted a piece at a time, in turns with what others sent
(`depthcast.gateway.runtime.intake`), and so are handshakes, because one can cost a millisecond. The front
exists before the handshake: its deadline and limits are those of the handshake, too.

Rules: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2). Renegotiation is off, so writing never waits for reading.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final, Protocol, cast

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.http_head import HeadError, error_response
from depthcast.gateway.protocol.peers import SIGNATURE, parse_proxy
from depthcast.gateway.runtime.intake import Intake

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 16_384
"""Bytes of a connection that are decrypted in one turn."""
PENDING_BYTES_MAX: Final = 65_536
"""With more bytes waiting to be decrypted, a connection is not read."""
BARREN_BYTES_MAX: Final = 65_536
"""Bytes that may come in a row without data in them: more than any handshake or record has."""
ENDING_S: Final = 2.0
"""A client whose handshake failed has this long to read why."""
HANDSHAKE_RECORD: Final = 0x16
"""First byte of every TLS connection: the type of its first record."""
PLAIN_HTTP: Final = HeadError(400, "bad_request", "this port speaks TLS: use https:// or wss://")


class Stage(Enum):
    """`SHAKING`: before the end of the handshake. `SHUT`: nothing is sent, what comes is thrown away."""

    SHAKING = auto()
    OPEN = auto()
    SHUT = auto()


class First(Protocol):
    """The first protocol above. `trusted`: the peer is a proxy, and may send a PROXY header before TLS.

    `about`: what a line of the log says of the client.
    """

    trusted: bool

    def about(self) -> dict[str, str]: ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...


class TlsTransport(asyncio.Protocol, asyncio.Transport):
    """One TLS connection. Its handshake begins with the first byte; `context` gives the certificate then."""

    __slots__ = (
        "__weakref__",
        "_about",
        "_above",
        "_barren",
        "_context",
        "_counters",
        "_ended",
        "_ending",
        "_first",
        "_full",
        "_held",
        "_incoming",
        "_intake",
        "_notified",
        "_outgoing",
        "_passed",
        "_paused",
        "_pending",
        "_reading",
        "_sending",
        "_ssl",
        "_stage",
        "_tcp",
        "queued",
    )  # fmt: skip

    def __init__(
        self, first: First, context: Callable[[], ssl.SSLContext], intake: Intake, counters: GatewayCounters
    ) -> None:
        super().__init__()
        self.queued = False
        self._above = cast("asyncio.Protocol", first)
        self._first: First | None = first
        self._about: Callable[[], dict[str, str]] = first.about
        self._context = context
        self._intake = intake
        self._counters = counters
        self._stage = Stage.SHAKING
        self._tcp: asyncio.Transport | None = None
        self._ssl: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._pending = bytearray()
        self._ended = self._notified = False
        self._reading = True
        self._paused = False
        self._held = 0
        self._barren = 0
        self._sending = self._full = False
        self._passed: bytes | None = None
        self._ending: asyncio.TimerHandle | None = None

    @property
    def _below(self) -> asyncio.Transport:
        assert self._tcp is not None
        return self._tcp

    # --- what TCP says --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast("asyncio.Transport", transport)
        self._above.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._stage is Stage.SHUT or self._ended:
            return
        self._pending += data
        self._pace()
        self._intake.add(self)
        self._hold()

    def eof_received(self) -> bool:
        """The client sends nothing more; what it has sent is worked off before the end."""
        if self._stage is Stage.SHUT:
            return False
        self._ended = True
        self._intake.add(self)
        return True

    def pause_writing(self) -> None:
        if self._sending:
            self._full = True  # `write` says so: `send` is called where nobody may be disturbed
        else:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._count_unfinished()
        self._shut()
        if self._ending is not None:
            self._ending.cancel()
        above, self._above = self._above, asyncio.Protocol()  # they refer to each other
        self._first = self._ssl = None
        self._about = dict
        above.connection_lost(exc)

    # --- what comes -----------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Decrypt a piece; returns whether there is more to do now."""
        if self._stage is Stage.SHUT or self._paused:
            return False  # `resume_reading` goes on
        try:
            more = self._worked_off()
        except Exception:
            logger.exception("connection ended by an unexpected error", extra=self._about())
            self.abort()
            return False
        if self._is_shut():
            return False
        self._pace()
        self._hold()
        return more and not self._paused

    def _worked_off(self) -> bool:
        try:
            return self._step()
        except ssl.SSLError as error:
            self._fail(error)
            return False

    def _step(self) -> bool:
        if self._pending:
            if self._ssl is None and not self._begin():
                return False
            piece = bytes(self._pending[:PIECE_BYTES])
            del self._pending[:PIECE_BYTES]
            self._incoming.write(piece)
            self._decrypt(len(piece))
        if self._ended and not self._pending and not self._is_shut():
            self._end()
        return bool(self._pending)

    def _is_shut(self) -> bool:
        """Whether it has ended meanwhile."""
        return self._stage is Stage.SHUT

    def _begin(self) -> bool:
        """Begin the handshake, if its first byte is there."""
        if self._first is not None and self._first.trusted and not self._unproxied():
            return False
        if not self._pending:
            return False
        if self._pending[0] != HANDSHAKE_RECORD:
            self._refuse_plain()
            return False
        self._first = None
        self._ssl = self._context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        return True

    def _unproxied(self) -> bool:
        """Give the PROXY header of a trusted peer to the front; returns whether TLS may begin."""
        pending = self._pending
        if not pending.startswith(SIGNATURE[: len(pending)]):
            return True
        if len(pending) < len(SIGNATURE):
            return False
        try:
            header = parse_proxy(pending)
        except HeadError:
            self.abort()
            return False
        if header is None:
            return False
        raw = bytes(pending[: header.size])
        del pending[: header.size]
        self._first = None
        self._above.data_received(raw)
        return True

    def _refuse_plain(self) -> None:
        """End a connection without TLS; a program that speaks HTTP is told why."""
        self._counters.tls_failures += 1
        if self._pending[:1].isupper():
            self._below.write(error_response(PLAIN_HTTP))
        self._end_soon()

    def _decrypt(self, count: int) -> None:
        """Give the protocol above what `count` more bytes bring."""
        assert self._ssl is not None
        self._barren += count
        data = b""
        if self._stage is Stage.OPEN or self._shake(self._ssl):
            data = self._read(self._ssl)
        self._pass_on()
        if data:
            self._barren = 0
            self._above.data_received(data)
        elif self._barren > BARREN_BYTES_MAX:
            self._counters.tls_failures += 1
            self.abort()

    def _shake(self, encrypted: ssl.SSLObject) -> bool:
        """Carry the handshake on; returns whether it is complete."""
        try:
            encrypted.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._stage, self._barren = Stage.OPEN, 0
        return True

    def _read(self, encrypted: ssl.SSLObject) -> bytes:
        taken = []
        try:
            while data := encrypted.read(PENDING_BYTES_MAX):
                taken.append(data)
        except ssl.SSLWantReadError:
            return b"".join(taken)
        except ssl.SSLZeroReturnError:
            pass
        self._ended = True  # the client said so; what follows does not count
        self._pending.clear()
        return b"".join(taken)

    def _end(self) -> None:
        """The client has ended its side, and all that it sent was worked off."""
        if not self._notified:
            self._notified = True
            self._count_unfinished()
            if self._stage is Stage.SHAKING or not self._above.eof_received():
                self.close()

    def _count_unfinished(self) -> None:
        """Count a client that went away in the handshake: it may not have liked the certificate."""
        self._counters.tls_failures += self._stage is Stage.SHAKING and self._ssl is not None

    def _fail(self, error: ssl.SSLError) -> None:
        """End a connection whose peer broke the rules of TLS, or is not let in; an alert tells it."""
        reason = error.reason or type(error).__name__
        logger.debug("TLS failed", extra={"reason": reason, **self._about()})
        self._counters.tls_failures += 1
        self._pass_on()
        self._end_soon()

    def _end_soon(self) -> None:
        """End once the client could read the last words: closing at once could take them away from it."""
        self._stop_listening()
        self._ending = self._intake.loop.call_later(ENDING_S, self._below.abort)
        with suppress(RuntimeError):  # the handle is closed already, and connection_lost is on its way
            self._below.write_eof()

    def _stop_listening(self) -> None:
        """From now on read TCP only to notice its end."""
        self._shut()
        self._paused = False
        self._pace()

    def _shut(self) -> None:
        self._stage = Stage.SHUT
        self._pending.clear()
        self._hold()

    def _pace(self) -> None:
        """Read TCP only while the protocol above wants more and little waits to be decrypted."""
        wanted = not self._paused and len(self._pending) <= PENDING_BYTES_MAX
        if wanted is self._reading or self._below.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._below.resume_reading()
        else:
            self._below.pause_reading()

    def _hold(self) -> None:
        """Tell how many bytes wait here for the rest of their record or of the handshake."""
        held = 0
        if self._stage is not Stage.SHUT:
            shaking = self._barren if self._stage is Stage.SHAKING else self._incoming.pending
            held = len(self._pending) + shaking
        if held != self._held:
            self._held = held
            self._intake.hold(self, held)

    def evict(self) -> None:
        """End because all connections together hold too much, and this one most."""
        self._counters.limit_input_buffer += 1
        self.abort()

    # --- what goes ------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        passed, self._passed = self._passed, None
        if self._full:
            self._full = False
            self._above.pause_writing()
        if data is not passed:
            self._encrypt(data)

    def send(self, data: bytes) -> int:
        """Encrypt and pass on at once; returns 0 if some of it waits now, or if it was not taken.

        Then the caller gives the same object to `write`, which says that bytes wait, and encrypts nothing
        twice.
        """
        if self._stage is not Stage.OPEN:
            return 0
        self._sending = True
        self._encrypt(data)
        self._sending = False
        if not self._full:
            return len(data)
        self._passed = data
        return 0

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        encrypted = self._ssl
        if self._stage is not Stage.OPEN or encrypted is None or not data:
            return
        try:
            done = encrypted.write(data)
            while done < len(data):
                done += encrypted.write(memoryview(data)[done:])
        except ssl.SSLError:
            self.abort()
            return
        self._pass_on()

    def _pass_on(self) -> None:
        """Send what was encrypted, and what TLS itself has to say."""
        if self._outgoing.pending:
            try:
                self._below.write(self._outgoing.read())
            except RuntimeError:
                self._shut()  # the handle is closed already, and connection_lost is on its way

    def _say_goodbye(self) -> None:
        """Send close_notify, without which the client cannot tell an end from an attack."""
        if self._stage is Stage.OPEN and self._ssl is not None:
            with suppress(ssl.SSLError):  # the client has not said it yet, and need not
                self._ssl.unwrap()
            self._pass_on()

    # --- the rest of a transport ----------------------------------------------------------------------------

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that nothing more comes; what the client sends from now on is thrown away."""
        self._say_goodbye()
        self._stop_listening()
        self._below.write_eof()

    def close(self) -> None:
        self._say_goodbye()
        self._shut()
        self._below.close()

    def abort(self) -> None:
        self._shut()
        self._below.abort()

    def is_closing(self) -> bool:
        return self._below.is_closing()

    def pause_reading(self) -> None:
        self._paused = True
        self._pace()

    def resume_reading(self) -> None:
        self._paused = False
        self._pace()
        if self._pending or self._ended:
            self._intake.add(self)

    def is_reading(self) -> bool:
        return self._reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._above

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._ssl or default
        if name == "sslcontext":
            return self._ssl.context if self._ssl is not None else default
        return self._below.get_extra_info(name, default)
