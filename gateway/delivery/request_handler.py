"""Carries out a client's requests: one message in, replies out, in steps of bounded work.

What a message may cost is bounded in itself (`depthcast.gateway.protocol.requests` bounds its size), and what
all messages of a client may cost by an allowance of subscription changes. `ping` and `credit` look at no
subscription.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from depthcast.gateway.delivery.authentication import authenticate
from depthcast.gateway.delivery.session import Session, Wildcard
from depthcast.gateway.protocol.grant import Rights
from depthcast.gateway.protocol.intervals import rounded
from depthcast.gateway.protocol.messages import TEXTUAL, UNGROUPED
from depthcast.gateway.protocol.requests import (
    Auth,
    Credit,
    Ping,
    Refused,
    Request,
    RequestId,
    Subscribe,
    Unparsable,
    Unsubscribe,
    parse,
    quoted,
)
from depthcast.shared.close_codes import CloseCode

UNPARSABLE_MAX: Final = 10
"""The connection ends after this many unparsable messages."""
RATE_LIMITED_MAX: Final = 10
"""The connection ends after this many messages beyond its allowance, one after the other."""
STEP_COST: Final = 32
"""What is carried out in one step, approximately: a symbol costs 1 or more."""
LEVELS_PER_STEP_COST: Final = 64
"""Building a view of this many levels takes about as long as subscribing to one symbol."""
LEVELS_FREE: Final = 1_000
LEVELS_PER_CHANGE: Final = 200
"""For the allowance, so many levels count as one more change: of a full book those beyond `LEVELS_FREE`, of a
book that has to be grouped first all of them, because nobody else may want that group."""
REPLAYED_PER_CHANGE: Final = 10
REPLAYED_PER_STEP_COST: Final = 2
"""The same of changes of a book that are computed again for a client that resumes."""
REFUSED_COST: Final = 0.1
LOOKED_AT_PER_STEP: Final = 256
"""Symbols of a message that are looked at in one step, before those of them are taken up that need be."""
ERRORS_MAX: Final = 100
"""Errors sent in answer to one message; the others are counted in one more."""


Steps = Iterator[bool | None]
"""Work in steps, so that others have their turn and buffers drain. After a true value, nothing can be done
until the market's `demand` wakes the client, though trying earlier does no harm."""


def answer(session: Session, raw: str | bytes) -> Steps:
    """Carry out one message."""
    session.counters.requests += 1
    yield from _step_by_step(session, _answer(session, raw))


def carry_out(session: Session, request: Request) -> Steps:
    """Carry out a request that did not come as a message."""
    yield from _step_by_step(session, _carry_out(session, request))


def _step_by_step(session: Session, work: Steps) -> Steps:
    """Write the replies of each step together; do nothing more once the session is closed."""
    session.sender.hold()
    try:
        for waits in work:
            session.sender.release()
            yield waits
            if session.closed:
                return
            session.sender.hold()
    finally:
        session.sender.release()


def _answer(session: Session, raw: str | bytes) -> Steps:
    try:
        request = parse(raw, session.sender.encoding, session.settings.subscriptions_max)
    except Unparsable as error:
        _unparsable(session, error)
        return
    except Refused as refused:
        session.counters.limit_message_symbols += refused.code == "limit"
        session.sender.refuse(refused.code, refused.message, refused.id)
        return
    yield from _carry_out(session, request)


def _carry_out(session: Session, request: Request) -> Steps:
    if session.credentials.grant is None and not isinstance(request, Auth | Ping):
        text = "this gateway wants a token: send auth with one before anything else"
        session.sender.refuse("unauthorized", text, getattr(request, "id", None))
        return
    match request:
        case Subscribe():
            yield from _subscribe(session, request)
        case Unsubscribe():
            yield from _unsubscribe(session, request)
        case Auth():
            yield from authenticate(session, request, lambda before: _begin(session, before))
        case Credit(messages):
            session.add_credit(messages)
        case Ping(request_id):
            session.sender.send({"type": "pong", "ts": session.clock_us()}, request_id)
            return
    session.serve()


def _unparsable(session: Session, error: Unparsable) -> None:
    session.counters.unparsable += 1
    session.unparsable += 1
    kind = "JSON" if session.sender.encoding in TEXTUAL else "msgpack"
    session.sender.refuse("bad_request", f"not {kind}: {quoted(str(error))}")
    if session.unparsable >= UNPARSABLE_MAX:
        session.ended = CloseCode.MISUSE


