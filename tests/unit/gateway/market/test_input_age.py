"""How old the last input of a symbol is, and when that makes its book stale."""

from depthcast.gateway.market.input_age import LOOK_S, InputAges
from depthcast.gateway.market.listing import Listing
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.freshness import ServerClock
from depthcast.shared.replica import Replica
from depthcast.shared.types import EntryInfo
from tests.unit.gateway.small_market import SmallMarket

SERVER_US = 1_769_904_000_000_000
"""What the server's clock shows while ours shows 1000 s."""


def clock() -> ServerClock:
    made = ServerClock()
    made.observe(1000.0, 1000.0, SERVER_US)
    return made


def replica(input_ts: int) -> Replica:
    made = Replica()
    made.input_ts = input_ts
    return made


def test_an_age_grows_by_our_clock_and_is_never_negative() -> None:
    ages = InputAges(clock(), None)
    ages.look(1000.0)
    assert ages.of(replica(SERVER_US - 1_500_000)) == 1500
    assert ages.of(replica(SERVER_US + 1_500_000)) == 0, "an input of a server whose clock was ahead"
    ages.look(1002.0)
    assert ages.of(replica(SERVER_US)) == 2000


def test_an_age_is_not_known_without_input_book_or_clock() -> None:
    ages = InputAges(clock(), 1)
    ages.look(1000.0)
    assert (ages.of(None), ages.of(replica(0))) == (None, None)
    assert not ages.too_old(replica(0))
    assert InputAges(ServerClock(), 1).of(replica(SERVER_US)) is None


def test_without_a_limit_nothing_is_too_old_and_nobody_looks() -> None:
    ages = InputAges(clock(), None)
    assert not ages.look(5000.0)
    assert not ages.too_old(replica(SERVER_US))


def test_all_ages_are_looked_at_once_in_a_while() -> None:
    ages = InputAges(clock(), 1500)
    assert [ages.look(1000 + LOOK_S * part) for part in (0, 0.5, 1.0, 1.5, 3.0)] == [
        True, False, True, False, True,
    ]  # fmt: skip
    ages.look(1001.5)
    assert not ages.too_old(replica(SERVER_US))
    ages.look(1001.51)
    assert ages.too_old(replica(SERVER_US))


def test_the_longest_age_of_those_that_are_known() -> None:
    ages = InputAges(clock(), None)
    ages.look(1000.0)
    assert ages.most_ms([None, replica(0)]) == 0
    assert ages.most_ms([None, replica(SERVER_US - 7000), replica(SERVER_US - 9000), replica(0)]) == 9


class FedMarket(SmallMarket):
    """A small market whose entries say up to which input they go."""

    def __init__(self, *symbols: str, input_age_max_ms: int | None = None) -> None:
        super().__init__(*symbols, input_age_max_ms=input_age_max_ms)
        self.core.market.clock.observe(self.now, self.now, SERVER_US)
        self.began = self.now

    def feed(self, *changed: str, unchanged: tuple[str, ...] = ()) -> None:
        """An entry with the input of now: of symbols with and without a change of their levels."""
        self.position = self.position.next()
        ms = SERVER_US // 1000 + round((self.now - self.began) * 1000)
        info = EntryInfo(self.ts(), f"{ms}-0", 0, 0, 0, inputs=unchanged or None)
        fields = [(b"_", encode_info(info))]
        for symbol in changed:
            delta = self.books[symbol].move({-1: self.position.n}, {})
            fields.append((symbol.encode(), encode_delta(delta)))
        entry = self.upstream.reader.read(self.position, fields)
        assert entry is not None
        self.apply(entry)
        self.tick()

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed()

    def listing(self, symbol: str) -> Listing:
        return self.core.market.listings[symbol]

    def states(self) -> dict[str, bool]:
        return {symbol: listing.stale for symbol, listing in self.core.market.listings.items()}


def test_a_symbol_without_input_is_stale_though_others_of_its_partition_go_on() -> None:
    market = FedMarket("AAA", "BBB", input_age_max_ms=3000)
    market.feed("AAA", "BBB")
    for _ in range(3):
        market.passes(1.0)
        market.feed("BBB")
    assert market.states() == {"AAA": False, "BBB": False}
    market.passes(1.0)
    assert market.states() == {"AAA": True, "BBB": False}
    message = market.core.market.status_message(market.listing("AAA"))
    assert message == {"type": "status", "symbol": "AAA", "state": "stale", "input_age_ms": 4000}
    market.passes(1.0)
    assert market.core.market.status_message(market.listing("AAA"))["input_age_ms"] == 5000
    market.feed(unchanged=("AAA",))
    market.passes(1.0)
    assert market.states() == {"AAA": False, "BBB": False}
    assert "input_age_ms" not in market.core.market.status_message(market.listing("AAA"))


def test_a_symbol_that_never_had_input_and_a_market_without_a_limit_stay_live() -> None:
    limited, unlimited = FedMarket("AAA", input_age_max_ms=1000), FedMarket("AAA")
    unlimited.feed("AAA")
    for market in (limited, unlimited):
        for _ in range(5):
            market.passes(1.0)
        assert market.states() == {"AAA": False}
    ages = unlimited.core.market.input_ages
    assert ages.of(unlimited.listing("AAA").replica) == 5000
