"""A client's WebSocket: its messages go to a session, and the session's messages to it."""

import asyncio
import secrets

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.credentials import ANYONE, Credentials
from depthcast.gateway.delivery.request_handler import Steps, answer
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.protocol.messages import DEFLATED, TEXTUAL, Encoding
from depthcast.gateway.protocol.negotiation import Handshake
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.close_codes import CloseCode


class Connection(WebSocket):
    """The WebSocket of one session; `session` is None until `serve`."""

    def __init__(self, core: Core, protocol: Handshake, transport: asyncio.Transport, intake: Intake) -> None:
        super().__init__(protocol, transport, core.settings, core.counters, intake)
        self.core = core
        plain = Encoding(protocol.subprotocol or Encoding.JSON)
        self.encoding = DEFLATED[plain] if protocol.extensions else plain
        self.session: Session | None = None

    def serve(self, credentials: Credentials = ANYONE) -> None:
        """Open the session, which sends `welcome`."""
        name, now = secrets.token_hex(8), self.loop.time()
        self.session = self.core.open(self.writer, self.encoding, name, now, credentials)

    @property
    def name(self) -> str:
        return self.session.name if self.session is not None else super().name

    def message(self, data: str | bytes) -> Steps:
        session = self.session
        assert session is not None
        if isinstance(data, str) != (self.encoding in TEXTUAL):
            self.close(CloseCode.MISUSE)
            return
        yield from answer(session, data)
        if session.ended is not None:
            self.close(session.ended)

    def waits(self) -> None:
        self.core.market.demand.wait(self)

    def too_fast(self) -> None:
        if self.session is not None:
            limits = self.settings
            self.session.sender.refuse(
                "rate_limited",
                f"more than {limits.messages_per_s} messages or {limits.input_bytes_per_s} bytes a second, "
                f"after {limits.messages_burst_max} or {limits.input_bytes_burst_max} at once",
            )

    def ended(self) -> None:
        if self.session is not None:
            self.core.close(self.session)

    def full(self) -> None:
        if self.session is not None:
            self.session.leave_fast_path()

    def drained(self) -> None:
        if self.session is not None:
            self.session.serve()
