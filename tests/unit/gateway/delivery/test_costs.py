"""What a client's messages cost: counted in calls, so that no clock is needed."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import pytest

from depthcast.gateway.delivery import request_handler
from depthcast.gateway.delivery.announcements import STEP_COST_MAX
from depthcast.gateway.delivery.endings import STEP_CHANNELS
from depthcast.gateway.delivery.request_handler import ERRORS_MAX, RATE_LIMITED_MAX, STEP_COST, answer
from depthcast.gateway.delivery.subscription_group import CHANNELS_MAX, GroupState
from depthcast.gateway.protocol.messages import DEPTHS
from depthcast.shared.close_codes import CloseCode
from tests.unit.gateway.model_client import ModelClient, connected, kinds
from tests.unit.gateway.small_market import SmallMarket, lively_market

FEW, MANY = 40, 1200


def symbols(count: int) -> list[str]:
    return [f"S{number}" for number in range(count)]


def calls(action: Callable[[], object]) -> int:
    """Calls of functions, of Python and of C, that `action` makes."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def ask(client: ModelClient, **message: Any) -> None:
    """Send a message and forget the answers; what a client does with them is no cost of the gateway."""
    for _ in answer(client.session, orjson.dumps(message)):
        pass
    client.writer.taken.clear()


def cost(client: ModelClient, **message: Any) -> int:
    """Calls that a message makes."""
    return calls(lambda: ask(client, **message))


def subscribed(count: int, **fields: Any) -> tuple[SmallMarket, ModelClient]:
    market = lively_market(*symbols(count))
    client = connected(market)
    for first in range(0, count, 2):
        ask(
            client,
            op="subscribe",
            symbols=symbols(count)[first : first + 2],
            interval_ms=50 * (first % 4),
            **fields,
        )
    for _ in range(20):
        market.publish("S0", {-1: 100 + market.core.market.number})
        market.grid()
    return market, client


@pytest.fixture(scope="module")
def sizes() -> dict[int, tuple[SmallMarket, ModelClient]]:
    return {count: subscribed(count) for count in (FEW, MANY)}


def test_a_ping_looks_at_no_subscription(sizes: dict[int, tuple[SmallMarket, ModelClient]]) -> None:
    few, many = (cost(client, op="ping") for _, client in sizes.values())
    assert few == many


@pytest.mark.parametrize("credit", [0, 3])
def test_neither_a_ping_nor_credit_costs_what_the_subscriptions_do(credit: int) -> None:
    """Two intervals, changes that wait for their grid time, and little credit: everything stays split."""
    costs = []
    for count in (FEW, MANY):
        market, client = subscribed(count)
        ask(client, op="credit", messages=1)
        for symbol in symbols(count):
            market.publish(symbol, {-1: 77}, tick=False)
        market.tick()
        client.session.sender.credit = credit
        costs.append(cost(client, op="ping"))
        costs.append(cost(client, op="credit", messages=1))
    assert costs[2] == costs[0]
    assert costs[3] < 2 * costs[1], "it grows with the groups, one for 256 subscriptions"


def test_a_changed_subscription_costs_little_whatever_the_others_are() -> None:
    """Ticks come between the changes, so that groups leave their cohorts and join again."""
    costs = []
    for count in (FEW, MANY):
        market, client = subscribed(count)
        total = 0
        for number in range(60):
            symbol = f"S{number % FEW}"
            total += cost(client, op="unsubscribe", symbols=[symbol])
            total += cost(client, op="subscribe", symbols=[symbol])
            if number % 3 == 0:
                market.publish("S0", {-1: 1000 + number}, tick=False)
                total += calls(market.tick)
        costs.append(total)
    assert costs[1] < 4 * costs[0], "30 times the subscriptions"


