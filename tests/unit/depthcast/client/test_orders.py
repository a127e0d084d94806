"""The client and the number of orders: asked for, checked, resumed, dropped where nobody says it."""

from typing import Any

import pytest

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import ClientSession
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, Kind, State

ASKED = SubscriptionOptions(5, 0, orders=True)
SIZES = {"tick_size": "0.01", "lot_size": "0.001"}


def message(
    kind: str, seq: int, bids: list[list[int]], digest: int, orders_digest: int, **more: Any
) -> dict[str, Any]:
    digests = {"digest": digest, "orders_digest": orders_digest}
    return {
        "type": kind,
        "symbol": "X",
        "depth": 5,
        "seq": seq,
        "ts": 1,
        "bids": bids,
        "asks": [],
        **digests,
        **more,
    }


def digests(*levels: tuple[int, int, int]) -> tuple[int, int]:
    """Of bids: price, quantity, number of orders."""
    return digest_of([row[:2] for row in levels], []), digest_of([(row[0], row[2]) for row in levels], [])


def subscribed_message(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "subscribed", "symbol": "X", "id": request["id"], "resumed": False, **SIZES, **more}


def subscribed() -> ClientSession:
    """A session with a bid of 5 lots, two orders, at seq 10."""
    session = ClientSession()
    session.connected()
    session.subscribe(["X"], ASKED)
    request = session.outbox.popleft()
    assert (request["orders"], request["depth"]) == (True, 5)
    session.receive(subscribed_message(request, orders=True))
    session.receive(message("snapshot", 10, [[100, 5, 2]], *digests((100, 5, 2))))
    assert session.books["X"].replica.book.bids.top_orders() == [(100, 5, 2)]
    session.updates.clear()
    return session


def delta(seq: int, bids: list[list[int]], *levels: tuple[int, int, int], **more: Any) -> dict[str, Any]:
    return message("delta", seq, bids, *digests(*levels), prev_seq=seq - 1, merged=1, **more)


def taken(session: ClientSession) -> BookUpdate:
    (update,) = session.updates.values()
    session.updates.clear()
    return update


def test_who_did_not_ask_sends_what_it_always_sent() -> None:
    session = ClientSession()
    session.connected()
    session.subscribe(["X"], SubscriptionOptions(5, 0))
    assert "orders" not in session.outbox[0]


def test_a_change_of_the_number_alone_is_an_update() -> None:
    session = subscribed()
    session.receive(delta(11, [[100, 5, 3]], (100, 5, 3)))
    update = taken(session)
    assert (update.kind, update.state, update.bids) == (Kind.DELTA, State.LIVE, [(100, 5)])
    assert update.book.bids.orders == {100: 3}
    session.receive(delta(12, [[100, 0, 0], [99, 4, 4]], (99, 4, 4)))
    assert taken(session).book.bids.top_orders(1) == [(99, 4, 4)]


@pytest.mark.parametrize("name", ["digest", "orders_digest"])
def test_a_wrong_digest_is_noticed_and_the_book_stays(name: str) -> None:
    session = subscribed()
    wrong = delta(11, [[100, 5, 3]], (100, 5, 3))
    wrong[name] ^= 1
    session.receive(wrong)
    book = session.books["X"]
    assert (session.counters.mismatches, book.state, book.replica.seq) == (1, State.STALE, 10)
    assert book.replica.book.bids.orders == {100: 2}
    request = session.outbox.popleft()
    assert (request["op"], request["orders"], "resume" in request) == ("subscribe", True, False)


def test_a_wrong_snapshot_is_not_shown() -> None:
    session = subscribed()
    session.receive(message("snapshot", 12, [[100, 6, 3]], *digests((100, 6, 2))))
    assert (session.counters.mismatches, session.books["X"].state) == (1, State.STALE)


@pytest.mark.parametrize(
    "row", [[100, 5], [100, 5, 0], [100, 5, 6], [100, 5, "2"], [100, 5, 2.0], [100, 0, 1]]
)
def test_numbers_that_cannot_be_are_an_error(row: list[Any]) -> None:
    session = subscribed()
    with pytest.raises(ClientError) as caught:
        session.receive(delta(11, [row], (100, 5, 2)))
    assert caught.value.code == "bad_message"
    assert session.books["X"].replica.seq == 10


def test_offers_both_digests_and_goes_on() -> None:
    session = subscribed()
    session.disconnected()
    session.connected()
    request = session.outbox.popleft()
    levels, orders = digests((100, 5, 2))
    assert request["resume"] == {"X": {"seq": 10, "digest": levels, "orders_digest": orders}}
    session.receive(subscribed_message(request, resumed=True, seq=10, orders=True))
    session.receive(delta(11, [[100, 5, 3]], (100, 5, 3)))
    assert session.books["X"].replica.book.bids.orders == {100: 3}


def test_an_older_gateway_that_resumes_without_them_makes_them_unknown() -> None:
    """It does not know what was asked for, and what it does not say is not shown."""
    session = subscribed()
    session.disconnected()
    session.connected()
    session.receive(subscribed_message(session.outbox.popleft(), resumed=True, seq=10))
    assert session.books["X"].replica.book.bids.orders is None
    plain = delta(11, [[100, 6]], (100, 6, 1))
    del plain["orders_digest"]
    session.receive(plain)
    book = session.books["X"]
    assert (book.state, book.replica.seq, book.replica.book.bids.orders) == (State.LIVE, 11, None)


def test_a_delta_without_them_makes_them_unknown() -> None:
    session = subscribed()
    plain = delta(11, [[100, 6]], (100, 6, 1))
    del plain["orders_digest"]
    session.receive(plain)
    assert session.books["X"].replica.book.bids.orders is None


def test_the_subscription_that_is_ended_for_want_of_them_is_gone() -> None:
    session = subscribed()
    error = {"type": "error", "code": "no_orders", "message": "names levels", "symbol": "X"}
    session.receive(error)
    session.receive({"type": "unsubscribed", "symbol": "X", "reason": "no_orders"})
    assert (session.failures[0].code, taken(session).state, session.wanted) == (
        "no_orders",
        State.REMOVED,
        {},
    )
