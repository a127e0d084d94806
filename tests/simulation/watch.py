"""Checks during the simulation: seq never goes back, digests agree, nothing breaks the protocol."""

from collections.abc import Callable, Mapping
from typing import Any

from depthcast.client.client import Client
from depthcast.client.transport import ConnectionLost, Transport
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, Kind, Levels

Held = tuple[int, dict[int, int], dict[int, int]]
"""A book as a service has it: seq, bids, asks."""

EXPECTED_REFUSALS = frozenset({"unreachable", "unknown_symbol", "unavailable", "closed"})


def _after(levels: dict[int, int], changed: Levels) -> dict[int, int]:
    after = {**levels, **dict(changed)}
    return {price: quantity for price, quantity in after.items() if quantity}


class Watch:
    """Collects `problems`, each a line of text."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.resumed = 0
        self.merged = 0
        self.updates = 0
        self.sizes_of: Callable[[str, int], tuple[str, ...] | None] = lambda _symbol, _seq: None

    def problem(self, text: str) -> None:
        """Record a problem."""
        self.problems.append(text)

    def reader(self, name: str, seen: dict[str, int], update: BookUpdate) -> None:
        """Check an update of a stream consumer; `seen`: the last seq by symbol."""
        self.updates += 1
        before = seen.get(update.symbol, 0)
        if update.seq < before:
            self.problem(f"{name}: {update.symbol} went back from seq {before} to {update.seq}")
        seen[update.symbol] = update.seq

    def service(self, name: str, held: dict[str, Held], update: BookUpdate) -> None:
        """Check a service that knows only what was delivered, to it or before it: its books are right."""
        bids, asks = ({**side.levels} for side in update.book.sides)
        seq, own_bids, own_asks = held.get(update.symbol, (0, {}, {}))
        if update.kind is Kind.SNAPSHOT:
            own_bids, own_asks = bids, asks
        elif update.seq <= seq:
            return  # delivered before
        else:
            own_bids, own_asks = _after(own_bids, update.bids), _after(own_asks, update.asks)
        held[update.symbol] = update.seq, own_bids, own_asks
        if (own_bids, own_asks) != (bids, asks):
            self.problem(f"{name}: a change of {update.symbol} between seq {seq} and {update.seq} was missed")

    def counted(self, name: str, client: Client) -> None:
        """Check a client's counters: within a connection there are no gaps, and digests agree."""
        self.updates += 1
        counters = client.counters
        if counters.gaps or counters.mismatches:
            self.problem(f"{name}: {counters.gaps} gaps and {counters.mismatches} mismatches")

    def sized(self, name: str, client: Client, symbol: str) -> None:
        """Check that a client's book is shown with the sizes of its own listing."""
        seq = client.seq(symbol)
        wanted = self.sizes_of(symbol, seq)
        if wanted is not None and client.sizes(symbol) != wanted:
            self.problem(f"{name}: {symbol} at seq {seq} has the sizes {client.sizes(symbol)}, not {wanted}")

    def refused(self, name: str, error: ClientError | ConnectionLost) -> None:
        """Check a refusal of a client; some codes may come whenever a gateway or its Redis is away."""
        code = error.code if isinstance(error, ClientError) else "unreachable"
        if code not in EXPECTED_REFUSALS:
            self.problem(f"{name}: {error}")

    def connection(self, name: str, transport: Transport) -> Transport:
        """`transport`, watched."""
        return WatchedTransport(self, name, transport)


class WatchedTransport:
    """Checks messages: within a subscription seq strictly increases, and a delta follows the one before.

    `parts`: by symbol, the part that came last of a snapshot that is not whole yet.
    """

    def __init__(self, watch: Watch, name: str, transport: Transport) -> None:
        self.watch = watch
        self.name = name
        self.transport = transport
        self.seqs: dict[str, int] = {}
        self.parts: dict[str, int] = {}

    async def receive(self) -> Mapping[str, Any]:
        message = await self.transport.receive()
        kind, symbol = message.get("type"), message.get("symbol", "")
        if kind == "subscribed":
            self.seqs[symbol] = message.get("seq", 0)
            self.parts.pop(symbol, None)
            self.watch.resumed += message["resumed"]
        elif kind in ("snapshot", "delta") and self._is_whole(message, symbol):
            self._data(message, symbol)
        return message

    def _is_whole(self, message: Mapping[str, Any], symbol: str) -> bool:
        """Check that parts come in order and deltas not between them; False before the last part."""
        part, parts = message.get("part", 1), message.get("parts", 1)
        came = self.parts.pop(symbol, 0)
        if part not in (1, came + 1) or (came and "part" not in message):
            self.watch.problem(f"{self.name}: {symbol} sent {message} after part {came}")
        if part < parts:
            self.parts[symbol] = part
        return bool(part == parts)

    def _data(self, message: Mapping[str, Any], symbol: str) -> None:
        before = self.seqs.get(symbol, 0)
        if message["seq"] <= before:
            self.watch.problem(f"{self.name}: {symbol} sent seq {message['seq']} after {before}")
        if message["type"] == "delta":
            self.watch.merged += message["merged"] > 1
            if message["prev_seq"] != before:
                self.watch.problem(
                    f"{self.name}: {symbol} sent a delta from {message['prev_seq']} after {before}"
                )
        self.seqs[symbol] = message["seq"]

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.transport.send(message)

    async def close(self) -> None:
        await self.transport.close()
