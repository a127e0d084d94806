"""The adapter of the toy venue (`tests.venues.model_toy`): small, and with every kind of output."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from depthcast.feed.venue import (
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Profile,
    Quality,
    Refused,
    Request,
    Sizes,
    Skipped,
    Snapshot,
    Update,
    VenueLevel,
)
from tests.venues.model_toy import crc


class ToyAdapter:
    def __init__(self, *, by_rest: bool) -> None:
        self.by_rest = by_rest
        self.subscribed: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.waiting: dict[str, list[dict[str, Any]]] = {}

    def connect_path(self, symbols: Sequence[str]) -> str:
        return ""

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.subscribed |= set(symbols)
        for symbol in symbols:
            self.waiting[symbol] = []
        return [json.dumps({"op": "subscribe", "symbols": list(symbols)})]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        for symbol in symbols:
            self.subscribed.discard(symbol)
            self.numbers.pop(symbol, None)
        return [json.dumps({"op": "unsubscribe", "symbols": list(symbols)})]

    def ping(self, now: int) -> str | bytes | None:
        return json.dumps({"op": "ping"})

    def take(self, raw: str | bytes, now: int) -> Iterable[Output]:
        try:
            message = json.loads(raw)
        except ValueError:
            return [self._doubt(symbol, DoubtReason.MALFORMED, "no JSON") for symbol in sorted(self.numbers)]
        kind = message.get("kind", "pong")
        if kind in ("heartbeat", "pong", "subscribed"):
            return [Alive()]
        if kind == "refused":
            return [Refused(message["s"], "no such symbol")]
        if kind not in ("snapshot", "update"):
            return [Skipped(kind)]
        return self._book(message)

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> Iterable[Output]:
        message = json.loads(raw)
        waiting = self.waiting.get(symbol, [])
        if waiting and message["to"] < waiting[0]["from"]:
            return []
        later = [each for each in waiting if each["to"] > message["to"]]
        self.waiting[symbol] = []
        outputs = self._book(message)
        for each in later:
            outputs += self._book(each)
        return outputs

    def snapshot_request(self, symbol: str) -> Request | None:
        return Request(f"/book?symbol={symbol}") if self.by_rest else None

    def check_request(self, symbol: str) -> Request | None:
        return None

    def take_check(self, symbol: str, raw: bytes) -> Iterable[Output]:
        return []

    def lost(self) -> Iterable[Doubt]:
        doubts = [self._doubt(symbol, DoubtReason.DISCONNECTED, "") for symbol in sorted(self.subscribed)]
        self.waiting.clear()
        return doubts

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        return None

    def _doubt(self, symbol: str, reason: DoubtReason, detail: str) -> Doubt:
        self.numbers.pop(symbol, None)
        self.waiting[symbol] = []
        return Doubt(symbol, reason, detail)

    def _book(self, message: dict[str, Any]) -> list[Output]:
        symbol, last = message["s"], self.numbers.get(message["s"])
        bids, asks = ([(price, lots) for price, lots in message[side]] for side in "ba")
        if message["kind"] == "snapshot":
            self.numbers[symbol] = message["to"]
            return [Snapshot(symbol, bids, asks, sequence=message["to"])]
        if last is None:
            self.waiting.setdefault(symbol, []).append(message)
            return []
        if last - 50 < message["to"] <= last:
            return []  # a duplicate
        if (problem := _problem(message, last)) is not None:
            return [self._doubt(symbol, problem, f"{message['from']} to {message['to']} after {last}")]
        self.numbers[symbol] = message["to"]
        return [Update(symbol, bids, asks, sequence=message["to"], checked=True)]


def _problem(message: Mapping[str, Any], last: int) -> DoubtReason | None:
    if message["to"] <= last:
        return DoubtReason.RESET
    if message["from"] > last:
        return DoubtReason.GAP
    return DoubtReason.CHECKSUM if crc(message["b"], message["a"]) != message["crc"] else None


class Toy:
    """The toy as a venue; `facts` replace those of the profile."""

    def __init__(self, *, by_rest: bool = False, **facts: Any) -> None:
        self.by_rest = by_rest
        given: dict[str, Any] = {
            "name": "toy-rest" if by_rest else "toy",
            "title": "Toy",
            "ws_url": "ws://127.0.0.1:9",
            "rest_url": "http://127.0.0.1:9",
            "quality": Quality("from = previous to", "CRC32 of each message", "all levels"),
            "symbols_per_connection": 10,
            "sends_per_s": 100.0,
            "request_weight_per_min": 6000,
            "silence_s": 1.0,
            "snapshot_by_rest": by_rest,
        }
        self.profile = Profile(**{**given, **facts})

    def adapter(self) -> ToyAdapter:
        return ToyAdapter(by_rest=self.by_rest)

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        return [Request("/instruments")]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        (answer,) = answers
        listed: Mapping[str, Mapping[str, str]] = json.loads(answer)
        return {symbol: Sizes(each["tick"], each["lot"]) for symbol, each in listed.items()}
