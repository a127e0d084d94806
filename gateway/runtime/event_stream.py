"""An event stream: a session whose messages go out as server-sent events, on the connection of its request.

Its request says everything that it subscribes to. Nothing is read from the client any more but its end.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.credentials import ANYONE, Credentials
from depthcast.gateway.delivery.request_handler import Steps, carry_out
from depthcast.gateway.delivery.session import too_deep_text
from depthcast.gateway.protocol.events import end, retry
from depthcast.gateway.protocol.grant import EVERYTHING, Grant
from depthcast.gateway.protocol.http_head import Head, HeadError
from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.requests import Subscribe, quoted
from depthcast.gateway.protocol.stream_http import parse_stream
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.writer import TransportWriter
from depthcast.shared.close_codes import CloseCode, Reconnect

RETRY_AFTER: Final = ("Retry-After: 5",)
_PARTS: Final = 1_000

logger = logging.getLogger(__name__)


def random_share() -> float:
    """A random number from 0 to 1."""
    return secrets.randbelow(_PARTS) / _PARTS


class EventStream(asyncio.Protocol):
    """The transport's protocol once the head of the answer is written.

    `closing`: the code it was ended with, if any. `lost`: done once the connection is gone.
    """

    def __init__(
        self,
        core: Core,
        transport: asyncio.Transport,
        intake: Intake,
        request: Subscribe,
        credentials: Credentials = ANYONE,
    ) -> None:
        self.core = core
        self.transport = transport
        self.intake = intake
        self.loop = asyncio.get_running_loop()
        self.writer = TransportWriter(transport, core.settings.write_buffer_bytes)
        self.closing: int | None = None
        self.lost = self.loop.create_future()
        self.queued = False
        self.on_end: Callable[[], None] | None = None
        self.about: Callable[[], Mapping[str, str]] = dict
        self._unasked_bytes = 0
        self._abort: asyncio.TimerHandle | None = None
        self.writer.write(retry(Reconnect.AT_ONCE, random_share()))
        name, now = secrets.token_hex(8), self.loop.time()
        self.session = core.open(self.writer, Encoding.EVENTS, name, now, credentials)
        self._work: Steps | None = carry_out(self.session, request)
        intake.add(self)

    def step(self) -> bool:
        """Begin some more subscriptions; returns whether there is more to do now."""
        if self._work is None or self.writer.paused:
            return False  # `resume_writing` goes on
        try:
            waits = next(self._work, self)
            if waits is self:
                self._work = None
            elif waits:
                self.core.market.demand.wait(self)
                return False  # `wake` goes on
        except Exception:
            logger.exception("stream ended by an unexpected error", extra=self.shown())
            self.close(CloseCode.GOING_AWAY)
        return self._work is not None

    def wake(self) -> None:
        """Go on with what is still to be begun."""
        if self._work is not None:
            self.intake.add(self)

    def shown(self) -> dict[str, str]:
        """What a line of the log says of the client."""
        return {"session": self.session.name, **self.about()}

    def close(self, code: int, linger_s: float | None = None) -> None:
        """Say why and end; the client has `linger_s` to read what was sent to it."""
        if self.closing is not None or self.lost.done():
            return
        self.closing = code
        self._work = None
        self.core.close(self.session)
        self.writer.write(end(code, random_share()))
        self.writer.shut = True
        self.transport.close()
        linger_s = self.core.settings.close_linger_s if linger_s is None else linger_s
        self._abort = self.loop.call_later(linger_s, self.transport.abort)

    # --- what the transport says ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Throw away what the client sends; one that goes on and on loses its connection."""
        self._unasked_bytes += len(data)
        if self._unasked_bytes > self.core.settings.head_bytes_max:
            self.core.counters.limit_input_rate += 1
            self.transport.abort()

    def pause_writing(self) -> None:
        self.writer.clear = False
        self.session.leave_fast_path()

    def resume_writing(self) -> None:
        self.writer.clear = True
        if self.closing is None:
            self.session.serve()
            self.wake()

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._work = None
        self.writer.close()
        self.core.close(self.session)
        if self._abort is not None:
            self._abort.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        on_end, self.on_end = self.on_end, None  # it refers to this stream
        if on_end is not None:
            on_end()
        self.about = dict  # likewise


def stream_request(core: Core, head: Head, grant: Grant = EVERYTHING) -> Subscribe:
    """Return what a request for a stream subscribes to; raises `HeadError` if nothing of it can be served.

    A symbol that cannot be served beside others is named in the stream.
    """
    try:
        request = parse_stream(head, core.settings.subscriptions_max)
    except HeadError as error:
        core.counters.limit_message_symbols += error.code == "limit"
        raise
    if not core.market.listings:
        text = "no instruments are known yet; try again in a few seconds"
        raise HeadError(503, "unavailable", text, RETRY_AFTER)
    limit = grant.rights.limit(request.depth, request.group_ticks)
    if limit is not None:
        core.counters.forbidden += 1
        raise HeadError(403, "forbidden", limit)
    if request.wildcard:
        if not core.settings.wildcard:
            raise HeadError(403, "forbidden", "symbols=* is not allowed here; name the symbols")
        return request
    refusals = (_refusal(core, symbol, request, grant) for symbol in request.symbols)
    first = next(refusals)
    if first is None or None in refusals:
        return request
    core.counters.limit_full_depth += first.code == "limit"
    core.counters.forbidden += first.code == "forbidden"
    raise first


def _refusal(core: Core, symbol: str, request: Subscribe, grant: Grant) -> HeadError | None:
    """Why a symbol cannot be served; None if it can."""
    if not grant.rights.may_read(symbol):
        return HeadError(403, "forbidden", f"the token does not allow {quoted(symbol)}")
    listing = core.market.listings.get(symbol)
    if listing is None:
        text = f"no symbol {quoted(symbol)}; GET /v1/symbols lists what there is"
        return HeadError(404, "unknown_symbol", text)
    if request.orders and (uncounted := listing.without_orders()) is not None:
        return HeadError(400, "no_orders", uncounted)
    if not core.market.too_deep(listing, request.depth, request.group_ticks):
        return None
    text = too_deep_text(listing, core.settings.full_depth_max, request.group_ticks)
    return HeadError(400, "limit", text)


def overloaded(code: CloseCode) -> HeadError:
    """The error of a stream too many, for which a WebSocket would be closed with `code`."""
    if code is CloseCode.RATE_LIMIT:
        text = "too many connections of this address, token or page; try again later"
        return HeadError(429, "rate_limited", text, RETRY_AFTER)
    return HeadError(503, "unavailable", "too many connections; try again later", RETRY_AFTER)
