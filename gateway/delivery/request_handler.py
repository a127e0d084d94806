"""Carries out a client's requests: one message in, replies out, one symbol at a time."""

from collections.abc import Iterator
from typing import Any, Final

from depthcast.gateway.delivery.session import Session, Wildcard
from depthcast.gateway.protocol.messages import TEXTUAL
from depthcast.gateway.protocol.requests import (
    Credit,
    Ping,
    Refused,
    Subscribe,
    Unparsable,
    Unsubscribe,
    parse,
    quoted,
)
from depthcast.shared.close_codes import CloseCode

UNPARSABLE_MAX: Final = 10
"""The connection ends after this many unparsable messages."""


def answer(session: Session, raw: str | bytes) -> Iterator[None]:
    """Carry out one message. At each step the caller lets the connection drain, so replies do not pile up."""
    session.counters.requests += 1
    session.sender.hold()
    try:
        for _ in _answer(session, raw):
            if session.sender.writer.paused:
                session.sender.release()
                yield
                session.sender.hold()
    finally:
        session.sender.release()


def _answer(session: Session, raw: str | bytes) -> Iterator[None]:
    try:
        request = parse(raw, session.sender.encoding)
    except Unparsable as error:
        _unparsable(session, error)
        return
    except Refused as refused:
        session.sender.refuse(refused.code, refused.message, refused.id)
        return
    match request:
        case Subscribe():
            yield from _subscribe(session, request)
        case Unsubscribe():
            yield from _unsubscribe(session, request)
        case Credit(messages):
            session.add_credit(messages)
        case Ping(request_id):
            session.sender.send({"type": "pong", "ts": session.clock_us()}, request_id)
    session.serve()


def _unparsable(session: Session, error: Unparsable) -> None:
    session.counters.unparsable += 1
    session.unparsable += 1
    kind = "JSON" if session.sender.encoding in TEXTUAL else "msgpack"
    session.sender.refuse("bad_request", f"not {kind}: {quoted(str(error))}")
    if session.unparsable >= UNPARSABLE_MAX:
        session.ended = CloseCode.MISUSE


def _subscribe(session: Session, request: Subscribe) -> Iterator[None]:
    symbols, listings, settings = request.symbols, session.market.listings, session.settings
    if not listings:
        session.sender.refuse(
            "unavailable", "no instruments are known yet; try again in a few seconds", request.id
        )
        return
    if request.interval_ms > settings.interval_max_ms:
        session.counters.limit_interval += 1
        request = request._replace(interval_ms=settings.interval_max_ms)
    if request.wildcard:
        if not settings.wildcard:
            session.sender.refuse("forbidden", '["*"] is not allowed here; name the symbols', request.id)
            return
        session.wildcard = Wildcard(request.depth, request.interval_ms)
        symbols = list(listings)
    for symbol in _distinct(symbols):
        _subscribe_named(session, request, symbol)
        yield


def _subscribe_named(session: Session, request: Subscribe, symbol: object) -> None:
    if not isinstance(symbol, str):
        session.sender.refuse("bad_request", f"a symbol is text, not {quoted(symbol)}", request.id)
        return
    listing = session.market.listings.get(symbol)
    if listing is None:
        hint = 'use ["*"] alone for all' if symbol == "*" else "GET /v1/symbols lists what there is"
        session.sender.refuse(
            "unknown_symbol", f"no symbol {quoted(symbol)}; {hint}", request.id, symbol[:64]
        )
        return
    session.subscribe(listing, request.depth, request.interval_ms, request.id, request.resume.get(symbol))


def _unsubscribe(session: Session, request: Unsubscribe) -> Iterator[None]:
    symbols = request.symbols
    if request.wildcard and (session.wildcard or session.subscriptions):
        session.wildcard = None
        symbols = list(session.subscriptions)
    for symbol in _distinct(symbols):
        if not isinstance(symbol, str):
            session.sender.refuse("bad_request", f"a symbol is text, not {quoted(symbol)}", request.id)
        elif not session.unsubscribe(symbol, request.id):
            problem = f"there is no subscription to {quoted(symbol)}"
            session.sender.refuse("not_subscribed", problem, request.id, symbol[:64])
        yield


def _distinct(symbols: list[Any]) -> Iterator[Any]:
    """Each text once; other values every time, because each is answered with an error."""
    seen = set()
    for symbol in symbols:
        if isinstance(symbol, str):
            if symbol in seen:
                continue
            seen.add(symbol)
        yield symbol
