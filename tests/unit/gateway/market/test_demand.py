"""Which symbols are asked for, taken up and let go."""

from typing import Any

import orjson

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.market.demand import UNFOLLOWED_AT_ONCE_MAX, Demand
from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import SmallMarket


def demand(linger_s: float = 10.0) -> Demand:
    made = Demand(linger_s, everything=False)
    made.asked = [{}, {}]
    return made


def nobody_needs(_symbol: str) -> bool:
    return False


def test_who_asks_wakes_whoever_takes_up() -> None:
    made, woken = demand(), list[int]()
    made.on_asked = woken.append
    made.ask("A", 1, followed=False, past=False)
    made.ask("B", 1, followed=True, past=False)
    assert (woken, made.asked) == ([1], [{}, {"A": False}])


def test_once_the_past_is_wanted_it_stays_so() -> None:
    made = demand()
    for past in (False, True, False):
        made.ask("A", 0, followed=False, past=past)
    assert made.asked[0] == {"A": True}


def test_what_nobody_needs_is_unfollowed_after_the_linger() -> None:
    made = demand(10.0)
    made.ask("A", 0, followed=True, past=False)
    assert made.expired(100.0, nobody_needs) == []
    made.ask("B", 0, followed=True, past=False)
    assert made.expired(105.0, nobody_needs) == []
    assert made.expired(109.9, nobody_needs) == []
    assert made.expired(110.0, nobody_needs) == ["A"]
    made.ask("B", 0, followed=True, past=False)
    assert made.expired(115.0, nobody_needs) == [], "it was asked for again"
    assert made.expired(125.0, nobody_needs) == ["B"]
    assert made.expired(1000.0, nobody_needs) == []


def test_the_linger_begins_with_the_end_of_the_last_subscription() -> None:
    made = demand(10.0)
    made.ask("A", 0, followed=True, past=False)
    made.hold("A")
    made.hold("A")
    assert made.expired(0.0, made.held.__contains__) == []
    assert made.expired(10.0, made.held.__contains__) == []
    made.release("A")
    assert made.expired(30.0, nobody_needs) == []
    made.release("A")
    assert made.held == {}
    assert made.expired(40.0, nobody_needs) == []
    assert made.expired(50.0, nobody_needs) == ["A"]


def test_only_some_are_unfollowed_at_once() -> None:
    made = demand(0.0)
    for number in range(UNFOLLOWED_AT_ONCE_MAX + 5):
        made.ask(f"S{number}", 0, followed=True, past=False)
    assert len(made.expired(1.0, nobody_needs)) == UNFOLLOWED_AT_ONCE_MAX
    assert len(made.expired(1.0, nobody_needs)) == 5


def test_what_is_not_listed_any_more_is_not_asked_for() -> None:
    made = demand(0.0)
    made.ask("A", 0, followed=False, past=False)
    made.forget("A", 0)
    assert (made.asked[0], made.expired(1.0, nobody_needs)) == ({}, [])


def test_whoever_waits_is_woken_once() -> None:
    made, woken = demand(), list[str]()

    class Waiter:
        def wake(self) -> None:
            woken.append("woken")

    made.wait(Waiter())
    made.wake()
    made.wake()
    assert woken == ["woken"]


def test_where_everything_is_followed_nothing_is_counted() -> None:
    made = Demand(0.0, everything=True)
    made.hold("A")
    made.release("A")
    made.rest("A")
    assert (made.held, made.expired(1.0, nobody_needs)) == ({}, [])


# --- with a market and its sessions ---------------------------------------------------------------------


class AskedMarket(SmallMarket):
    """A market that follows what is asked for; the test says when it is taken up."""

    def __init__(self, *symbols: str, **settings: Any) -> None:
        super().__init__(*symbols, follow="asked", channel_linger_s=0, follow_linger_s=5, **settings)

    def take_up(self) -> None:
        market, reader = self.core.market, self.upstream.reader
        wanted = list(market.demand.asked[0])
        assert reader.position is not None
        beside = reader.beside(wanted, reader.position)
        beside.load_beside({symbol: (self.position, self.snapshot_of(symbol)) for symbol in wanted})
        self.core.adopt(0, beside, wanted, self.now)
        self.tick()

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.core.sweep(self.now)
        self.core.sweep(self.now)

    def load(self, *_without: str) -> None:
        """Start without any book."""
        if self.upstream.reader.lost_reason is not None:
            self.upstream.reader.load(self.position, {})


