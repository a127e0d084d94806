"""The sending half of a session: writes frames to the connection and counts credit.

It knows no subscriptions. Requests and time-outs are in `depthcast.gateway.delivery.session`.
"""

from typing import Any, NamedTuple

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.writer import Writer
from depthcast.gateway.market.held_back import FREE, NOTHING_CONFLATED, PACED, Conflated, HeldBack
from depthcast.gateway.protocol.messages import Encoding, encode
from depthcast.gateway.protocol.requests import RequestId
from depthcast.shared.types import MAX_INTEGER


class Payload(NamedTuple):
    """Bytes to write at once, with their numbers of deltas, snapshots and merged broadcasts."""

    data: bytes
    deltas: int = 0
    snapshots: int = 0
    conflated: Conflated = NOTHING_CONFLATED

    @property
    def messages(self) -> int:
        """Its cost in credit."""
        return self.deltas + self.snapshots


EMPTY = Payload(b"")


class Sender:
    """Writes one client's frames.

    - `credit`: snapshots and deltas that may still be sent; None outside credit mode.
    - `bytes_written`: bytes written so far. Bytes written on the fast path are added when a group leaves it.
    - `write_bytes_max`: the mark; replies are held, and catch-ups written at once, up to this many bytes.
    - `full_at`, `no_credit_at`: number of the last broadcast at which something was owed, and the buffer was
      full, or there was no credit; 0: never.
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "bytes_written",
        "counters",
        "credit",
        "encoding",
        "full_at",
        "no_credit_at",
        "write_bytes_max",
        "writer",
    )

    def __init__(
        self, writer: Writer, encoding: Encoding, write_bytes_max: int, counters: GatewayCounters
    ) -> None:
        self.writer = writer
        self.encoding = encoding
        self.write_bytes_max = write_bytes_max
        self.counters = counters
        self.credit: int | None = None
        self.bytes_written = 0
        self.full_at = self.no_credit_at = 0
        self._held: list[bytes] | None = None
        self._held_bytes = 0

    def write(self, data: bytes, payload: Payload = EMPTY) -> None:
        """Write frames; `payload` describes the market data in them, which costs credit."""
        counters = self.counters
        if self._held is None:
            self.writer.write(data)
        else:
            self._hold(data, self._held)
        self.bytes_written += len(data)
        counters.bytes_sent += len(data)
        counters.deltas += payload.deltas
        counters.snapshots += payload.snapshots
        if payload.conflated:
            counters.conflate(payload.conflated.items())
        if self.credit is not None:
            self.credit -= payload.messages

    def add_credit(self, messages: int) -> None:
        """Allow `messages` more snapshots and deltas; the first call begins credit mode."""
        self.credit = min((self.credit or 0) + messages, MAX_INTEGER)

    # --- what holds the client back -------------------------------------------------------------------------

    def note_not_ready(self, number: int) -> None:
        """Note that something is owed at the market's `number`, if the client cannot be sent it."""
        if self.writer.paused:
            self.full_at = number
        if self.credit == 0:
            self.no_credit_at = number

    def held_back(self, cursor: int, interval_ms: int) -> HeldBack:
        """What has held the client back since `cursor`; equal for all clients that get the same for it."""
        if self.full_at <= cursor and self.no_credit_at <= cursor:
            return PACED if interval_ms else FREE
        return HeldBack(
            self.full_at if self.full_at > cursor else 0,
            self.no_credit_at if self.no_credit_at > cursor else 0,
            bool(interval_ms),
        )

    # --- control messages -----------------------------------------------------------------------------------

    def send(self, message: dict[str, Any], request_id: RequestId | None = None) -> None:
        """Send one control message, with the `id` of the request it answers."""
        if request_id is not None:
            message["id"] = request_id
        self.counters.others += 1
        self.write(encode(message, self.encoding))

    def refuse(
        self, code: str, message: str, request_id: RequestId | None = None, symbol: str | None = None
    ) -> None:
        """Send an `error`."""
        error: dict[str, Any] = {"type": "error", "code": code, "message": message}
        if symbol is not None:
            error["symbol"] = symbol
        self.send(error, request_id)

    # --- replies that go out together -----------------------------------------------------------------------

    def hold(self) -> None:
        """Collect frames until `release`, up to the mark, so that replies to one request go out together."""
        self._held = []
        self._held_bytes = 0

    def release(self) -> None:
        """Write the collected frames."""
        held, self._held = self._held, None
        if held:
            self.writer.write(b"".join(held))

    def _hold(self, data: bytes, held: list[bytes]) -> None:
        held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > self.write_bytes_max:
            self.release()
            self.hold()
