"""Whole sessions under a seeded storm: slow, throttled, credited, resuming clients; gaps; new symbols.

Each model client checks every message against the market's history (see `tests.unit.gateway.model_client`),
so a wrong row, digest, seq, `merged`, credit or order fails at once. At the end all clients can catch up, and
must hold the current views.
"""

import random
from typing import Any

import pytest

from depthcast.gateway.delivery import announcements, endings, flusher, subscription_group
from depthcast.gateway.protocol.messages import DEPTHS, Encoding
from tests.seeds import seeds
from tests.unit.gateway.model_client import ModelClient
from tests.unit.gateway.small_market import SmallMarket, random_changes
from tests.unit.gateway.stream_client import StreamClient

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
INTERVALS = (0, 0, 50, 100)
GROUPS = (1, 1, 2, 7, 2**53 - 1)
"""Ticks of a bucket: mostly the book as it is; some levels a bucket; a whole side."""
STEPS = 600


class Storm:
    """One seeded run."""

    MARKET: type[SmallMarket] = SmallMarket

    def __init__(self, seed: int, *, merged_allowed: bool = False) -> None:
        self.rng = random.Random(seed)
        self.market = self.MARKET(
            *SYMBOLS,
            write_buffer_bytes=1024,
            history_deltas=self.rng.choice((1, 5, 64)),
            part_levels_max=self.rng.choice((1, 3, 1000)),
            channel_linger_s=5.0,
        )
        self.clients = [self.client(number) for number in range(6)]
        self.healthy = ModelClient(self.market)
        self.healthy.merged_allowed = merged_allowed
        self.postponed = 0
        self.relisting = False
        self.number = 0
        self.healthy.subscribe(*SYMBOLS, depth=10, parts=True)

    def options(self) -> dict[str, Any]:
        """Further options of a subscription."""
        return {"group": self.rng.choice(GROUPS)}

    def client(self, number: int) -> ModelClient:
        client = ModelClient(self.market, list(Encoding)[number % 2], reads=number == 0)
        client.writer.room_bytes = self.rng.choice((0, 7, 200))
        if number % 3 == 2:
            client.send(op="credit", messages=3)
        client.subscribe(
            *self.rng.sample(SYMBOLS, self.rng.choice((2, 2, 4))),
            depth=self.rng.choice(DEPTHS),
            interval_ms=INTERVALS[number % 4],
            parts=self.rng.random() < 0.5,
            **self.options(),
        )
        return client

    def run(self) -> None:
        actions = (
            [self.publish] * 10
            + [self.drain] * 6
            + [self.grid, self.ask, self.ask, self.gap, self.credit]
            + [self.relist] * self.relisting
        )
        for _ in range(STEPS):
            self.market.now += 0.01
            self.rng.choice(actions)()
            if self.rng.random() < 0.5:
                self.market.tick()
            if self.rng.random() < 0.02:
                self.market.core.sweep(self.market.now)
            for client in (*self.clients, self.healthy):
                client.read()
            self.postponed += bool(self.market.core.flusher.due)

    def publish(self) -> None:
        """One entry, or several in one read, of one symbol or several."""
        for _ in range(self.rng.choice((1, 1, 3))):
            symbols = self.rng.sample(SYMBOLS, self.rng.randint(1, 3))
            books = self.market.books
            deltas = {
                symbol: books[symbol].move(*random_changes(self.rng, books[symbol], 2)) for symbol in symbols
            }
            self.market.apply(self.market.entry(deltas, marks=self.times(symbols)))
        if self.market.upstream.reader.missing:
            self.market.tick()
            self.market.load()

    def times(self, symbols: list[str]) -> dict[str, dict[str, int]]:
        """Source times of some of the symbols, which do not always rise."""
        number = self.market.position.n
        return {
            symbol: self.market.books[symbol].timed(number * 7919 % 1000)
            for symbol in symbols
            if (number + ord(symbol[0])) % 3
        }

    def gap(self) -> None:
        symbol = self.rng.choice(SYMBOLS)
        self.market.lose(symbol)
        if self.rng.random() < 0.5:
            book = self.market.books[symbol]
            book.move(*random_changes(self.rng, book))

    def relist(self) -> None:
        """A new listing of a symbol begins; the reader must not have a gap, for it would load a snapshot."""
        if not self.market.upstream.reader.missing:
            self.number += 1
            symbol, wrong = self.rng.choice(SYMBOLS), self.market.wrong
            self.market.relist(symbol, self.number, f"0.{self.number}", tick=False)
            if wrong[symbol] and wrong[symbol][-1][1] is None:
                wrong[symbol][-1] = (wrong[symbol][-1][0], self.market.books[symbol].seq)  # it begins right

    def grid(self) -> None:
        self.market.grid()

    def drain(self) -> None:
        self.rng.choice(self.clients).drain(self.rng.choice((10, 300, 5000)))

    def credit(self) -> None:
        client = self.rng.choice(self.clients)
        if client.credit is not None:
            client.send(op="credit", messages=self.rng.randint(1, 4))

    def ask(self) -> None:
        client, symbol = self.rng.choice(self.clients), self.rng.choice(SYMBOLS)
        kind = self.rng.random()
        if kind < 0.3:
            client.send(op="unsubscribe", symbols=[symbol])
        elif kind < 0.6 or not {symbol} <= client.seqs.keys() & client.depths.keys():
            client.subscribe(
                symbol,
                depth=self.rng.choice((0, 1, 5, 10)),
                interval_ms=self.rng.choice(INTERVALS),
                parts=self.rng.random() < 0.5,
                **self.options(),
            )
        else:
            self.resume(client, symbol)

    def resume(self, old: ModelClient, symbol: str) -> None:
        """The client reconnects with one of its symbols; messages in flight are lost."""
        self.market.core.close(old.session)
        new = ModelClient(self.market, old.encoding, reads=old.writer.reads)
        self.clients[self.clients.index(old)] = new
        if old.credit is not None:
            new.send(op="credit", messages=2)
        state = new.take_over(old, symbol)
        if self.rng.random() < 0.2:
            self.spoil(state)
        options = self.options_again(old.groups[symbol])
        new.subscribe(symbol, depth=old.depths[symbol], resume={symbol: state}, **options)

    def spoil(self, state: dict[str, int]) -> None:
        """The client's view was wrong, or it says so."""
        state["digest"] ^= 1

    def options_again(self, group: int) -> dict[str, Any]:
        """Further options of a subscription that is resumed, mostly with the `group` that it had."""
        group = group if self.rng.random() < 0.8 else self.rng.choice(GROUPS)
        return {"group": group, "parts": self.rng.random() < 0.5}

    def calm(self) -> None:
        """Everything is read, has credit and is due: all clients must be up to date and get nothing more."""
        for _ in range(120):
            for client in self.clients:
                if client.credit is not None:
                    client.send(op="credit", messages=50)
                client.drain(1_000_000)
            for symbol in SYMBOLS:
                if symbol in self.market.upstream.reader.missing:
                    self.market.load()
            self.market.tick()
            self.market.grid()
        for client in (*self.clients, self.healthy):
            client.read()


