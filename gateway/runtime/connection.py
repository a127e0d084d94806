"""One WebSocket connection: messages in, the closing handshake, and the end.

Frames are written directly to the transport. The web server's sending is never used, not even for closing,
where it would wait for a client that does not read.
"""

import asyncio
import logging
import secrets
import zlib
from typing import Final

from aiohttp import WSMsgType, web
from aiohttp.hdrs import SEC_WEBSOCKET_EXTENSIONS
from multidict import CIMultiDict

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.protocol.frames import close_frame
from depthcast.gateway.protocol.messages import DEFLATED, TEXTUAL, Encoding
from depthcast.gateway.runtime.writer import Hooks, TransportWriter
from depthcast.shared.close_codes import NEVER_SENT, CloseCode, closing

logger = logging.getLogger(__name__)

DEFLATE: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
FAILED_LINGER_S: Final = 2.0
REFUSED_LINGER_S: Final = 2.0
QUIET_S: Final = 0.2
"""After this long without bytes, everything in flight has arrived."""


class RawWebSocket(web.WebSocketResponse):
    """A WebSocketResponse for handshake and receiving; only `Connection` closes its transport.

    After a message that is too big or malformed, the base class closes the transport right after its close
    frame. With bytes of that message still unread, the kernel would send a reset, and the client would never
    see the reason.
    """

    def _close_transport(self) -> None:
        pass

    def _handshake(self, request: web.BaseRequest) -> tuple[CIMultiDict[str], str | None, int, bool]:
        """Accept compression only without context takeover (frames are shared) and with the full window."""
        headers, protocol, window_bits, _ = super()._handshake(request)
        headers.popall(SEC_WEBSOCKET_EXTENSIONS, None)
        if window_bits == zlib.MAX_WBITS:
            headers[SEC_WEBSOCKET_EXTENSIONS] = DEFLATE
            return headers, protocol, window_bits, True
        return headers, protocol, 0, False


class Connection:
    """A connection after its handshake. `closing`: the code of the close frame sent, if any."""

    def __init__(
        self, core: Core, socket: RawWebSocket, transport: asyncio.Transport, linger_s: float
    ) -> None:
        self.core = core
        self.socket = socket
        self.transport = transport
        self.linger_s = linger_s
        self.loop = asyncio.get_running_loop()
        self.closing: int | None = None
        self.failed = False
        self.lost = self.loop.create_future()
        plain = Encoding(socket.ws_protocol or Encoding.JSON)
        self.encoding = DEFLATED[plain] if socket.compress else plain
        self.writer = TransportWriter(transport, core.settings.write_buffer_bytes)
        inner = transport.get_protocol()
        assert isinstance(inner, asyncio.Protocol)
        self.hooks = Hooks(
            inner, self.writer, on_full=self._full, on_drained=self._drained, on_lost=self._lost
        )
        transport.set_protocol(self.hooks)
        self.session: Session | None = None
        self._writable: asyncio.Future[None] | None = None
        self._abort: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        name = secrets.token_hex(8)
        self.session = self.core.open(self.writer, self.encoding, name, self.loop.time())
        try:
            await self._receive(self.session)
        except Exception:
            logger.exception("connection ended by an unexpected error", extra={"session": name})
            self.close(CloseCode.GOING_AWAY)
        finally:
            self.core.close(self.session)
            await self._finish()

    async def refuse(self, code: CloseCode) -> None:
        """Close a connection without serving it."""
        self.close(code, REFUSED_LINGER_S)
        while (await self.socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            pass
        await self._finish()

    def close(self, code: int, linger_s: float | None = None) -> None:
        """Send the close frame and nothing after it; the client has `linger_s` to read it and answer."""
        if self.closing is not None:
            return
        self.closing = code
        if self.session is not None:
            self.core.close(self.session)
        self.writer.write(close_frame(code, closing(code).reason))
        self.writer.shut = True
        self._release()
        self._abort_after(self.linger_s if linger_s is None else linger_s)

    # --- receiving ------------------------------------------------------------------------------------------

    async def _receive(self, session: Session) -> None:
        wanted = WSMsgType.TEXT if self.encoding in TEXTUAL else WSMsgType.BINARY
        while True:
            message = await self.socket.receive()
            if message.type is wanted:
                if self.closing is None:
                    await self._handle(session, message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.close(CloseCode.MISUSE)
            elif message.type is WSMsgType.CLOSE:
                self._answer_close(message.data)
                return
            else:
                self._failed(message.data)
                return

    async def _handle(self, session: Session, data: str | bytes) -> None:
        """Handle one message; the transport must drain before the next one and between its replies."""
        for _ in answer(session, data):
            await self._until_writable()
            if self.closing is not None:
                return
        if session.ended is not None:
            self.close(session.ended)
        await self._until_writable()

    async def _until_writable(self) -> None:
        while self.writer.paused and self.closing is None and not self.lost.done():
            self._writable = self.loop.create_future()
            await self._writable

    def _answer_close(self, code: int) -> None:
        self.close(code if 1000 <= code < 5000 and code not in NEVER_SENT else CloseCode.NORMAL)

    def _failed(self, error: object) -> None:
        """End a connection after invalid frames or end of input; the web server has sent a close frame."""
        code = getattr(error, "code", None)
        self.core.counters.limit_message_bytes += code == CloseCode.TOO_BIG
        self.failed = True
        self.closing = self.closing or code or CloseCode.LOST
        self.writer.shut = True

    # --- the end --------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Close the transport once nothing can be lost; returns when the connection is gone."""
        if self.failed:
            await self._until_quiet()
        self._abort_after(self.linger_s)
        self.transport.close()
        await self.lost

    def _abort_after(self, seconds: float) -> None:
        if self._abort is None and not self.lost.done():
            self._abort = self.loop.call_later(seconds, self.transport.abort)

    async def _until_quiet(self) -> None:
        """Read and ignore what is in flight, because closing earlier would reset the connection."""
        deadline = self.loop.time() + FAILED_LINGER_S
        before = -1
        while not self.lost.done() and self.hooks.received != before and self.loop.time() < deadline:
            before = self.hooks.received
            await asyncio.wait({self.lost}, timeout=QUIET_S)

    def _full(self) -> None:
        if self.session is not None:
            self.session.leave_fast_path()

    def _drained(self) -> None:
        self._release()
        if self.session is not None and self.closing is None:
            self.session.serve()

    def _release(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _lost(self) -> None:
        if self.session is not None:
            self.core.close(self.session)
        if self._abort is not None:
            self._abort.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        self._release()