def _subscribe(session: Session, request: Subscribe) -> Steps:
    symbols, listings, settings = request.symbols, session.market.listings, session.settings
    if not listings:
        session.sender.refuse(
            "unavailable", "no instruments are known yet; try again in a few seconds", request.id
        )
        return
    if request.interval_ms > settings.interval_max_ms:
        session.counters.limit_interval += 1
    least_ms = session.credentials.interval_min_ms
    interval_ms = rounded(max(request.interval_ms, least_ms), settings.interval_max_ms)
    request = request._replace(interval_ms=interval_ms)
    if request.wildcard:
        if not settings.wildcard:
            session.sender.refuse("forbidden", '["*"] is not allowed here; name the symbols', request.id)
            return
        refusal = session.credentials.limit(request.depth, interval_ms, request.group_ticks)
        if refusal is not None:
            session.counters.forbidden += 1
            session.sender.refuse("forbidden", refusal, request.id)
            return
        wildcard = Wildcard(request.depth, interval_ms, request.parts, request.group_ticks, request.orders)
        session.wildcard = wildcard
        symbols = list(listings)
    yield from _take_up(session, request, symbols)

    def change(symbol: object, errors: _Errors) -> _Cost:
        return _subscribe_named(session, request, symbol, errors)

    yield from _each(session, symbols, request.id, change)


def _take_up(session: Session, request: Subscribe, symbols: list[Any]) -> Steps:
    """Have the symbols followed that are about to be subscribed to; wait for their books, but not too long.

    A subscription begins without a book otherwise, and has nothing to resume from.
    """
    market, settings = session.market, session.settings
    if market.demand.everything:
        return
    session.refill_changes()
    held, room = session.subscriptions, settings.subscriptions_max - len(session.subscriptions)
    asked: list[str] = []
    for number, symbol in enumerate(islice(_distinct(symbols), max(0, int(session.changes.left) + 1)), 1):
        if _may_subscribe(session, request, symbol) and (symbol in held or len(asked) < room):
            asked.append(symbol)
        if number % LOOKED_AT_PER_STEP == 0:
            yield None
    market.ask(asked, past=bool(request.resume))
    until_us = session.clock_us() + settings.follow_wait_s * 1e6
    while (asked := market.awaited(asked)) and session.clock_us() < until_us:
        yield True


def _may_subscribe(session: Session, request: Subscribe, symbol: object) -> bool:
    if not isinstance(symbol, str) or symbol not in session.market.listings:
        return False
    credentials = session.credentials
    return credentials.refusal(symbol, request.depth, request.interval_ms, request.group_ticks) is None


def _begin(session: Session, before: Rights) -> Steps:
    """Subscribe to the symbols that `*` brings, without those that it brought with the rights before."""
    assert session.wildcard is not None
    depth, interval_ms, parts, group_ticks, orders = session.wildcard
    symbols = list(session.market.listings)
    request = Subscribe(None, symbols, depth, interval_ms, {}, True, parts, group_ticks, orders)
    yield from _take_up(session, request, [symbol for symbol in symbols if not before.may_read(symbol)])

    def change(symbol: object, errors: _Errors) -> _Cost:
        if isinstance(symbol, str) and before.may_read(symbol):
            return _LOOKED_AT
        return _subscribe_named(session, request, symbol, errors)

    yield from _each(session, symbols, None, change)


class _Cost(NamedTuple):
    """What one symbol of a message cost: of the session's allowance, and of a step."""

    changes: float
    step: float


_REFUSED: Final = _Cost(REFUSED_COST, REFUSED_COST)
_LOOKED_AT: Final = _Cost(0, REFUSED_COST)
"""Of a symbol that is not for this client, as many of a `*` may be."""
_ONE: Final = _Cost(1, 1)
_SMALL: Final = _Cost(1, 2)
"""Of a subscription at a small depth; the depth alone decides, because that is quick."""


def _refusal(session: Session, request: Subscribe, symbol: str) -> tuple[str, str] | None:
    """The code and the text with which a symbol is refused; None if it may be subscribed to."""
    depth, group_ticks, orders = request.depth, request.group_ticks, request.orders
    forbidden = session.credentials.refusal(symbol, depth, request.interval_ms, group_ticks)
    if forbidden is not None:
        session.counters.forbidden += 1
        return "forbidden", forbidden
    listing = session.market.listings.get(symbol)
    if listing is None:
        hint = 'use ["*"] alone for all' if symbol == "*" else "GET /v1/symbols lists what there is"
        return "unknown_symbol", f"no symbol {quoted(symbol)}; {hint}"
    if orders and (without := listing.without_orders()) is not None:
        return "no_orders", without
    limit = session.limit(listing, depth, group_ticks, orders=orders)
    return None if limit is None else ("limit", limit)