@pytest.mark.parametrize("seed", seeds(0, 5, 15))
def test_every_client_always_holds_the_view_at_its_seq(seed: int) -> None:
    check(Storm(seed))


@pytest.mark.parametrize("seed", seeds(15, 5, 15))
def test_small_groups_and_few_visits_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bound on work is reached all the time; only that deltas are merged more often may show."""
    monkeypatch.setattr(subscription_group, "CHANNELS_MAX", 1 + seed % 3)
    for name, most in (
        ("VISITS_COST_MAX", 2), ("VISIT_COST_MAX", 1), ("JOINS_AT_ONCE_MAX", 1),
        ("CHANNELS_PER_QUIET_TICK", 1), ("JOINING_CHANNELS_MAX", 2), ("JOINS_CONSIDERED_MAX", 2),
    ):  # fmt: skip
        monkeypatch.setattr(flusher, name, most)
    monkeypatch.setattr(endings, "AT_ONCE_MAX", 0)
    monkeypatch.setattr(endings, "STEP_CHANNELS", 1)
    storm = Storm(seed, merged_allowed=True)
    check(storm)
    assert storm.postponed


class DoubtStorm(Storm):
    """Producers doubt their books and replace them, and no broadcast is lost."""

    def gap(self) -> None:
        symbol = self.rng.choice(SYMBOLS)
        book, wrong = self.market.books[symbol], self.market.wrong[symbol]
        bids = random_changes(self.rng, book, 3)[0]
        if wrong and wrong[-1][1] is None:
            self.market.doubt(symbol, None, bids)
            wrong[-1] = (wrong[-1][0], book.seq)
        else:
            self.market.doubt(symbol, self.rng.choice(("gap", "checksum")), bids)
            wrong.append((book.seq, None))

    def run(self) -> None:
        super().run()
        for symbol, wrong in self.market.wrong.items():
            if wrong and wrong[-1][1] is None:
                self.market.doubt(symbol, None, {-1: 76})
                wrong[-1] = (wrong[-1][0], self.market.books[symbol].seq)


@pytest.mark.parametrize("seed", seeds(30, 5, 20))
def test_no_client_takes_a_book_for_live_that_was_in_doubt(seed: int) -> None:
    check(DoubtStorm(seed))


@pytest.mark.parametrize(
    ("kind", "seed"),
    [*seeds(30, 5, 20, Storm), *seeds(50, 3, 10, DoubtStorm)],
)
def test_new_listings_among_all_this(kind: type[Storm], seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are told one after the other; each ends with the book of the last listing.

    Who has not been told does not take the book in doubt that it holds for the new one.
    """
    monkeypatch.setattr(announcements, "STEP_COST_MAX", (0.01, 1, 64)[seed % 3])
    storm = kind(seed, merged_allowed=True)
    storm.relisting = True
    check(storm)
    assert storm.number


