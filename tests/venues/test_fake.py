"""The base of the fake venues: what they send, and each of their faults, as a plain client sees it."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.venues.fake import FakeVenue, frame
from tests.venues.faults import ALWAYS, Fault, plan
from tests.venues.live_run import Report, recovery_table
from tests.venues.market import ModelBook, State
from tests.venues.model_toy import ToyVenue
from tests.waiting import TIMEOUT_S, eventually


@pytest.fixture
async def fake() -> AsyncIterator[FakeVenue]:
    async with FakeVenue(ToyVenue(Random(1)), Random(2), step_s=0.005, outage_s=0.2, quiet_s=0.3) as venue:
        yield venue


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_messages_lead_from_the_snapshot_to_states_that_the_book_had(
    fake: FakeVenue, http: aiohttp.ClientSession
) -> None:
    socket = await subscribed(fake, http)
    book = Replica()
    states: list[State] = []
    while len(states) < 20:
        message = await book_message(socket)
        book.apply(message)
        states.append(book.state())
    known = fake.model.market["AAA/USD"].states
    at = [known.index(state) for state in states]
    assert at == sorted(at)
    assert len(set(states)) > 10


@pytest.mark.parametrize("fault", [Fault.GAP, Fault.DUPLICATE, Fault.REORDER])
async def test_a_fault_of_order_breaks_the_numbers_once(
    fake: FakeVenue, http: aiohttp.ClientSession, fault: Fault
) -> None:
    socket = await subscribed(fake, http)
    last = (await book_message(socket))["to"]
    fake.commit(fault)
    jumps: list[int] = []
    while len(jumps) < (3 if fault is Fault.REORDER else 1):
        message = await book_message(socket)
        if message["from"] != last:
            jumps.append(message["from"] - last)
        last = message["to"]
    assert [jump > 0 for jump in jumps] == {
        Fault.GAP: [True],
        Fault.DUPLICATE: [False],
        Fault.REORDER: [True, False, True],
    }[fault]


@pytest.mark.parametrize("fault", [Fault.PARTIAL, Fault.FRAGMENTS, Fault.QUIET])
async def test_a_harmless_fault_changes_no_message(
    fake: FakeVenue, http: aiohttp.ClientSession, fault: Fault
) -> None:
    socket = await subscribed(fake, http)
    last = (await book_message(socket))["to"]
    fake.commit(fault)
    for _ in range(5):
        message = await book_message(socket)
        assert message["from"] == last
        last = message["to"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault.CUT, 1006), (Fault.CUT_IN_FRAME, 1006), (Fault.CLOSE_1012, 1012), (Fault.REFUSE, 1006)],
)
async def test_a_connection_ends(
    fake: FakeVenue, http: aiohttp.ClientSession, fault: Fault, code: int
) -> None:
    socket = await subscribed(fake, http)
    fake.commit(fault)
    while (await socket.receive(timeout=TIMEOUT_S)).type is WSMsgType.TEXT:
        pass
    assert socket.close_code == code


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANDSHAKE_503])
async def test_connections_are_refused_for_a_while(
    fake: FakeVenue, http: aiohttp.ClientSession, fault: Fault
) -> None:
    async def accepted() -> bool:
        try:
            await (await http.ws_connect(fake.ws_url)).close()
        except aiohttp.ClientError:
            return False
        return True

    async def refused() -> bool:
        return not await accepted()

    assert await accepted()
    fake.commit(fault)
    await eventually(refused)
    await eventually(accepted)


async def test_a_frozen_connection_does_not_answer_pings(
    fake: FakeVenue, http: aiohttp.ClientSession
) -> None:
    socket = await http.ws_connect(fake.ws_url, autoping=False)
    await socket.ping(b"1")
    assert (await socket.receive(timeout=TIMEOUT_S)).type is WSMsgType.PONG
    fake.commit(Fault.SILENCE)
    await socket.ping(b"2")
    with pytest.raises(asyncio.TimeoutError):
        await socket.receive(timeout=0.5)


async def test_requests_fail_for_a_while(fake: FakeVenue, http: aiohttp.ClientSession) -> None:
    url = f"{fake.rest_url}/book?symbol=AAA/USD"
    async with http.get(url) as answer:
        assert answer.status == 200
        assert {"b", "a", "to"} <= json.loads(await answer.read()).keys()
    fake.commit(Fault.REST_429)
    async with http.get(url) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    fake.heal()
    fake.commit(Fault.REST_500)
    async with http.get(url) as answer:
        assert answer.status >= 500
    fake.heal()
    fake.commit(Fault.REST_CUT)
    with pytest.raises(aiohttp.ClientError):
        async with http.get(url) as answer:
            await answer.read()


def test_a_plan_has_every_fault_and_follows_its_seed() -> None:
    planned = list(plan(Random(3), ALWAYS, seconds=60, mean_s=1))
    assert {item.fault for item in planned} == ALWAYS
    assert planned == list(plan(Random(3), ALWAYS, seconds=60, mean_s=1))
    assert planned != list(plan(Random(4), ALWAYS, seconds=60, mean_s=1))
    assert all(first.at_s < second.at_s <= 60 for first, second in pairwise(planned))


def test_a_book_never_crosses_and_remembers_the_depth_that_is_seen() -> None:
    book = ModelBook("X", Random(5), depth=5)
    for _ in range(2_000):
        book.step()
        assert book.best(0) < book.best(1)
    assert len(book.states) == 2_001
    assert {len(side) for state in book.states for side in state} <= {4, 5}
    assert max(len(side) for side in book.sides) > 10


@pytest.mark.parametrize("size", [5, 300, 70_000])
def test_a_frame_names_its_size(size: int) -> None:
    raw = frame(WSMsgType.TEXT, b"x" * size)
    assert raw[0] == 0x81
    assert raw.endswith(b"x" * size)
    assert len(raw) - size == {5: 2, 300: 4, 70_000: 10}[size]


class Replica:
    """A book by the toy's messages."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def apply(self, message: dict[str, Any]) -> None:
        for side, name in zip(self.sides, "ba", strict=True):
            if message["kind"] == "snapshot":
                side.clear()
            for price, quantity in message[name]:
                level, lots = round(float(price) * 100), round(float(quantity) * 1000)
                side[level] = lots
                if not lots:
                    del side[level]

    def state(self) -> State:
        bids, asks = (frozenset(side.items()) for side in self.sides)
        return bids, asks