def test_a_large_session_has_bounded_groups_and_fills_the_room_they_have() -> None:
    count = 2 * CHANNELS_MAX + 10
    market = lively_market(*symbols(count))
    client = connected(market)
    ask(client, op="subscribe", symbols=symbols(count))
    groups = list(client.session.groups)
    assert [len(group) for group in groups] == [CHANNELS_MAX, CHANNELS_MAX, 10]
    assert all(group.state is GroupState.CURSOR_PER_CHANNEL for group in groups[:2])
    for number in range(5):
        market.publish("S0", {-1: 100 + number})
    assert not market.core.flusher.split, "they join cohorts some ticks after the last change"
    gone = symbols(count)[:3]
    ask(client, op="unsubscribe", symbols=gone)
    ask(client, op="subscribe", symbols=gone)
    assert len(client.session.groups) == 3
    assert sum(map(len, client.session.groups)) == count
    ask(client, op="unsubscribe", symbols=["*"])
    assert len(client.session.groups) == 0
    assert market.core.flusher.readers == {}


@pytest.mark.parametrize("interval_ms", [0, 50])
@pytest.mark.parametrize("split", [False, True])
def test_the_end_of_large_sessions_is_worked_off_in_steps(interval_ms: int, split: bool) -> None:
    """Nine sessions end in the same moment; no step costs more than one group's channels."""
    count, sessions = 4 * CHANNELS_MAX, 9
    market = lively_market(*symbols(count), "OTHER")
    connected(market).subscribe("OTHER")
    clients = [connected(market) for _ in range(sessions)]
    for depth, client in zip(DEPTHS, clients, strict=True):
        ask(client, op="subscribe", symbols=symbols(count), depth=depth, interval_ms=interval_ms)
        if split:
            ask(client, op="credit", messages=1)
    core = market.core
    for number in range(100):
        market.publish("OTHER", {-1: 100 + number})
        market.grid()
        if not (split or core.flusher.split):
            break
    assert bool(core.flusher.split) is split
    ends = [calls(partial(core.close, client.session)) for client in clients]
    assert max(ends) < count / 4, "ending a session looks at its groups, not at its channels"
    assert not core.flusher.split
    assert len(core.sessions) == 1
    taken = [len(client.writer.taken) for client in clients]
    steps: list[int] = []
    while market.alarms and len(steps) < 200:
        market.publish("S1", {-1: 1000 + len(steps)}, tick=False)
        steps.append(calls(market.tick) + calls(market.grid))
    assert len(steps) >= sessions * count // (2 * STEP_CHANNELS)
    assert max(steps) < 30 * STEP_CHANNELS
    assert [len(client.writer.taken) for client in clients] == taken
    assert [channel.symbol for channel in core.flusher.readers] == ["OTHER"]
    assert len(core.flusher.cohorts) == 1
    channels = [channel for listing in core.market.listings.values() for channel in listing.channels.values()]
    assert sum(channel.subscribers for channel in channels) == 1


def test_a_large_client_that_reads_again_catches_up_in_steps() -> None:
    count = 6 * CHANNELS_MAX
    market = lively_market(*symbols(count), "OTHER")
    connected(market).subscribe("OTHER")
    client = connected(market)
    client.subscribe(*symbols(count))
    for number in range(40):
        market.publish("OTHER", {-1: 100 + number})
        market.grid()
    assert not market.core.flusher.split
    client.read()
    client.fill()
    for quantity in (77, 78):
        for symbol in symbols(count):
            market.publish(symbol, {-1: quantity}, tick=False)
        market.tick()
    client.writer.reads = True
    steps = [calls(partial(client.writer.drain, 1 << 30))]
    while market.alarms and len(steps) < 200:
        steps.append(calls(market.grid))
    assert len(steps) > 6, "a group in a step"
    assert max(steps) < sum(steps) / 3
    client.read()
    client.check_current()


def test_whoever_comes_while_sessions_end_gets_what_they_had() -> None:
    count = 2 * STEP_CHANNELS
    market = lively_market(*symbols(count))
    client = connected(market)
    ask(client, op="subscribe", symbols=symbols(count))
    for number in range(40):
        market.publish("S0", {-1: 100 + number})
    assert not market.core.flusher.split
    market.core.close(client.session)
    market.core.sweep(market.now + 1000)
    market.core.sweep(market.now + 2000)
    assert market.core.market.channel_count == count, "a channel is kept until it was released"
    later = connected(market)
    later.subscribe(*symbols(count))
    for number in range(40):
        market.publish("S0", {-1: 200 + number})
        market.grid()
    later.read()
    later.check_current()
    assert len(market.core.flusher.readers) == count
    assert {channel.subscribers for channel in market.core.flusher.readers} == {1}
    assert not market.core.flusher.split


