"""Targets: what a WebSocket client sends. The parser alone, and a whole session beside other clients."""

from collections.abc import Callable
from typing import Any, Final

import msgpack
import orjson

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.messages import DEPTHS, Encoding
from depthcast.gateway.protocol.requests import Credit, Refused, Subscribe, Unparsable, Unsubscribe, parse
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.error_codes import GATEWAY_CODES
from depthcast.shared.types import MAX_INTEGER
from tests.fuzz.material import Material, packed, written
from tests.fuzz.target import Target
from tests.unit.gateway.model_client import ModelClient
from tests.unit.gateway.small_market import SmallMarket

WORDS: Final = (
    "op", "id", "symbols", "depth", "interval_ms", "resume", "parts", "seq", "digest", "messages",
    "subscribe", "unsubscribe", "credit", "ping", "AAA", "BBB", "*", "code", "token", "group",
)  # fmt: skip
SYMBOLS: Final = ("AAA", "BBB")
ERROR_BYTES_MAX: Final = 1000
"""An error to a client is short, whatever it sent."""


def _symbols(material: Material) -> Any:
    if material.chance(20):
        return material.value(WORDS)
    return material.items(lambda: material.choose((*SYMBOLS, "CCC", "*")), 4) or ["*"]


def _message(material: Material) -> Any:
    """A message: mostly a request with values that are right or nearly."""
    kind = material.below(6)
    if kind == 5:
        return material.value(WORDS)
    message: dict[str, Any] = {"op": ("subscribe", "unsubscribe", "credit", "ping", "subscribe")[kind]}
    if kind in (0, 4):
        message |= {"symbols": _symbols(material), "depth": material.choose(DEPTHS)}
        message["interval_ms"] = material.choose((0, 0, 50, 100, 7, 60_000))
        if material.chance(60):
            message["group"] = material.choose((1, 2, 7, MAX_INTEGER, 0, -1))
    elif kind == 1:
        message["symbols"] = _symbols(material)
    elif kind == 2:
        message["messages"] = material.below(5) + 1
    if kind == 4:
        message["parts"] = True
    if material.chance(100):
        message["id"] = material.choose((1, "a", "b" * 64, -5))
    if material.chance(30):
        message["resume"] = {
            material.choose(SYMBOLS): {"seq": material.integer(), "digest": material.integer()}
            for _ in range(material.below(3))
        }
    if material.chance(30):
        message[material.choose(WORDS)] = material.value(WORDS)
    return message


def _parsed(encoding: Encoding, write: Callable[[Any], bytes]) -> Callable[[bytes], None]:
    def parsed(data: bytes) -> None:
        material = Material(data)
        raw = material.rest() if material.byte() % 2 else write(_message(material))
        try:
            request = parse(raw, encoding)
        except Unparsable:
            return
        except Refused as refused:
            _check_refusal(refused)
            return
        if isinstance(request, Subscribe):
            assert request.depth in DEPTHS
            assert request.interval_ms >= 0
            assert 1 <= request.group_ticks <= MAX_INTEGER
            for seq, digest, orders_digest in request.resume.values():
                assert type(seq) is type(digest) is int
                assert orders_digest is None or type(orders_digest) is int
        if isinstance(request, Subscribe | Unsubscribe):
            assert request.symbols
            assert request.wildcard == (request.symbols == ["*"])
        if isinstance(request, Credit):
            assert 1 <= request.messages <= MAX_INTEGER

    return parsed


def _check_refusal(refused: Refused) -> None:
    assert refused.code in GATEWAY_CODES
    assert len(refused.message) <= ERROR_BYTES_MAX


