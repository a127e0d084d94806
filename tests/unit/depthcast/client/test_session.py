"""The client's session against a model that tampers: continuity, digests, resync, resume, credit."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import RESYNCS_MAX, ClientSession
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, Kind, State
from tests.unit.depthcast.client.fake_gateway import FakeGateway

WHOLE = SubscriptionOptions(0, 0)


def exchange(session: ClientSession, gateway: FakeGateway) -> None:
    """Let everything through, until both sides are quiet."""
    while session.outbox or gateway.sent:
        while session.outbox:
            gateway.take(session.outbox.popleft())
        if gateway.sent:
            session.receive(gateway.sent.popleft())


def subscribed() -> tuple[ClientSession, FakeGateway]:
    session, gateway = ClientSession(), FakeGateway()
    gateway.change(0, 10, 5)
    gateway.change(1, 12, 7)
    session.connected()
    request = session.subscribe(["X"], WHOLE)
    exchange(session, gateway)
    assert request.done
    return session, gateway


def taken(session: ClientSession) -> list[BookUpdate]:
    found = list(session.updates.values())
    session.updates.clear()
    return found


def holds(session: ClientSession, gateway: FakeGateway) -> bool:
    book = session.books["X"]
    view = (dict(book.replica.book.bids.levels), dict(book.replica.book.asks.levels))
    return view == gateway.states[book.replica.seq]


def test_snapshot_then_deltas() -> None:
    session, gateway = subscribed()
    (first,) = taken(session)
    assert (first.kind, first.state, first.seq) == (Kind.SNAPSHOT, State.LIVE, 102)
    gateway.change(0, 11, 3)
    exchange(session, gateway)
    (second,) = taken(session)
    assert (second.kind, second.seq, second.bids, second.merged) == (Kind.DELTA, 103, [(11, 3)], 1)
    assert second.book.bids.top() == [(11, 3), (10, 5)]


def test_updates_nobody_takes_are_merged() -> None:
    session, gateway = subscribed()
    taken(session)
    for quantity in range(1, 50):
        gateway.change(0, 11, quantity)
    exchange(session, gateway)
    (update,) = taken(session)
    assert (update.bids, update.merged, update.seq) == (((11, 49),), 49, gateway.seq)


def test_a_lost_delta_is_noticed_and_recovered() -> None:
    session, gateway = subscribed()
    taken(session)
    gateway.change(0, 11, 3)
    gateway.sent.clear()
    gateway.change(0, 11, 4)
    session.receive(gateway.sent.popleft())
    (stale,) = taken(session)
    assert (stale.kind, stale.state, stale.seq) == (Kind.STATUS, State.STALE, 102)
    assert holds(session, gateway)
    assert session.outbox[0]["op"] == "subscribe"
    assert "resume" not in session.outbox[0]
    exchange(session, gateway)
    assert taken(session)[-1].state is State.LIVE
    assert (session.counters.gaps, session.books["X"].replica.seq) == (1, gateway.seq)


def test_a_wrong_digest_is_noticed_and_recovered() -> None:
    session, gateway = subscribed()
    gateway.change(0, 11, 3)
    gateway.sent[0]["digest"] ^= 1
    exchange(session, gateway)
    assert (session.counters.mismatches, session.counters.snapshots) == (1, 2)
    assert session.books["X"].state is State.LIVE
    assert holds(session, gateway)


def test_a_wrong_snapshot_is_noticed_and_recovered() -> None:
    session, gateway = ClientSession(), FakeGateway()
    gateway.change(0, 10, 5)
    session.subscribe(["X"], WHOLE)
    gateway.take(session.outbox.popleft())
    gateway.sent[1]["bids"][0][1] += 1
    exchange(session, gateway)
    assert session.counters.mismatches == 1
    assert holds(session, gateway)


def test_repeats_are_ignored() -> None:
    session, gateway = subscribed()
    gateway.change(0, 11, 3)
    again = deepcopy(gateway.sent[0])
    exchange(session, gateway)
    for message in (again, gateway.snapshot(), gateway.snapshot() | {"seq": 5}):
        session.receive(message)
    assert (session.counters.ignored, session.counters.gaps) == (3, 0)
    assert session.books["X"].state is State.LIVE


def test_it_gives_up_when_snapshots_never_help() -> None:
    session, gateway = subscribed()
    for _ in range(RESYNCS_MAX + 1):
        gateway.take(session.outbox.popleft()) if session.outbox else gateway.change(0, 11, gateway.seq)
        for message in gateway.sent:
            if "digest" in message:
                message["digest"] ^= 1
        while gateway.sent:
            session.receive(gateway.sent.popleft())
    assert session.failures[0].code == "inconsistent"


def test_resume_after_a_lost_connection() -> None:
    session, gateway = subscribed()
    taken(session)
    gateway.lose()
    session.disconnected()
    assert [(update.kind, update.state) for update in taken(session)] == [(Kind.STATUS, State.STALE)]
    session.connected()
    assert session.outbox[0]["resume"] == {"X": {"seq": 102, "digest": gateway.digest}}
    exchange(session, gateway)
    assert (session.counters.resumed, session.counters.snapshots) == (1, 1)
    assert [(update.kind, update.state) for update in taken(session)] == [(Kind.STATUS, State.LIVE)]


def test_a_book_that_moved_on_is_not_resumed() -> None:
    session, gateway = subscribed()
    gateway.lose()
    session.disconnected()
    gateway.change(0, 10, 6)
    session.connected()
    exchange(session, gateway)
    assert (session.counters.resumed, session.counters.snapshots) == (0, 2)
    assert holds(session, gateway)


def test_what_somebody_waits_for_is_asked_again_on_a_new_connection() -> None:
    session, gateway = ClientSession(), FakeGateway()
    subscribing, pinging = session.subscribe(["X"], WHOLE), session.ping()
    leaving = session.unsubscribe(["Y"])
    session.disconnected()
    session.connected()
    assert leaving.done
    assert [message["op"] for message in session.outbox] == ["subscribe", "ping"]
    exchange(session, gateway)
    assert subscribing.done
    assert pinging.done


def test_errors_belong_to_their_request() -> None:
    session, gateway = ClientSession(), FakeGateway()
    request = session.subscribe(["A", "X", "B"], WHOLE)
    exchange(session, gateway)
    with pytest.raises(ClientError, match="unknown_symbol") as caught:
        request.raise_errors()
    assert (caught.value.code, caught.value.symbol) == ("unknown_symbol", "A")
    assert "(B)" in caught.value.__notes__[0]
    assert list(session.wanted) == ["X"]
    assert not session.failures


def test_everything_is_settled_by_the_ping_behind_it() -> None:
    session, gateway = ClientSession(), FakeGateway()
    request = session.subscribe(["*"], WHOLE)
    assert [message["op"] for message in session.outbox] == ["subscribe", "ping"]
    exchange(session, gateway)
    assert request.done
    assert list(session.books) == ["X"]
    session.disconnected()
    session.connected()
    assert session.outbox[0]["symbols"] == ["*"]
    assert "X" in session.outbox[0]["resume"]


def test_a_gateway_that_knows_nothing_yet_is_tried_again() -> None:
    session, gateway = subscribed()
    gateway.lose()
    session.disconnected()
    session.connected()
    asked = session.outbox.popleft()
    session.receive({"type": "error", "id": asked["id"], "code": "unavailable", "message": "not yet"})
    assert session.gateway_not_ready
    assert "X" in session.wanted


def test_an_error_nobody_asked_for_is_a_failure() -> None:
    session, _ = subscribed()
    session.receive({"type": "error", "code": "limit", "message": "too deep", "symbol": "X"})
    assert session.failures.popleft().code == "limit"


def test_unsubscribe_and_removal() -> None:
    session, gateway = subscribed()
    taken(session)
    request = session.unsubscribe(["X"])
    gateway.change(0, 11, 1)
    exchange(session, gateway)
    assert request.done
    assert not session.books
    assert not taken(session)
    session, gateway = subscribed()
    taken(session)
    session.receive({"type": "unsubscribed", "symbol": "X", "reason": "removed"})
    (update,) = taken(session)
    assert update.state is State.REMOVED
    assert not session.wanted


def test_upstream_silence_shows() -> None:
    session, _ = subscribed()
    taken(session)
    for state in ("stale", "stale", "live"):
        session.receive({"type": "status", "symbol": "X", "state": state})
    (update,) = taken(session)
    assert (update.kind, update.state) == (Kind.STATUS, State.LIVE)


def test_the_reason_for_doubt_shows_while_it_holds() -> None:
    session, _ = subscribed()
    book = session.books["X"]
    said = []
    for about in ({"state": "stale", "reason": "gap"}, {"state": "stale", "reason": 5}, {"state": "stale"}):
        session.receive({"type": "status", "symbol": "X", **about})
        said.append((book.state, book.stale_reason))
    assert said == [(State.STALE, "gap"), (State.STALE, None), (State.STALE, None)]
    session.receive({"type": "status", "symbol": "X", "state": "stale", "reason": "gap"})
    session.receive({"type": "status", "symbol": "X", "state": "live", "reason": "gap"})
    assert (book.state, book.stale_reason) == (State.LIVE, None)


def test_updates_have_the_source_time_and_the_cause_of_their_message() -> None:
    session, gateway = subscribed()
    taken(session)
    found = []
    abouts: list[dict[str, Any]] = [
        {}, {"event_ts": 70, "because": "buffer"}, {"event_ts": "now", "because": 5}, {"event_ts": 60},
    ]  # fmt: skip
    for about in abouts:
        gateway.change(0, 11, gateway.seq)
        session.receive(gateway.sent.popleft() | about)
        (update,) = taken(session)
        found.append((update.event_ts, update.because, session.books["X"].replica.event_ts))
    assert found == [(None, None, None), (70, "buffer", 70), (None, None, 70), (60, None, 60)]


def test_a_snapshot_has_its_own_source_time_or_none() -> None:
    session, gateway = ClientSession(), FakeGateway()
    gateway.change(0, 10, 5)
    session.connected()
    for event_ts in (70, None):
        session.subscribe(["X"], WHOLE)
        gateway.take(session.outbox.popleft())
        session.receive(gateway.sent.popleft())
        session.receive(gateway.sent.popleft() | ({} if event_ts is None else {"event_ts": event_ts}))
        session.outbox.clear()
        assert [update.event_ts for update in taken(session)] == [event_ts]
        assert session.books["X"].replica.event_ts == event_ts
        gateway.change(0, 10, 5 + gateway.seq)
        gateway.sent.clear()


def test_the_age_of_the_last_input_shows_while_the_book_is_stale_for_it() -> None:
    session, _ = subscribed()
    book = session.books["X"]
    ages = []
    for about in (
        {"state": "stale"}, {"state": "live"}, {"state": "stale", "input_age_ms": 4000},
        {"state": "live", "input_age_ms": 5}, {"state": "stale", "input_age_ms": "old"},
    ):  # fmt: skip
        session.receive({"type": "status", "symbol": "X", **about})
        ages.append(book.input_age_ms)
    assert ages == [None, None, 4000, None, None]


def test_credit_is_paid_back_by_half_windows() -> None:
    session, gateway = ClientSession(credit_window=4), FakeGateway()
    session.connected()
    assert session.outbox.popleft() == {"op": "credit", "messages": 4}
    session.subscribe(["X"], WHOLE)
    exchange(session, gateway)  # one snapshot
    session.return_credit()
    assert not session.outbox
    gateway.change(0, 1, 1)
    exchange(session, gateway)
    session.return_credit()
    assert session.outbox.popleft() == {"op": "credit", "messages": 2}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "snapshot", "symbol": "X", "seq": "1"},
        {"type": "delta", "symbol": "X", "prev_seq": 102, "seq": 103, "bids": [[1]]},
        {"type": "delta", "symbol": "X", "prev_seq": 102, "seq": 103, "bids": [[1.0, 2]]},
        {"type": "delta", "symbol": "X", "prev_seq": 102, "seq": 103, "bids": [[1, -2]]},
        {"type": "delta", "symbol": "X", "prev_seq": 102, "seq": True, "bids": []},
        {"type": "delta", "bids": []},
        {"type": "subscribed"},
        {"type": "status", "symbol": ["X"], "state": "live"},
        {"type": "unsubscribed", "symbol": "X", "id": [1]},
        {"type": "delta", "symbol": "X", "prev_seq": 102, "seq": 103, "merged": "2"},
        {"type": "welcome", "heartbeat_ms": "soon"},
        {"type": "welcome", "heartbeat_ms": None},
    ],
)
def test_messages_without_sense_are_the_gateways_fault(message: dict[str, Any]) -> None:
    session, _ = subscribed()
    with pytest.raises(ClientError, match="bad_message"):
        session.receive(message)


@pytest.mark.parametrize(
    ("message", "ignored"),
    [
        ({"type": "news", "symbol": "X", "seq": 900}, 0),
        ({}, 0),
        ({"type": "heartbeat", "ts": 1}, 0),
        ({"type": "status", "symbol": "other", "state": "stale"}, 0),
        ({"type": "delta", "symbol": "other"}, 1),
    ],
)
def test_what_does_not_concern_the_client_changes_nothing(message: dict[str, Any], ignored: int) -> None:
    session, gateway = subscribed()
    taken(session)
    before = deepcopy(session.counters)
    session.receive(message)
    assert (list(session.books), session.books["X"].state) == (["X"], State.LIVE)
    assert holds(session, gateway)
    assert (session.updates, list(session.outbox), list(session.failures)) == ({}, [], [])
    expected = replace(before, messages=before.messages + 1, ignored=before.ignored + ignored)
    expected.deltas += message.get("type") == "delta"
    assert session.counters == expected


def test_an_error_about_the_rest_of_a_message_leaves_what_was_answered() -> None:
    session, _ = subscribed()
    request = session.subscribe(["A", "B", "C"], WHOLE)
    asked = session.outbox.popleft()
    session.receive({"type": "subscribed", "id": asked["id"], "symbol": "A", "resumed": False})
    session.receive({"type": "error", "id": asked["id"], "code": "rate_limited", "message": "later"})
    assert request.done
    assert [error.code for error in request.errors] == ["rate_limited"]
    assert (sorted(session.wanted), sorted(session.books)) == (["A", "X"], ["A", "X"])


def test_a_refused_replacement_leaves_the_subscription_as_it_was() -> None:
    session, gateway = subscribed()
    taken(session)
    request = session.subscribe(["X"], SubscriptionOptions(7))
    asked = session.outbox.popleft()
    session.receive({"type": "error", "id": asked["id"], "code": "bad_depth", "message": "7"})
    assert request.done
    gateway.change(0, 11, 3)
    exchange(session, gateway)
    assert [update.kind for update in taken(session)] == [Kind.DELTA]
    assert session.wanted == {"X": WHOLE}


def test_a_book_whose_next_subscribe_is_refused_is_removed() -> None:
    session, gateway = subscribed()
    session.receive(gateway.delta(0, 11, 3) | {"prev_seq": 900, "seq": 901})
    taken(session)
    asked = session.outbox.popleft()
    session.receive(
        {"type": "error", "id": asked["id"], "code": "unknown_symbol", "message": "", "symbol": "X"}
    )
    assert [update.state for update in taken(session)] == [State.REMOVED]
    assert (session.books, session.wanted, session.failures.popleft().code) == ({}, {}, "unknown_symbol")


def test_everything_is_settled_on_the_next_connection_too() -> None:
    session, gateway = ClientSession(), FakeGateway()
    request = session.subscribe(["*"], WHOLE)
    session.disconnected()
    session.connected()
    assert [message["op"] for message in session.outbox] == ["subscribe", "ping"]
    exchange(session, gateway)
    assert request.done


def test_everything_goes_on_if_only_some_symbols_were_refused() -> None:
    session, _ = subscribed()
    session.subscribe(["*"], WHOLE)
    asked = session.outbox.popleft()
    session.receive({"type": "error", "id": asked["id"], "code": "limit", "message": "50 more were refused"})
    assert session.wanted["*"] == WHOLE


def test_a_gateway_that_knows_nothing_yet_takes_nothing_away() -> None:
    session, gateway = ClientSession(), FakeGateway()
    session.subscribe(["*"], WHOLE)
    exchange(session, gateway)
    session.disconnected()
    session.connected()
    asked, ping = session.outbox
    session.receive({"type": "error", "id": asked["id"], "code": "unavailable", "message": "not yet"})
    session.receive({"type": "pong", "id": ping["id"], "ts": 1})
    assert list(session.books) == ["X"]


def test_a_name_too_long_to_be_quoted_whole_is_answered() -> None:
    session = ClientSession()
    request = session.subscribe(["A" * 100], WHOLE)
    asked = session.outbox.popleft()
    session.receive({"type": "error", "id": asked["id"], "code": "unknown_symbol", "symbol": "A" * 64})
    assert request.done
    assert session.wanted == {}


def test_a_book_that_the_user_left_is_not_kept_over_a_lost_connection() -> None:
    session, _ = subscribed()
    session.unsubscribe(["X"])
    session.disconnected()
    session.connected()
    assert (session.books, session.updates, list(session.outbox)) == ({}, {}, [])


def test_a_gap_while_the_user_leaves_brings_no_new_subscription() -> None:
    session, gateway = subscribed()
    session.unsubscribe(["X"])
    session.outbox.clear()
    session.receive(gateway.delta(0, 11, 3) | {"prev_seq": 900, "seq": 901})
    assert list(session.outbox) == []
    assert session.books["X"].state is State.STALE


def test_a_gap_while_another_subscribe_is_on_its_way_waits_for_that() -> None:
    session, gateway = subscribed()
    session.subscribe(["X"], SubscriptionOptions(1))
    session.outbox.clear()
    session.receive(gateway.delta(0, 11, 3) | {"prev_seq": 900, "seq": 901})
    assert list(session.outbox) == []


CHANGE = st.tuples(st.just("change"), st.integers(0, 1), st.integers(1, 6), st.integers(0, 4))
TAMPER = st.sampled_from(["deliver", "deliver", "deliver", "drop", "repeat", "swap", "spoil", "lose"])
STEPS = st.lists(CHANGE | st.tuples(TAMPER), max_size=80)


@given(STEPS)
def test_whatever_happens_a_live_book_is_right_and_all_ends_well(steps: list[tuple[Any, ...]]) -> None:
    session, gateway = subscribed()
    for step in steps:
        if step[0] == "change":
            side, price, quantity = step[1:]
            gateway.change(side, price + 10 * side, quantity)
        else:
            tamper(step[0], session, gateway)
        if session.books["X"].state is State.LIVE:
            assert holds(session, gateway)
        while session.outbox:
            gateway.take(session.outbox.popleft())
    exchange(session, gateway)
    gateway.change(0, 1, 9)  # shows a loss at the very end
    exchange(session, gateway)
    assert session.books["X"].state is State.LIVE
    assert session.books["X"].replica.seq == gateway.seq
    assert holds(session, gateway)


def tamper(how: str, session: ClientSession, gateway: FakeGateway) -> None:
    """Tamper with messages in flight. Answers always arrive: a connection loses everything or nothing."""
    if how == "lose":
        gateway.lose()
        session.disconnected()
        session.connected()
        return
    if not gateway.sent:
        return
    first = gateway.sent[0]
    data = first["type"] in ("snapshot", "delta")
    if how == "repeat":
        session.receive(deepcopy(first))
    elif how == "swap" and len(gateway.sent) > 1:
        gateway.sent[0], gateway.sent[1] = gateway.sent[1], gateway.sent[0]
        return
    elif how == "drop" and data:
        gateway.sent.popleft()
        return
    elif how == "spoil" and data:
        first["digest"] ^= 1 << (first["seq"] % 32)
    session.receive(gateway.sent.popleft())


def test_sizes_of_a_new_listing_come_with_its_snapshot() -> None:
    session, gateway = ClientSession(), FakeGateway()
    gateway.change(0, 10, 5)
    session.connected()
    session.subscribe(["X"], WHOLE)
    gateway.take(session.outbox.popleft())
    gateway.sent[0] |= {"tick_size": "0.1", "lot_size": "1"}
    session.receive(gateway.sent.popleft())
    book = session.books["X"]
    assert (book.sizes, book.has_view) == (("0.1", "1"), False)
    exchange(session, gateway)
    session.receive(
        {"type": "subscribed", "symbol": "X", "depth": 0, "interval_ms": 0, "tick_size": "0.01",
         "lot_size": "5", "resumed": False}
    )  # fmt: skip
    assert (book.sizes, book.state) == (("0.1", "1"), State.STALE)
    assert book.replica.book.bids.top() == [(10, 5)]
    gateway.change(0, 10, 0)
    gateway.sent.clear()
    session.receive(gateway.snapshot())
    assert (book.sizes, book.state) == (("0.01", "5"), State.LIVE)
    assert not book.replica.book.bids.top()


GROUPED = SubscriptionOptions(0, 0, 10)


def test_a_group_is_requested_only_where_there_is_one() -> None:
    session = ClientSession()
    for options in (WHOLE, GROUPED):
        session.subscribe(["X"], options)
    assert [message.get("group") for message in session.outbox] == [None, 10]


def test_a_gateway_that_ignores_the_group_is_not_taken_at_its_word() -> None:
    """Its digests are right, and its levels are not what the user asked for."""
    session, gateway = subscribed()
    taken(session)
    request = session.subscribe(["X"], GROUPED)
    exchange(session, gateway)
    assert [(error.code, error.symbol) for error in request.errors] == [("not_grouped", "X")]
    assert "10 ticks" in str(request.errors[0])
    assert [update.state for update in taken(session)] == [State.REMOVED]
    assert (session.books, session.wanted, gateway.subscribed) == ({}, {}, False)


def test_an_older_gateway_after_a_lost_connection_is_noticed_too() -> None:
    session, gateway = ClientSession(), FakeGateway()
    session.connected()
    session.subscribe(["X"], GROUPED)
    asked = session.outbox.popleft()
    session.receive({"type": "subscribed", "id": asked["id"], "symbol": "X", "group": 10, "resumed": False})
    session.receive(gateway.snapshot() | {"group": 10})
    assert [update.state for update in taken(session)] == [State.LIVE]
    session.disconnected()
    session.connected()
    exchange(session, gateway)
    assert [error.code for error in session.failures] == ["not_grouped"]
    assert (session.books, session.wanted, gateway.subscribed) == ({}, {}, False)


def test_everything_of_an_older_gateway_is_ended_symbol_by_symbol() -> None:
    session, gateway = ClientSession(), FakeGateway()
    session.connected()
    request = session.subscribe(["*"], GROUPED)
    asked = session.outbox.popleft()
    session.receive({"type": "subscribed", "id": asked["id"], "symbol": "X", "resumed": False})
    assert [error.code for error in request.errors] == ["not_grouped"]
    assert [(message["op"], message.get("symbols")) for message in session.outbox] == [
        ("ping", None),
        ("unsubscribe", ["X"]),
    ]
    session.receive(gateway.snapshot())
    assert session.books == {}