async def subscribed(fake: FakeVenue, http: aiohttp.ClientSession) -> ClientWebSocketResponse:
    socket = await http.ws_connect(fake.ws_url)
    await socket.send_json({"op": "subscribe", "symbols": ["AAA/USD"]})
    return socket


async def book_message(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """The next message about the book: a snapshot or an update."""
    while True:
        message: dict[str, Any] = await socket.receive_json(timeout=TIMEOUT_S)
        if message.get("kind") in ("snapshot", "update"):
            return message


def test_the_table_of_recoveries_is_over_all_venues() -> None:
    first, second = Report("a", 1, 1.0), Report("b", 1, 1.0)
    first.recoveries_s[Fault.GAP] += [0.1, 0.3]
    second.recoveries_s[Fault.GAP] += [2.0]
    second.recoveries_s[Fault.CUT] += [1.0]
    assert recovery_table([first, second])[2:] == [
        "| cut | 1 | 1.00 s | 1.00 s |",
        "| gap | 3 | 0.30 s | 2.00 s |",
    ]


def test_a_book_that_changes_its_sizes_keeps_what_it_was() -> None:
    book = ModelBook("X", Random(5))
    for _ in range(20):
        book.step()
    before = book.texts(book.top(0))
    book.refine(10, 10)
    assert [(Decimal(price), Decimal(lots)) for price, lots in book.texts(book.top(0))] == [
        (Decimal(price), Decimal(lots)) for price, lots in before
    ]
    assert (book.tick_size, book.lot_size) == ("0.01", "0.001")
    for tick, lot in ((1, 1), (50, 10), (2, 10), (1, 1), (10, 10)):
        book.resize(tick, lot)
        for _ in range(50):
            book.step()
            assert book.best(0) < book.best(1)
        assert not any(price % tick or lots % lot for side in (0, 1) for price, lots in book.top(side))
    kept = book.top(0)
    book.resize(100, 100, cancel=False)
    assert book.top(0) == kept