def test_views_of_sessions_that_end_make_room() -> None:
    count = 100
    market = lively_market(*symbols(count), views_max=count)
    client, later = connected(market), connected(market)
    ask(client, op="subscribe", symbols=symbols(count))
    market.core.close(client.session)
    assert kinds(later.subscribe("S1", depth=5))[-1] == "snapshot"


def test_a_long_message_is_carried_out_in_steps() -> None:
    market = lively_market(*symbols(100))
    client = connected(market)
    steps = 0
    for _ in answer(client.session, orjson.dumps({"op": "subscribe", "symbols": symbols(100)})):
        steps += 1
        assert len(client.session.subscriptions) <= steps * STEP_COST
        assert kinds(client.read()) == ["subscribed"] * len(client.messages), "replies do not wait"
        client.messages.clear()
    assert steps >= 100 // STEP_COST


def test_nothing_is_carried_out_for_a_client_that_has_gone() -> None:
    market = lively_market(*symbols(100))
    client = connected(market)
    steps = answer(client.session, orjson.dumps({"op": "subscribe", "symbols": symbols(100)}))
    next(steps)
    market.core.close(client.session)
    assert list(steps) == []
    assert not client.session.subscriptions
    assert not any(
        listing.channels[25].subscribers
        for listing in market.core.market.listings.values()
        if listing.channels
    )


@pytest.mark.parametrize("removed", [False, True], ids=["relisted", "removed"])
def test_what_all_sessions_are_told_is_told_in_steps(removed: bool) -> None:
    """Many symbols change for many sessions at once: no turn of the event loop does much of it."""
    count, sessions = 300, 40
    market = lively_market(*symbols(count), "OTHER")
    connected(market).subscribe("OTHER")
    clients = [connected(market) for _ in range(sessions)]
    for client in clients:
        client.subscribe(*symbols(count), depth=5)
    for number in range(200):
        if not market.core.flusher.split:
            break
        market.publish("OTHER", {-1: 100 + number})
        market.grid()
    assert not market.core.flusher.split
    for client in clients:
        client.read()
    steps: list[int] = []
    if removed:
        for symbol in symbols(count):
            del market.books[symbol]
        steps.append(calls(market.list_instruments))
    else:
        for number, symbol in enumerate(symbols(count)):
            market.relist(symbol, number + 1, "0.5", tick=False)
        steps.append(calls(market.tick))
    while (market.core.announcements or market.core.flusher.due) and len(steps) < 2000:
        market.publish("OTHER", {-1: 1000 + len(steps)}, tick=False)
        steps.append(calls(market.tick) + calls(market.grid))
    assert len(steps) > count * sessions / (4 * STEP_COST_MAX)
    assert max(steps) < 20 * sum(steps) / len(steps)
    assert max(steps) < 100_000, "about 10 ms"
    for client in clients:
        client.read()
        assert client.depths == ({} if removed else dict.fromkeys(symbols(count), 5))


# --- errors and sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
def test_the_errors_of_one_message_are_bounded(op: str) -> None:
    market = lively_market("AAA")
    client = connected(market)
    wrong = [f"X{number}" for number in range(ERRORS_MAX + 50)] + list(range(7))
    got = client.send(op=op, symbols=[*wrong, "AAA"], id=5)
    errors = [message for message in got if message["type"] == "error"]
    assert len(errors) == ERRORS_MAX + 1
    last = errors[-1]
    more = 57 if op == "subscribe" else 58
    assert (last["code"], last["id"], "symbol" in last) == ("limit", 5, False)
    assert last["message"].startswith(f"{more} more symbols")
    assert ("AAA" in client.depths) == (op == "subscribe"), "the others are carried out"
    assert market.core.counters.limit_errors == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"symbols": symbols(201)},
        {"symbols": ["AAA"], "resume": {symbol: {"seq": 1, "digest": 1} for symbol in symbols(101)}},
    ],
    ids=["symbols", "resume"],
)
def test_a_message_with_too_many_symbols_is_refused_whole(fields: dict[str, Any]) -> None:
    market = lively_market("AAA", subscriptions_max=7)
    client = connected(market)
    [error] = client.send(op="subscribe", id=1, **fields)
    assert (error["code"], error["id"]) == ("limit", 1)
    assert not client.session.subscriptions
    assert market.core.counters.limit_message_symbols == 1