class _Client(ModelClient):
    """A model client that also sends bytes as they are, and offers states that it does not have."""

    def __init__(self, market: SmallMarket, encoding: Encoding) -> None:
        super().__init__(market, encoding)
        self.offered: dict[str, Any] = {}

    def send_raw(self, raw: bytes) -> None:
        if self.session.ended is not None:
            return
        try:
            request = parse(raw, self.encoding)
        except (Unparsable, Refused):
            request = None
        if isinstance(request, Credit):
            while self.credit is None and self.writer.waiting:  # what was sent before counts for nothing
                self.drain(len(self.writer.waiting))
            self.credit = (self.credit or 0) + request.messages
        for _ in answer(self.session, raw):
            pass
        self.read()

    def _subscribed(self, message: dict[str, Any], symbol: str) -> None:
        super()._subscribed(message, symbol)
        if message["resumed"] and symbol not in self.views:
            # It guessed a state that exists: then it has it.
            group = message.get("group", 1)
            bids, asks = self.market.books[symbol].view(message["seq"], message["depth"], group)
            self.views[symbol] = (dict(bids), dict(asks))

    def _follow(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            assert message["code"] in GATEWAY_CODES
            assert len(repr(message)) <= ERROR_BYTES_MAX
        super()._follow(message)


def session(data: bytes) -> None:
    """A hostile client beside an honest one: both see right books, and the honest one all of them."""
    material = Material(data)
    market = SmallMarket(
        *SYMBOLS, history_deltas=4, part_levels_max=2, write_buffer_bytes=1024, subscriptions_max=3
    )
    honest = ModelClient(market)
    honest.subscribe(*SYMBOLS, depth=10, parts=True)
    encoding = material.choose((Encoding.JSON, Encoding.MSGPACK))
    hostile = _Client(market, encoding)
    write = written if encoding is Encoding.JSON else packed
    while material.left:
        kind = material.below(16)
        if kind < 8:
            hostile.send_raw(write(_message(material)))
        elif kind == 8:
            hostile.send_raw(material.chunk())
        elif kind == 9:
            hostile.writer.reads = not hostile.writer.reads
            hostile.drain(2000)
        elif kind == 10:
            hostile.drain(material.byte() * 8)
        elif kind == 11:
            market.now += material.below(8)
            market.core.sweep(market.now)
        elif kind == 12:
            market.grid()
        else:
            symbol, side = material.choose(SYMBOLS), material.below(2)
            change = {(material.below(9) + 1) * (1 if side else -1): material.below(4)}
            held = market.books[symbol].sides[side]
            change = {price: quantity for price, quantity in change.items() if quantity or price in held}
            market.publish(symbol, *(({}, change) if side else (change, {})))
        hostile.read()
        honest.read()
        assert len(hostile.session.subscriptions) <= 3
        assert hostile.session.ended is None or hostile.session.ended in CloseCode
    market.heartbeat()
    market.grid()
    honest.read()
    honest.check_current()
    assert honest.states == dict.fromkeys(SYMBOLS, "live")
    hostile.drain(10**6)
    market.core.close(hostile.session)
    assert list(market.core.sessions) == [honest.session]


_SUBSCRIBE: Final[dict[str, Any]] = {
    "op": "subscribe", "symbols": ["AAA"], "depth": 5, "id": 1, "resume": {"AAA": {"seq": 1, "digest": 2}},
}  # fmt: skip

TARGETS: Final = (
    Target(
        "requests_json", _parsed(Encoding.JSON, written), "Unparsable or Refused, or a request in range",
        (b"\x01" + orjson.dumps(_SUBSCRIBE), b"\x01" + b"[" * 40, b"\x00\x00\xff\x00\x05\x01"),
    ),
    Target(
        "requests_msgpack", _parsed(Encoding.MSGPACK, packed), "Unparsable or Refused, or a request in range",
        (b"\x01" + msgpack.packb(_SUBSCRIBE), b"\x01" + b"\x91" * 40, b"\x00\x00\xff\x00\x05\x01"),
    ),
    Target(
        "session", session, "right books for it and for everybody else, within its limits",
        (bytes(range(100)), b"\x00\x00\xff\xff\x00\xff\x01\xff\x00\x03\x0f\x00\x01\x05\x02" * 6),
    ),
)  # fmt: skip
