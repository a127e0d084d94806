"""A client puts snapshots in parts together, and shows nothing of them before the last one."""

import random
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.client import parts as parts_module
from depthcast.client.book import SubscriptionOptions
from depthcast.client.parts import WHOLE, PartialSnapshot, Place
from depthcast.client.session import ClientSession
from depthcast.gateway.protocol.messages import snapshot_in_parts
from depthcast.shared.errors import ClientError, CodecError
from depthcast.shared.replica import ApplyResult
from depthcast.shared.types import Snapshot
from depthcast.updates import Kind, State
from tests.unit.depthcast.client.fake_gateway import FakeGateway

PARTS = [Snapshot(9, [1, 1], [], 5, 0), Snapshot(9, [0, 2], [3, 3], 5, 0), Snapshot(9, [], [4, 4], 5, 0)]
TOGETHER = Snapshot(9, [1, 1, 0, 2], [3, 3, 4, 4], 5, 0)


def add(partial: PartialSnapshot, *numbers: int) -> list[Snapshot | ApplyResult | None]:
    return [partial.add(PARTS[number - 1], Place(number, 3)) for number in numbers]


def test_the_last_part_makes_it_whole() -> None:
    partial = PartialSnapshot()
    assert add(partial, 1, 2, 3) == [None, None, TOGETHER]
    assert add(partial, 1, 2, 3) == [None, None, TOGETHER], "nothing is left of the one before"
    assert partial.add(PARTS[0], WHOLE) == PARTS[0]


@pytest.mark.parametrize(
    ("numbers", "results"),
    [
        ((2,), [ApplyResult.GAP]),
        ((1, 3), [None, ApplyResult.GAP]),
        ((1, 3, 2), [None, ApplyResult.GAP, ApplyResult.GAP]),
        ((1, 2, 2, 1, 3), [None, None, ApplyResult.ALREADY, ApplyResult.ALREADY, TOGETHER]),
    ],
)
def test_parts_out_of_place(numbers: tuple[int, ...], results: list[object]) -> None:
    assert add(PartialSnapshot(), *numbers) == results


@pytest.mark.parametrize("change", [{"seq": 10}, {"digest": 6}])
def test_a_part_of_another_snapshot_is_a_gap_or_begins_it(change: dict[str, Any]) -> None:
    partial = PartialSnapshot()
    add(partial, 1)
    assert partial.add(PARTS[1]._replace(**change), Place(2, 3)) is ApplyResult.GAP
    add(partial, 1)
    assert partial.add(PARTS[0]._replace(**change), Place(1, 3)) is None
    assert partial.add(PARTS[1], Place(2, 3)) is ApplyResult.GAP


def test_another_number_of_parts_is_another_snapshot() -> None:
    partial = PartialSnapshot()
    add(partial, 1)
    assert partial.add(PARTS[1], Place(2, 2)) is ApplyResult.GAP


