"""One WebSocket after its handshake: frames in, the closing handshake, and the end.

The library's protocol unmasks, inflates and checks what `depthcast.gateway.protocol.frame_check` lets
through, and knows how a connection closes. Data frames go out past it, as prebuilt bytes. What a message does
is for a subclass.
"""

import asyncio
import codecs
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Final

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.allowance import Allowance
from depthcast.gateway.delivery.request_handler import Steps
from depthcast.gateway.protocol.frame_check import FrameCheck, FrameError
from depthcast.gateway.protocol.negotiation import Handshake
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.writer import TransportWriter
from depthcast.shared.close_codes import CloseCode, closing
from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 16_384
"""Payload bytes of a frame that are worked off in one step."""
PENDING_BYTES_MAX: Final = 65_536
"""With more bytes waiting to be worked off, a connection is not read; one that sends too fast is closed."""
PACE_S: Final = 0.01
"""A connection that sends too fast waits at least this long for its next turn."""
FAILED_LINGER_S: Final = 2.0
REFUSED_LINGER_S: Final = 2.0


class WebSocket(asyncio.Protocol, ABC):
    """The transport's protocol after the handshake `protocol`.

    `closing`: the code of the close frame sent, if any. `lost`: done once the connection is gone.
    """

    def __init__(
        self,
        protocol: Handshake,
        transport: asyncio.Transport,
        settings: GatewaySettings,
        counters: GatewayCounters,
        intake: Intake,
    ) -> None:
        self.protocol = protocol
        self.transport = transport
        self.settings = settings
        self.counters = counters
        self.intake = intake
        self.loop = asyncio.get_running_loop()
        self.writer = TransportWriter(transport, settings.write_buffer_bytes)
        self.closing: int | None = None
        self.lost = self.loop.create_future()
        self.queued = False
        self.on_end: Callable[[], None] | None = None
        self.on_offence: Callable[[], None] | None = None
        self.about: Callable[[], Mapping[str, str]] = dict
        self.check = FrameCheck(settings.message_bytes_max, compressed=bool(protocol.extensions))
        self._pending = bytearray()
        self._unread = False
        self._over = False
        self._work: Steps | None = None
        self._text: bool | None = None
        self._parts = bytearray()
        now = intake.clock()
        self._frames = Allowance(settings.messages_per_s, settings.messages_burst_max, now)
        most = max(settings.input_bytes_burst_max, settings.message_bytes_max)
        self._bytes = Allowance(settings.input_bytes_per_s, most, now)
        self._pace: asyncio.TimerHandle | None = None
        self._held = 0
        self._since = 0.0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._abort: asyncio.TimerHandle | None = None

    # --- for subclasses -------------------------------------------------------------------------------------

    @abstractmethod
    def message(self, data: str | bytes) -> Steps:
        """Carry out one message, a small step at a time: text as str, binary as bytes."""

    def ended(self) -> None:
        """Nothing more is sent or carried out; may be called repeatedly."""

    def full(self) -> None:
        """Bytes began to wait in the writer."""

    def drained(self) -> None:
        """No byte waits in the writer any more."""

    def waits(self) -> None:
        """Nothing of the message can be carried out before something else happens; then `wake` is called."""

    def too_fast(self) -> None:
        """The connection ends because the client sends too much."""

    # --- the end --------------------------------------------------------------------------------------------

    def close(self, code: int, linger_s: float | None = None, reason: str | None = None) -> None:
        """Send the close frame and nothing after it; the client has `linger_s` to read it and answer."""
        if self.closing is not None or self.lost.done():
            return
        self.closing = code
        self._note_offence(code)
        self.ended()
        self.protocol.send_close(code, closing(code).reason if reason is None else reason)
        self._flush()
        self.writer.shut = True
        self._abort_after(self.settings.close_linger_s if linger_s is None else linger_s)
        self.wake()

    def refuse(self, code: CloseCode) -> None:
        """Close a connection that was never served."""
        self.close(code, REFUSED_LINGER_S)

    def _note_offence(self, code: int) -> None:
        if code == CloseCode.RATE_LIMIT and self.on_offence is not None:
            self.on_offence()

    def _fail(self, code: int, reason: str) -> None:
        self._note_offence(code)
        self.protocol.fail(code, reason)
        self._flush()

    def _flush(self) -> None:
        """Write what the protocol wants to send; its empty bytes mean that the connection is over."""
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            else:
                self._finish()

    def _finish(self) -> None:
        protocol = self.protocol
        self._over = True
        if self.closing is None:
            close = protocol.close_sent or protocol.close_rcvd
            self.closing = close.code if close is not None else CloseCode.LOST
        self.ended()
        self.writer.shut = True
        self._forget()
        self._read_again()
        if protocol.close_rcvd is not None and protocol.parser_exc is None:
            self._abort_after(self.settings.close_linger_s)
            self.transport.close()
            return
        # The client may still be sending. Closing now would reset the connection, and the client would never
        # see the close frame; so for a while, what comes is read and thrown away.
        self._abort_after(FAILED_LINGER_S, at_most=True)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _forget(self) -> None:
        """Hold nothing that the client sent."""
        self._pending.clear()
        self._parts.clear()
        self._work = None
        if self._pace is not None:
            self._pace.cancel()
        if self._held:
            self._held = 0
            self.intake.hold(self, 0)

    def evict(self) -> None:
        """End because all connections together hold too much, and this one most."""
        if self._over:
            return
        self.counters.limit_input_buffer += 1
        self._fail(CloseCode.OVERLOADED, "too many unfinished messages; try again later")

    def sweep(self, now: float) -> None:
        """End the connection if its message takes too long to come."""
        waiting = not (self.queued or self._pace or self._work or self.writer.paused or self._over)
        if self._held and waiting and now - self._since >= self.settings.message_timeout_s:
            self.counters.unfinished += 1
            self._fail(CloseCode.TOO_SLOW, "a message was not complete in time")

    def _abort_after(self, seconds: float, *, at_most: bool = False) -> None:
        if self.lost.done() or (self._abort is not None and not at_most):
            return
        if self._abort is not None:
            self._abort.cancel()
        self._abort = self.loop.call_later(seconds, self.transport.abort)

    # --- what the transport says ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._pending += data
        if len(self._pending) > PENDING_BYTES_MAX and not self._unread:
            self._unread = True
            self.transport.pause_reading()
        self.intake.add(self)
        self._hold()

    def _hold(self) -> None:
        """Tell how many bytes of unfinished messages this connection holds."""
        held = 0 if self._over else len(self._pending) + self.check.taken + len(self._parts)
        if held != self._held:
            if not self._held:
                self._since = self.loop.time()
            self._held = held
            self.intake.hold(self, held)

    def pause_writing(self) -> None:
        self.writer.clear = False
        self.full()

    def resume_writing(self) -> None:
        self.writer.clear = True
        if self.closing is None:
            self.drained()
        self.wake()

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._over = True
        self._forget()
        self._release()
        self.writer.close()
        self.ended()
        if self._abort is not None:
            self._abort.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        on_end, self.on_end = self.on_end, None  # it may refer to this connection
        if on_end is not None:
            on_end()
        self.about = dict  # likewise

    def _release(self) -> None:
        """Free what the protocol holds now: it is in a cycle, which would be collected late."""
        self.protocol.parser.close()
        self.protocol.reader.discard()
        self.protocol.extensions = []

    def wake(self) -> None:
        """Go on with what was left to do."""
        if self._pending or self._work is not None:
            self.intake.add(self)

    def _read_again(self) -> None:
        if self._unread and not self.lost.done() and not self.transport.is_closing():
            self._unread = False
            self.transport.resume_reading()

    # --- work -----------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Work off one small piece; returns whether there is more to do now."""
        if self._over:
            return False
        try:
            more = self._step()
            self._hold()
            return more
        except Exception:
            logger.exception("connection ended by an unexpected error", extra=self.shown())
            self._work = None
            self.close(CloseCode.GOING_AWAY)
            return False

    @property
    def name(self) -> str:
        """Name of the session in logs."""
        return str(self.protocol.id)

    def shown(self) -> dict[str, str]:
        """What a line of the log says of the client."""
        return {"session": self.name, **self.about()}

    def _step(self) -> bool:
        if self.closing is not None:
            self._work = None
        elif self.writer.paused:
            return False  # `resume_writing` goes on
        elif self._work is not None:
            waits = next(self._work, self)
            if waits is self:
                self._work = None
            elif waits:
                self.waits()
                return False  # `wake` goes on
            return self._work is not None or bool(self._pending)
        fed = bool(self._pending) and self._feed()
        if self._unread and len(self._pending) <= PENDING_BYTES_MAX // 2:
            self._read_again()
        return self._work is not None or (fed and bool(self._pending))

    def _feed(self) -> bool:
        """Parse one piece of what waits; returns whether there was one."""
        pending = self._pending
        if not self.check.missing and not self._in_time():
            return False
        try:
            count = self.check.take(pending, PIECE_BYTES)
        except FrameError as error:
            self.counters.limit_message_bytes += error.code == CloseCode.TOO_BIG
            self._fail(error.code, error.reason)
            return False
        if not count:
            return False
        piece = bytes(pending[:count])
        del pending[:count]
        self.protocol.receive_data(piece)
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            self._frames.use(1)
            self._bytes.use(len(frame.data))
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and self.closing is None:
                self._data(frame)
        self.counters.limit_message_bytes += isinstance(self.protocol.parser_exc, PayloadTooBig)
        _forget_traceback(self.protocol.parser_exc)
        self._flush()
        return True

    def _in_time(self) -> bool:
        """Whether the next frame may be worked off now; else it is later, or never if much more waits."""
        now = self.intake.clock()
        # A frame may take the last bytes and more: how many it has is known once it is inflated.
        if self._frames.take(0, now) and self._bytes.take(0, now):
            return True
        wait_s = max(self._frames.wait_s(0), self._bytes.wait_s(0), PACE_S)
        if len(self._pending) > PENDING_BYTES_MAX:
            self.counters.limit_input_rate += self.closing is None
            if self.closing is None:
                self.too_fast()
            self._fail(CloseCode.RATE_LIMIT, closing(CloseCode.RATE_LIMIT).reason)
        elif self._pace is None:
            self._pace = self.loop.call_later(wait_s, self._go_on)
        return False

    def _go_on(self) -> None:
        self._pace = None
        self.wake()

    def _data(self, frame: Frame) -> None:
        """Collect the frames of a message; carry it out when it is complete."""
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
            self._decoder = codecs.getincrementaldecoder("utf-8")() if self._text and not frame.fin else None
        whole = bytes(frame.data)
        if len(self._parts) + len(whole) > self.settings.message_bytes_max:
            self.counters.limit_message_bytes += 1
            self._fail(CloseCode.TOO_BIG, "message too big")
            return
        try:
            if self._decoder is not None:
                self._decoder.decode(whole, frame.fin)
            if not frame.fin:
                self._parts += whole
                return
            if self._parts:
                whole, self._parts = bytes(self._parts + whole), bytearray()
            message = whole.decode() if self._text else whole
        except UnicodeDecodeError:
            self._fail(CloseCode.WRONG_DATA, closing(CloseCode.WRONG_DATA).meaning)
            return
        self._since = self.loop.time()
        self._work = self.message(message)


def _forget_traceback(error: BaseException | None) -> None:
    """Free what the stack of an error holds: the refused message, in a cycle that is collected late."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