def check(storm: Storm) -> None:
    storm.run()
    for symbol in SYMBOLS:
        # Lost broadcasts show with the next one.
        storm.market.publish(symbol, {-1: 77}, {1: 78})
    storm.market.load()
    storm.calm()
    for client in (*storm.clients, storm.healthy):
        client.check_current()
        client.take()
    storm.market.tick()
    storm.market.grid()
    assert not any(client.take() for client in (*storm.clients, storm.healthy))
    assert storm.healthy.states == dict.fromkeys(SYMBOLS, "live")
    bound = 2 * storm.market.core.settings.write_buffer_bytes
    assert all(len(client.writer.waiting) <= bound for client in storm.clients)
    for client in (*storm.clients, storm.healthy):
        storm.market.core.close(client.session)
    for _ in range(100):
        storm.market.grid()
    core = storm.market.core
    left = core.flusher
    assert (left.cohorts, left.readers, left.split, storm.market.alarms) == ({}, {}, {}, [])
    listings = core.market.listings.values()
    groupings = [grouping for listing in listings for grouping in listing.groupings.values()]
    by_depth = [each.channels for each in listings] + [each.channels for each in groupings]
    by_depth += [listing.orders_channels for listing in listings]
    channels = [channel for channels in by_depth for channel in channels.values()]
    assert not any(channel.subscribers for channel in channels)
    assert not any(grouping.subscribers for grouping in groupings)
    assert (core.market.channel_count, core.market.groupings.count) == (len(channels), len(groupings))


def test_removed_and_new_symbols_reach_wildcards_only() -> None:
    market = SmallMarket("AAA")
    market.heartbeat()
    everyone, one = ModelClient(market), ModelClient(market)
    everyone.subscribe("*")
    one.subscribe("AAA")
    market.books["BBB"] = type(market.books["AAA"])(5)
    market.list_instruments()
    assert [message["type"] for message in everyone.read()] == ["subscribed", "status"]
    market.load()
    market.tick()
    assert [message["type"] for message in everyone.read()] == ["snapshot", "status"]
    assert everyone.states["BBB"] == "live"
    del market.books["AAA"]
    market.list_instruments()
    assert everyone.read()[-1] == {"type": "unsubscribed", "symbol": "AAA", "reason": "removed"}
    assert one.take()[-1]["reason"] == "removed"


class StreamStorm(Storm):
    """All clients have event streams, and come back by what a browser offers."""

    def client(self, number: int) -> ModelClient:
        symbols = self.rng.sample(SYMBOLS, self.rng.choice((1, 2, 4)))
        depth, interval_ms = self.rng.choice(DEPTHS), INTERVALS[number % 4]
        query = f"symbols={','.join(symbols)}&depth={depth}&interval_ms={interval_ms}"
        client = StreamClient(self.market, query, reads=number == 0)
        client.writer.room_bytes = self.rng.choice((0, 7, 200))
        return client

    def ask(self) -> None:
        """A client loses its connection, and what is on its way."""
        number = self.rng.randrange(len(self.clients))
        old = self.clients[number]
        assert isinstance(old, StreamClient)
        new = self.clients[number] = old.again(reads=old.writer.reads)
        new.writer.room_bytes = old.writer.room_bytes


@pytest.mark.parametrize("seed", seeds(60, 2, 6))
def test_event_streams_hold_the_view_at_its_seq_and_resume(seed: int) -> None:
    storm = StreamStorm(seed)
    check(storm)
    assert storm.market.core.counters.resumed


@pytest.mark.parametrize("seed", seeds(75, 2, 4))
def test_event_streams_of_new_listings_never_offer_the_view_of_another(seed: int) -> None:
    storm = StreamStorm(seed, merged_allowed=True)
    storm.relisting = True
    check(storm)