def counted(number: int, digest: int = 7) -> Snapshot:
    """A part with an order at each of its levels."""
    part = PARTS[number - 1]
    ones = [[1] * (len(side) // 2) for side in (part.bids, part.asks)]
    return part._replace(marks={"orders": [*ones, digest]})


def test_the_number_of_orders_comes_in_parts_too() -> None:
    partial = PartialSnapshot()
    whole = [partial.add(counted(number), Place(number, 3)) for number in (1, 2, 3)][-1]
    assert whole == TOGETHER._replace(marks={"orders": [[1, 1], [1, 1], 7]})
    for other in (PARTS[1], counted(2, digest=8)):
        assert partial.add(counted(1), Place(1, 3)) is None
        assert partial.add(other, Place(2, 3)) is ApplyResult.GAP


def test_parts_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "LEVELS_MAX", 2)
    partial = PartialSnapshot()
    add(partial, 1)
    with pytest.raises(CodecError, match="more than 2 levels"):
        add(partial, 2)
    assert add(partial, 3) == [ApplyResult.GAP]


# --- in a session


def begun(levels_max: int = 2) -> tuple[ClientSession, FakeGateway, list[dict[str, Any]]]:
    """A session whose subscription was answered, and the parts of the snapshot that come next."""
    session, gateway = ClientSession(), FakeGateway()
    for side, price, quantity in ((0, 10, 5), (0, 9, 1), (0, 8, 2), (1, 12, 7), (1, 13, 8)):
        gateway.change(side, price, quantity)
    session.connected()
    session.subscribe(["X"], SubscriptionOptions(0, 0))
    gateway.take(session.outbox.popleft())
    session.receive(gateway.sent.popleft())
    return session, gateway, snapshot_in_parts(gateway.sent.popleft(), levels_max)


def test_a_client_asks_for_parts() -> None:
    session = ClientSession()
    session.subscribe(["X"], SubscriptionOptions(0, 0))
    assert session.outbox[0]["parts"] is True


def test_nothing_is_shown_before_the_last_part() -> None:
    session, gateway, parts = begun()
    book = session.books["X"]
    for part in parts[:-1]:
        session.receive(part)
        assert (book.has_view, book.state, book.resume, book.replica.book.bids.top()) == (
            False, State.STALE, None, [],
        )  # fmt: skip
        assert session.updates == {}
    session.receive(parts[-1])
    assert (book.state, book.replica.seq) == (State.LIVE, gateway.seq)
    assert dict(book.replica.book.bids.levels) == gateway.bids
    assert [update.kind for update in session.updates.values()] == [Kind.SNAPSHOT]
    assert session.counters.snapshots == len(parts)


def test_a_view_stays_until_the_last_part_of_the_next() -> None:
    session, gateway, parts = begun()
    for part in parts:
        session.receive(part)
    seq = gateway.seq
    gateway.change(0, 11, 9)
    for part in snapshot_in_parts(gateway.snapshot(), 2)[:-1]:
        session.receive(part)
    book = session.books["X"]
    assert (book.state, book.replica.seq, 11 in book.replica.book.bids.levels) == (State.LIVE, seq, False)
    session.receive(snapshot_in_parts(gateway.snapshot(), 2)[-1])
    assert (book.state, book.replica.seq, 11 in book.replica.book.bids.levels) == (
        State.LIVE, gateway.seq, True,
    )  # fmt: skip


def test_a_delta_between_parts_is_a_gap() -> None:
    session, gateway, parts = begun()
    for part in parts:
        session.receive(part)
    gateway.change(0, 11, 9)
    session.receive(snapshot_in_parts(gateway.snapshot(), 2)[0])
    session.receive(gateway.sent.popleft())
    assert (session.counters.gaps, session.books["X"].state) == (1, State.STALE)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_part_is_noticed_and_recovered(lost: int) -> None:
    session, gateway, parts = begun()
    del parts[lost]
    for part in parts:
        session.receive(part)
    if lost == 2:
        gateway.change(0, 11, 3)
        session.receive(gateway.sent.popleft())
    assert (session.counters.gaps, session.books["X"].state) == (1, State.STALE)
    gateway.sent.clear()
    gateway.take(session.outbox.popleft())
    while gateway.sent:
        session.receive(gateway.sent.popleft())
    assert (session.books["X"].state, session.books["X"].replica.seq) == (State.LIVE, gateway.seq)


def test_a_wrong_level_in_any_part_shows_by_the_digest() -> None:
    session, _, parts = begun()
    parts[0]["bids"] = [[10, 6], *parts[0]["bids"][1:]]
    for part in parts:
        session.receive(part)
    assert (session.counters.mismatches, session.books["X"].has_view) == (1, False)


@pytest.mark.parametrize("end", ["connection", "subscribed", "unsubscribed"])
def test_what_ends_the_subscription_ends_its_parts(end: str) -> None:
    session, gateway, parts = begun()
    session.receive(parts[0])
    if end == "connection":
        session.disconnected()
        session.connected()
        assert "resume" not in session.outbox[0]
        gateway.take(session.outbox.popleft())
        session.receive(gateway.sent.popleft())
    elif end == "subscribed":
        session.receive({"type": "subscribed", "symbol": "X", "resumed": False})
    else:
        session.receive({"type": "unsubscribed", "symbol": "X", "reason": "removed"})
    for part in parts[1:]:
        session.receive(part)
    assert "X" not in session.books or not session.books["X"].has_view


@pytest.mark.parametrize(
    "place",
    [
        {"part": 0, "parts": 2},
        {"part": 3, "parts": 2},
        {"part": 1},
        {"parts": 2},
        {"part": "1", "parts": 2},
    ],
)
def test_a_place_that_cannot_be(place: dict[str, Any]) -> None:
    session, _, parts = begun()
    message = {key: value for key, value in parts[0].items() if key not in ("part", "parts")}
    with pytest.raises(ClientError, match="bad_message"):
        session.receive(message | place)
    assert not session.books["X"].has_view


FAULTS = ("deliver", "lose", "repeat", "swap", "change", "anew")
DATA = {"snapshot", "delta"}


class Way:
    """A session, its gateway, and the messages between them, which suffer every fault."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.session, self.gateway, parts = begun(self.rng.choice((1, 2, 3)))
        self.coming: list[dict[str, Any]] = list(parts)

    def deliver(self) -> None:
        if self.coming:
            self.session.receive(self.coming.pop(0))

    def lose(self) -> None:
        if self.coming and self.coming[0]["type"] in DATA:
            self.coming.pop(0)

    def repeat(self) -> None:
        if self.coming and self.coming[0]["type"] in DATA:
            self.session.receive(deepcopy(self.coming[0]))

    def swap(self) -> None:
        if len(self.coming) > 1 and {message["type"] for message in self.coming[:2]} <= DATA:
            self.coming[:2] = reversed(self.coming[:2])

    def change(self) -> None:
        side = self.rng.randint(0, 1)
        self.gateway.change(side, self.rng.randint(1, 9) + 20 * side, self.rng.randint(0, 3))

    def anew(self) -> None:
        """The gateway begins another snapshot."""
        self.coming += snapshot_in_parts(self.gateway.snapshot(), self.rng.choice((1, 2, 3)))

    def answer(self) -> None:
        """The gateway answers; its snapshots come in parts."""
        while self.session.outbox:
            self.gateway.take(self.session.outbox.popleft())
        while self.gateway.sent:
            message = self.gateway.sent.popleft()
            whole = message["type"] != "snapshot"
            self.coming += [message] if whole else snapshot_in_parts(message, self.rng.choice((1, 2, 3)))

    def check(self) -> None:
        book = self.session.books["X"]
        if book.state is State.LIVE:
            view = (dict(book.replica.book.bids.levels), dict(book.replica.book.asks.levels))
            assert view == self.gateway.states[book.replica.seq]


@given(st.integers(), st.lists(st.sampled_from(FAULTS), max_size=60))
def test_whatever_becomes_of_parts_what_is_live_is_right(seed: int, faults: list[str]) -> None:
    """Parts are lost, repeated, exchanged, and begun anew at another state; in the end the book is right."""
    way = Way(seed)
    for fault in faults:
        getattr(way, fault)()
        way.check()
        way.answer()
    for quantity in (77, 78):
        way.gateway.change(0, 1, quantity)
    for _ in range(1000):
        way.answer()
        way.deliver()
        way.check()
        if not way.coming and not way.session.outbox:
            break
    book = way.session.books["X"]
    assert (book.state, book.replica.seq) == (State.LIVE, way.gateway.seq)