def steps(client: ModelClient, **message: Any) -> Any:
    """The work of a message, not begun."""
    return answer(client.session, orjson.dumps(message))


def test_a_subscription_waits_for_its_book_and_not_for_others() -> None:
    market = AskedMarket("AAA", "BBB")
    market.publish("AAA", {-1: 5}, {1: 6})
    client = connected(market)
    work = steps(client, op="subscribe", symbols=["AAA"], depth=0)
    assert [next(work) for _ in range(3)] == [True] * 3
    client.messages.clear()
    assert client.read() == []
    market.take_up()
    assert [waits for waits in work if waits] == []
    kinds = [message["type"] for message in client.take()]
    assert kinds == ["subscribed", "snapshot"]
    client.check_current()
    assert market.core.market.followed_count() == 1
    before = market.core.counters.broadcasts
    market.publish("BBB", {-1: 5})
    assert market.core.counters.broadcasts == before
    market.publish("AAA", {-1: 7})
    client.read()
    client.check_current()


def test_after_its_time_a_subscription_begins_without_a_book_and_gets_it_later() -> None:
    market = AskedMarket("AAA", follow_wait_s=2.0)
    market.publish("AAA", {-1: 5}, {1: 6})
    client = connected(market)
    work = steps(client, op="subscribe", symbols=["AAA"], depth=0)
    assert next(work)
    market.now += 2.0
    assert [waits for waits in work if waits] == []
    assert [message["type"] for message in client.take()] == ["subscribed", "status"]
    market.take_up()
    assert "snapshot" in [message["type"] for message in client.take()]
    client.check_current()


def test_a_book_without_subscriptions_is_unfollowed_and_taken_up_right_again() -> None:
    market = AskedMarket("AAA")
    market.publish("AAA", {-1: 5}, {1: 6})
    for quantity in (6, 7, 8):
        client = connected(market)
        work = steps(client, op="subscribe", symbols=["AAA"], depth=0)
        next(work)
        market.take_up()
        list(work)
        client.read()
        client.check_current()
        market.core.close(client.session)
        market.later(4.9)
        market.later(4.9)
        market.later(4.9)
        listing = market.core.market.listings["AAA"]
        assert (listing.replica, listing.stale, market.core.market.followed_count()) == (None, True, 0)
        assert market.core.market.histories.bytes == 0
        market.publish("AAA", {-1: quantity})
    assert market.core.counters.unfollowed == 3


def test_only_what_may_be_subscribed_to_is_taken_up() -> None:
    market = AskedMarket("AAA", "BBB", "CCC", subscriptions_max=2)
    client = connected(market)
    work = steps(client, op="subscribe", symbols=["*", "nothing", 5, "AAA", "BBB", "CCC"], depth=0)
    next(work)
    assert list(market.core.market.demand.asked[0]) == ["AAA", "BBB"]


def test_a_withdrawn_symbol_whose_clients_are_still_there_is_followed_when_it_returns() -> None:
    market = AskedMarket("AAA", "BBB")
    market.publish("AAA", {-1: 5}, {1: 6})
    client = connected(market)
    work = steps(client, op="subscribe", symbols=["AAA"], depth=0)
    next(work)
    market.take_up()
    list(work)
    market.relist("AAA", 1, "0.01", withdrawn=True)
    for _ in range(5):
        market.later(5.0)
    assert market.core.market.is_followed("AAA")
    market.relist("AAA", 2, "0.5")
    market.publish("AAA", {-1: 9})
    assert [each["tick_size"] for each in client.take() if each["type"] == "subscribed"][-1] == "0.5"
