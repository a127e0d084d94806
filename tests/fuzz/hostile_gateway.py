"""Target: what a gateway sends to the Python client. A hostile one cannot make a wrong book live."""

from typing import Any, Final

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import ClientSession
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import ClientError
from depthcast.updates import State
from tests.fuzz.material import Material
from tests.fuzz.target import Target

TYPES: Final = (
    "welcome",
    "subscribed",
    "snapshot",
    "delta",
    "status",
    "unsubscribed",
    "pong",
    "error",
    "new",
)
KEYS: Final = (
    "type", "symbol", "seq", "prev_seq", "bids", "asks", "digest", "merged", "ts", "state", "id", "code",
    "message", "depth", "resumed", "heartbeat_ms", "reason", "tick_size", "part", "parts",
)  # fmt: skip
WORDS: Final = (*KEYS, "A", "B", "*", "live", "stale", "unavailable", "limit")
SYMBOLS: Final = ("A", "B")
OUTBOX_MAX: Final = 12
"""Requests that one message may cause."""


def client(data: bytes) -> None:
    """Any message is taken or refused by ClientError; a live book has the digest it was announced with."""
    material = Material(data)
    session = ClientSession(material.choose((None, 4)))
    session.subscribe(SYMBOLS, SubscriptionOptions(5))
    session.connected()
    while material.left:
        kind = material.below(20)
        if kind == 0:
            session.disconnected()
            session.connected()
        elif kind == 1:
            session.updates.clear()
        else:
            session.outbox.clear()
            _receive(session, _message(material, session))
            session.return_credit()
        assert len(session.outbox) <= OUTBOX_MAX
        assert set(session.updates) <= {*session.books, *SYMBOLS, *session.updates}
        for book in session.books.values():
            if book.state is State.LIVE:
                bids, asks = book.replica.book.bids.top(), book.replica.book.asks.top()
                assert digest_of(bids, asks) == book.replica.digest
                assert all(quantity > 0 for _, quantity in (*bids, *asks))


def _receive(session: ClientSession, message: dict[str, Any]) -> None:
    code = "bad_message"
    try:
        session.receive(message)
    except ClientError as error:
        code = error.code
    assert code == "bad_message"


def _message(material: Material, session: ClientSession) -> dict[str, Any]:
    """A message that fits the session's books, perhaps with a value replaced."""
    kind, symbol = material.choose(TYPES), material.choose(SYMBOLS)
    message: dict[str, Any] = {"type": kind, "symbol": symbol, "id": material.below(4)}
    if kind == "subscribed":
        message |= {"depth": 5, "resumed": material.chance(40), "seq": material.below(9)}
    elif kind == "status":
        message["state"] = material.choose(("live", "stale"))
    elif kind in ("snapshot", "delta"):
        rows = [
            {
                1 + material.below(5): material.below(4) + (kind == "snapshot")
                for _ in range(material.below(4))
            }
            for _ in range(2)
        ]
        book = session.books.get(symbol)
        held = (
            [dict(side.levels) for side in book.replica.book.sides] if book and kind == "delta" else [{}, {}]
        )
        after = [
            {price: size for price, size in (before | changed).items() if size}
            for before, changed in zip(held, rows, strict=True)
        ]
        seq = book.replica.seq if book else 0
        message |= {
            "prev_seq": seq, "seq": seq + 1 + material.below(2), "merged": 1, "ts": 5, "depth": 5,
            "bids": [list(row) for row in rows[0].items()], "asks": [list(row) for row in rows[1].items()],
            "digest": digest_of(after[0].items(), after[1].items()),
        }  # fmt: skip
    if kind == "snapshot" and material.chance(60):
        message |= {"part": 1 + material.below(3), "parts": 1 + material.below(3)}
    if material.chance(90):
        message[material.choose(KEYS)] = material.value(WORDS)
    return message


TARGETS: Final = (
    Target(
        "client", client, "ClientError, or books that have their digest",
        (b"\x00\x05\x01\x00\x00\x00\xff\x05\x02\x00\x00\x02\x01\x02\x01\x01\xff" * 3, bytes(range(90))),
    ),
)  # fmt: skip