def _subscribe_named(session: Session, request: Subscribe, symbol: object, errors: "_Errors") -> _Cost:
    if not isinstance(symbol, str):
        errors.refuse("bad_request", f"a symbol is text, not {quoted(symbol)}")
        return _REFUSED
    if request.wildcard and not session.credentials.may_read(symbol):
        return _LOOKED_AT
    refusal = _refusal(session, request, symbol)
    if refusal is not None:
        errors.refuse(*refusal, symbol)
        return _REFUSED
    listing = session.market.listings[symbol]
    depth, group_ticks, orders = request.depth, request.group_ticks, request.orders
    levels = listing.levels_read(depth, group_ticks)
    free = LEVELS_FREE if listing.is_grouped_by(group_ticks) else 0
    replayed = session.subscribe(
        listing,
        depth,
        request.interval_ms,
        request.id,
        request.resume.get(symbol),
        in_parts=request.parts,
        group_ticks=group_ticks,
        orders=orders,
    )
    again = _Cost(replayed / REPLAYED_PER_CHANGE, replayed / REPLAYED_PER_STEP_COST)
    if group_ticks == UNGROUPED and 0 < depth <= LEVELS_PER_STEP_COST:
        cost = _SMALL
    else:
        cost = _Cost(1 + max(0, levels - free) / LEVELS_PER_CHANGE, 1 + levels / LEVELS_PER_STEP_COST)
    return _Cost(cost.changes + again.changes, cost.step + again.step)


def _unsubscribe(session: Session, request: Unsubscribe) -> Steps:
    symbols = request.symbols
    if request.wildcard and (session.wildcard or session.subscriptions):
        session.wildcard = None
        symbols = list(session.subscriptions)

    def change(symbol: object, errors: _Errors) -> _Cost:
        if not isinstance(symbol, str):
            errors.refuse("bad_request", f"a symbol is text, not {quoted(symbol)}")
            return _REFUSED
        if not session.unsubscribe(symbol, request.id):
            errors.refuse("not_subscribed", f"there is no subscription to {quoted(symbol)}", symbol)
            return _REFUSED
        return _ONE

    yield from _each(session, symbols, request.id, change)


class _Errors:
    """The errors that answer one message: the first `ERRORS_MAX` one by one, the others by their number."""

    def __init__(self, session: Session, request_id: RequestId | None) -> None:
        self._session = session
        self._id = request_id
        self._count = 0

    def refuse(self, code: str, message: str, symbol: str | None = None) -> None:
        self._count += 1
        if self._count <= ERRORS_MAX:
            self._session.sender.refuse(code, message, self._id, symbol and symbol[:64])

    def end(self) -> None:
        """Send the number of the errors that were left out, if any were."""
        left_out = self._count - ERRORS_MAX
        if left_out > 0:
            self._session.counters.limit_errors += 1
            text = f"{left_out} more symbols of this message were refused; only {ERRORS_MAX} are named"
            self._session.sender.refuse("limit", text, self._id)


def _each(
    session: Session,
    symbols: list[Any],
    request_id: RequestId | None,
    change: Callable[[object, _Errors], _Cost],
) -> Steps:
    """Make `change` for each symbol, as far as the session's allowance goes; yields after each step."""
    errors = _Errors(session, request_id)
    cost = 0.0
    allowance, writer = session.changes, session.sender.writer
    session.refill_changes()
    for number, symbol in enumerate(_distinct(symbols)):
        if allowance.left < 0:
            _rate_limited(session, request_id, number)
            break
        made = change(symbol, errors)
        allowance.left -= made.changes
        cost += made.step
        if cost >= STEP_COST or writer.paused:
            cost = 0.0
            yield None
            session.refill_changes()
    else:
        session.rate_limited = 0
    errors.end()


def _rate_limited(session: Session, request_id: RequestId | None, done: int) -> None:
    """Refuse the rest of a message, or end the connection of a client that does not slow down."""
    session.counters.limit_subscription_changes += 1
    session.rate_limited += 1
    per_s = session.settings.subscription_changes_per_s
    session.sender.refuse(
        "rate_limited",
        f"after {done} symbols of this message, the rest was not carried out: a connection may change "
        f"{per_s} subscriptions a second; try again later",
        request_id,
    )
    if session.rate_limited >= RATE_LIMITED_MAX:
        session.ended = CloseCode.RATE_LIMIT


def _distinct(symbols: list[Any]) -> Iterator[Any]:
    """Each text once; other values every time, because each is answered with an error."""
    seen = set()
    for symbol in symbols:
        if isinstance(symbol, str):
            if symbol in seen:
                continue
            seen.add(symbol)
        yield symbol