# --- how often subscriptions may change -------------------------------------------------------------------


@pytest.fixture
def limited() -> tuple[SmallMarket, ModelClient]:
    market = lively_market(*symbols(10), subscriptions_max=10, subscription_changes_per_s=10)
    return market, connected(market)


def test_changes_beyond_the_allowance_are_refused(limited: tuple[SmallMarket, ModelClient]) -> None:
    market, client = limited
    for op in ("subscribe", "unsubscribe"):
        assert "error" not in kinds(client.send(op=op, symbols=["*"])), "twice subscriptions_max at once"
    market.now += 0.45
    got = client.send(op="subscribe", symbols=symbols(10), id=9)
    assert kinds(got) == ["subscribed"] * 5 + ["error"] + ["snapshot"] * 5
    error = got[5]
    assert (error["code"], error["id"], "symbol" in error) == ("rate_limited", 9, False)
    assert market.core.counters.limit_subscription_changes == 1
    assert len(client.send(op="ping")) == 1, "nothing else is limited"


def test_a_client_that_does_not_slow_down_is_closed(limited: tuple[SmallMarket, ModelClient]) -> None:
    market, client = limited
    ended = []
    for _ in range(2 + RATE_LIMITED_MAX):
        client.send(op="subscribe", symbols=["*"])
        ended.append(client.session.ended)
    assert ended == [None] * (1 + RATE_LIMITED_MAX) + [CloseCode.RATE_LIMIT]
    assert market.core.counters.limit_subscription_changes == RATE_LIMITED_MAX


def test_a_client_that_slows_down_starts_afresh(limited: tuple[SmallMarket, ModelClient]) -> None:
    market, client = limited
    for _ in range(RATE_LIMITED_MAX + 1):
        client.send(op="subscribe", symbols=["*"])
    assert client.session.rate_limited == RATE_LIMITED_MAX - 1
    market.now += 3
    client.send(op="subscribe", symbols=["*"])
    assert (client.session.rate_limited, client.session.ended) == (0, None)


def test_what_is_refused_anyway_hardly_counts(limited: tuple[SmallMarket, ModelClient]) -> None:
    client = limited[1]
    got = client.send(op="unsubscribe", symbols=[f"X{number}" for number in range(60)])
    assert {message["code"] for message in got} == {"not_subscribed"}


def test_a_large_full_book_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_handler, "LEVELS_FREE", 1)
    monkeypatch.setattr(request_handler, "LEVELS_PER_CHANGE", 1)
    market = lively_market("AAA", subscriptions_max=2, subscription_changes_per_s=1)
    client = connected(market)
    codes = [
        message.get("code")
        for _ in range(3)
        for message in client.send(op="subscribe", symbols=["AAA"], depth=0)
    ]
    assert codes == [None, None, None, None, "rate_limited"], "three levels: each costs three of four"


# --- views ------------------------------------------------------------------------------------------------


def test_views_beyond_the_limit_are_refused_and_idle_ones_go_first() -> None:
    market = lively_market("AAA", views_max=2)
    first, second = connected(market), connected(market)
    first.subscribe("AAA", depth=1)
    second.subscribe("AAA", depth=5)
    [error] = connected(market).subscribe("AAA", depth=10)
    assert (error["code"], error["symbol"]) == ("limit", "AAA")
    assert market.core.counters.limit_views == 1
    assert kinds(connected(market).subscribe("AAA", depth=5)) == ["subscribed", "snapshot"]
    first.send(op="unsubscribe", symbols=["AAA"])
    assert kinds(first.subscribe("AAA", depth=10)) == ["subscribed", "snapshot"]
    assert sorted(market.core.market.listings["AAA"].channels) == [5, 10]


def test_a_new_symbol_beyond_a_limit_is_refused_to_a_wildcard() -> None:
    market = lively_market("AAA", subscriptions_max=1)
    client = connected(market)
    client.subscribe("*")
    market.books["BBB"] = type(market.books["AAA"])(5)
    market.list_instruments()
    [error] = client.read()
    assert (error["code"], error["symbol"]) == ("limit", "BBB")
