"""Conversations between the streams and a reader of one partition."""

from typing import Any

from depthcast.shared.instruments import Feed
from depthcast.shared.position import ZERO, Position
from tests.vectors.stream_catalog import stream_conversation
from tests.vectors.stream_scene import EPOCH, NEXT_EPOCH, SYMBOL, Entry, StreamScene

ETH = "ETH-USD"
BOTH = (SYMBOL, ETH)
FIRST = [["update", "bid", 6500010, 5], ["update", "bid", 6500000, 12], ["update", "ask", 6500020, 7]]
SECOND = [["update", "bid", 6500010, 0], ["update", "bid", 6500005, 3], ["reduce", "ask", 6500020, 2]]
THIRD = [["add", "bid", 6500007, 4]]


def ready(scene: StreamScene) -> None:
    """A reader follows books of two bids and an ask."""
    scene.leads()
    for symbol in scene.symbols:
        scene.registers(symbol)
    scene.consumes(dict.fromkeys(scene.symbols, FIRST))
    scene.loads({symbol: scene.snapshot(symbol) for symbol in scene.symbols})
    for symbol in scene.symbols:
        scene.live(symbol)


@stream_conversation(
    "A new deployment, from the first seal on: the birth, deltas, a heartbeat, and a second leader that "
    "moves the symbol on without a change of its book.",
    "2.2", "2.2.2", "2.4",
)  # fmt: skip
def new_deployment(scene: StreamScene) -> None:
    scene.loads({SYMBOL: None}, tail=ZERO)
    scene.reads(*scene.leads())
    scene.nothing()
    scene.reads(*scene.registers())
    scene.live()
    for events in (FIRST, SECOND):
        scene.reads(*scene.consumes({SYMBOL: events}))
        scene.live()
    scene.reads(*scene.heartbeat())
    scene.live()
    scene.reads(*scene.leads(NEXT_EPOCH))
    scene.live()
    scene.reads(*scene.consumes({SYMBOL: THIRD}))
    scene.live()


@stream_conversation(
    "A start from two snapshots of different entries: reading begins behind the older one, and the newer one "
    "counts once its own entry was read.",
    "2.4",
    symbols=BOTH,
)
def start_from_snapshots(scene: StreamScene) -> None:
    scene.leads()
    for symbol in BOTH:
        scene.registers(symbol)
    scene.consumes({SYMBOL: FIRST})
    older = scene.snapshot(SYMBOL)
    between = scene.consumes({SYMBOL: SECOND, ETH: FIRST})
    newer = scene.snapshot(ETH)
    after = scene.consumes({SYMBOL: THIRD})
    scene.loads({SYMBOL: older, ETH: newer})
    scene.nothing(ETH)
    scene.reads(*between, *after)
    scene.live(SYMBOL)
    scene.live(ETH)


@stream_conversation(
    "An entry is missing: everything is loaded again, and the old book is stale until then.", "2.4"
)
def hole(scene: StreamScene) -> None:
    ready(scene)
    held = scene.seqs[SYMBOL]
    scene.consumes({SYMBOL: SECOND})
    scene.reads(*scene.consumes({SYMBOL: THIRD}))
    scene.stale(seq=held)
    scene.loads({SYMBOL: scene.snapshot()})
    scene.live()
    scene.reads(*scene.consumes({SYMBOL: THIRD}))
    scene.live()


@stream_conversation("An entry comes again: it is not the next one, so everything is loaded again.", "2.4")
def repeated_entry(scene: StreamScene) -> None:
    ready(scene)
    (entry,) = scene.consumes({SYMBOL: SECOND})
    scene.reads(entry)
    scene.live()
    scene.reads(entry)
    scene.stale()
    scene.loads({SYMBOL: scene.snapshot()})
    scene.live()


@stream_conversation(
    "One symbol's delta is missing. Its next one is a gap, and its snapshot is older than the position: the "
    "position goes back, and the other symbol ignores what it has.",
    "1.1", "2.4",
    symbols=BOTH,
)  # fmt: skip
def gap_of_one_symbol(scene: StreamScene) -> None:
    ready(scene)
    held, older = scene.seqs[SYMBOL], scene.snapshot(SYMBOL)
    (first,) = scene.consumes({SYMBOL: SECOND, ETH: SECOND})
    (second,) = scene.consumes({SYMBOL: THIRD})
    scene.reads(first.changed(SYMBOL, lambda _: None), second)
    scene.stale(SYMBOL, seq=held)
    scene.live(ETH)
    scene.loads({SYMBOL: older}, of=[SYMBOL])
    scene.reads(first, second)
    scene.live(SYMBOL)
    scene.live(ETH)


@stream_conversation(
    "A delta leads to another digest than it says: the symbol is loaded again.", "1.1", "1.2", "2.4"
)
def wrong_digest(scene: StreamScene) -> None:
    def spoilt(delta: list[Any]) -> list[Any]:
        return [*delta[:4], delta[4] ^ 1, *delta[5:]]

    ready(scene)
    held = scene.seqs[SYMBOL]
    (entry,) = scene.consumes({SYMBOL: SECOND})
    scene.reads(entry.changed(SYMBOL, spoilt))
    scene.stale(seq=held)
    scene.loads({SYMBOL: scene.snapshot()}, of=[SYMBOL])
    scene.live()


@stream_conversation("A snapshot whose digest is not that of its levels counts as none.", "2.4")
def wrong_snapshot(scene: StreamScene) -> None:
    def spoilt(snapshot: list[Any]) -> list[Any]:
        seq, bids, *rest = snapshot
        return [seq, [bids[0], bids[1] + 1, *bids[2:]], *rest]

    scene.leads()
    scene.registers()
    scene.consumes({SYMBOL: FIRST})
    scene.loads({SYMBOL: scene.snapshot().changed(spoilt)})
    scene.nothing()
    scene.reads(*scene.consumes({SYMBOL: SECOND}))
    scene.nothing()
    scene.loads({SYMBOL: scene.snapshot()}, of=[SYMBOL])
    scene.live()


@stream_conversation(
    "A failover loses an entry that was shown. What is shown never goes back: the old book stays, stale, "
    "until the new leader's move brings the rebuilt one past it.",
    "2.2.2", "2.4",
)  # fmt: skip
def lost_tail(scene: StreamScene) -> None:
    ready(scene)
    kept, lost = scene.snapshot(), scene.seqs[SYMBOL] + 1
    scene.reads(scene.phantom(SYMBOL, 6500011, 1))
    scene.live(seq=lost)
    seal, move = scene.leads(NEXT_EPOCH)
    scene.reads(seal)
    scene.stale(seq=lost)
    scene.loads({SYMBOL: kept})
    scene.stale(seq=lost)
    scene.reads(seal)
    scene.stale(seq=lost)
    scene.reads(move)
    scene.live()


@stream_conversation(
    "A failover loses the entry of a snapshot, and the snapshot with it: it is never shown, and the symbol "
    "is loaded again.",
    "2.4",
    symbols=BOTH,
)
def lost_snapshot(scene: StreamScene) -> None:
    scene.leads()
    for symbol in BOTH:
        scene.registers(symbol)
    scene.consumes(dict.fromkeys(BOTH, FIRST))
    kept = {symbol: scene.snapshot(symbol) for symbol in BOTH}
    ahead = scene.position.next()
    scene.loads({SYMBOL: kept[SYMBOL], ETH: kept[ETH]._replace(position=ahead)}, tail=ahead)
    scene.nothing(ETH)
    seal, move = scene.leads(NEXT_EPOCH)
    scene.reads(seal)
    scene.nothing(ETH)
    scene.loads({ETH: kept[ETH]}, of=[ETH])
    scene.reads(seal, move)
    scene.live(SYMBOL)
    scene.live(ETH)


@stream_conversation("Redis lost data: the stream ends before the position.", "2.4")
def stream_ends_earlier(scene: StreamScene) -> None:
    ready(scene)
    before = scene.position
    scene.reads(*scene.consumes({SYMBOL: SECOND}))
    scene.live()
    scene.looks_at_tail(scene.position)
    scene.live()
    scene.looks_at_tail(before)
    scene.stale()


@stream_conversation("An entry that no leader wrote: everything is loaded again.", "2.2", "2.4")
def foreign_entry(scene: StreamScene) -> None:
    ready(scene)
    foreign = Entry(scene.position.next(), [(SYMBOL.encode(), b"by hand")])
    scene.reads(foreign)
    scene.stale()
    scene.position = foreign.position
    scene.leads(NEXT_EPOCH)
    scene.loads({SYMBOL: scene.snapshot()})
    scene.live()


@stream_conversation(
    "A second listing with other sizes is born: the book is empty, and has the new sizes from then on.",
    "2.2.3",
)
def relisted(scene: StreamScene) -> None:
    sizes = {"tick_size": "0.001", "lot_size": "0.001"}
    ready(scene)
    entries = scene.consumes(
        {SYMBOL: [["update", "bid", 65000100, 5]]}, {"relist": {SYMBOL: {"listing": 2, **sizes}}}
    )
    scene.reads(*entries)
    scene.live(listing=2, sizes=("0.001", "0.001"))


@stream_conversation(
    "A symbol is withdrawn: its book is empty and stale. Later it comes back as a new listing.", "2.2.3"
)
def withdrawn(scene: StreamScene) -> None:
    ready(scene)
    scene.reads(*scene.withdraws())
    scene.stale()
    scene.reads(*scene.registers())
    scene.live(listing=2)
    scene.reads(*scene.consumes({SYMBOL: FIRST}))
    scene.live(listing=2)


@stream_conversation(
    "A producer doubts its book, for one reason, then another. The doubt survives a change of leader and a "
    "load of the snapshot, and ends with the entry that replaces the book.",
    "2.1", "2.2", "2.4",
)  # fmt: skip
def doubt(scene: StreamScene) -> None:
    ready(scene)
    for reason in ("gap", "checksum"):
        scene.reads(*scene.consumes({SYMBOL: []}, {"stale": reason}))
        scene.stale(reason=reason)
    scene.reads(*scene.leads(NEXT_EPOCH))
    scene.stale(reason="checksum")
    scene.consumes({SYMBOL: THIRD})
    held = scene.seqs[SYMBOL] - 1
    scene.reads(*scene.consumes({SYMBOL: THIRD}))
    scene.stale(seq=held, reason="checksum")
    scene.loads({SYMBOL: scene.snapshot()})
    scene.stale(reason="checksum")
    scene.reads(*scene.consumes({SYMBOL: [["clear"], *FIRST]}, {"atomic": True, "live": True}))
    scene.live()


@stream_conversation(
    "The time at the source of each book, and when its last input came: said by deltas, for books that did "
    "not change by the entry, and by snapshots. A bare doubt is no input, and a new listing begins without.",
    "2.2", "2.3", "2.4",
    symbols=BOTH,
)  # fmt: skip
def times_of_input(scene: StreamScene) -> None:
    def came(number: int) -> int:
        return (EPOCH + number) * 1000

    scene.loads(dict.fromkeys(BOTH), tail=ZERO)
    scene.reads(*scene.leads())
    for symbol in BOTH:
        scene.reads(*scene.registers(symbol))
        scene.live(symbol, event_ts=None, input_ts=None)
    scene.reads(*scene.consumes({SYMBOL: FIRST, ETH: FIRST}, {"ts": came(0) + 700}))
    scene.reads(*scene.consumes({ETH: SECOND}, {"ts": came(0) + 600}))
    scene.live(SYMBOL, event_ts=came(0) + 700, input_ts=came(1))
    scene.live(ETH, event_ts=came(0) + 600, input_ts=came(2))
    scene.reads(*scene.consumes({SYMBOL: []}))
    scene.live(SYMBOL, event_ts=came(0) + 700, input_ts=came(3))
    scene.reads(*scene.consumes({SYMBOL: []}, {"stale": "unfed", "ts": came(9)}))
    scene.stale(SYMBOL, reason="unfed", event_ts=came(0) + 700, input_ts=came(3))
    scene.reads(*scene.consumes({SYMBOL: [["clear"], *FIRST]}, {"atomic": True, "live": True}))
    scene.live(SYMBOL, event_ts=came(0) + 700, input_ts=came(5))
    scene.consumes({ETH: THIRD}, {"ts": came(0) + 800})
    scene.reads(*scene.consumes({ETH: THIRD}))
    scene.loads({symbol: scene.snapshot(symbol) for symbol in BOTH})
    scene.live(ETH, event_ts=came(0) + 800, input_ts=came(7))
    scene.reads(*scene.withdraws(), *scene.registers())
    scene.live(SYMBOL, listing=2, event_ts=None, input_ts=None)


@stream_conversation(
    "Fields that begin with an underscore, keys, marks and trailing items that a reader does not know are "
    "ignored.",
    "2.2",
)
def unknown_parts(scene: StreamScene) -> None:
    ready(scene)
    for events in (SECOND, THIRD):
        (entry,) = scene.consumes({SYMBOL: events})
        entry = entry.changed("_", lambda info: {**info, "news": [1]})
        entry = entry.changed(SYMBOL, lambda delta: [*delta[:6], {"news": 1}, "more"])
        scene.reads(Entry(entry.position, [*entry.fields, (b"_news", b"\x01")]))
        scene.live()
    scene.looks_at_tail(Position(scene.position.epoch, scene.position.n))
    scene.live()


ORDERS_FIRST: list[Any] = [
    ["add", "bid", 6500010, 3, 1],
    ["add", "bid", 6500010, 2, 2],
    ["add", "ask", 6500020, 7, 3],
]
ORDERS_SECOND: list[Any] = [["delete", None, None, None, 2], ["update", "bid", 6500010, 5, 1]]
ORDERS_THIRD: list[Any] = [["add", "bid", 6500000, 4, 4], ["reduce", None, None, 2, 3]]


def without_orders(items: list[Any]) -> list[Any]:
    """A delta as an older leader writes it."""
    marks = {key: value for key, value in items[6].items() if key != "orders"}
    return [*items[:6], *([marks] if marks else [])]


@stream_conversation(
    "The number of orders of an orders feed: from the birth on, a change of it alone, and a second leader. "
    "Two orders of 3 and 2 lots become one of 5: the quantity of the level stays.",
    "2.2.5",
)
def number_of_orders(scene: StreamScene) -> None:
    scene.loads({SYMBOL: None}, tail=ZERO)
    scene.reads(*scene.leads())
    scene.reads(*scene.registers(feed=Feed.ORDERS))
    scene.live()
    for events in (ORDERS_FIRST, ORDERS_SECOND):
        scene.reads(*scene.consumes({SYMBOL: events}))
        scene.live()
    scene.reads(*scene.leads(NEXT_EPOCH))
    scene.live()
    scene.reads(*scene.consumes({SYMBOL: ORDERS_THIRD}))
    scene.live()


@stream_conversation(
    "A delta whose number of orders leads to another digest: the symbol is loaded again.", "2.2.5"
)
def wrong_number_of_orders(scene: StreamScene) -> None:
    scene.leads()
    scene.registers(feed=Feed.ORDERS)
    scene.consumes({SYMBOL: ORDERS_FIRST})
    scene.loads({SYMBOL: scene.snapshot()})
    scene.live()
    held = scene.seqs[SYMBOL]
    (entry,) = scene.consumes({SYMBOL: ORDERS_SECOND})

    def wrong(items: list[Any]) -> list[Any]:
        bids, asks, digest = items[6]["orders"]
        return [*items[:6], {"orders": [bids, asks, digest ^ 1]}]

    scene.reads(entry.changed(SYMBOL, wrong))
    scene.stale(seq=held)
    scene.loads({SYMBOL: scene.snapshot()}, of=[SYMBOL])
    scene.live()


@stream_conversation(
    "A leader of an older version does not say the number of orders: it is not known, and the book is live. "
    "The next leader says it; its first snapshot is loaded.",
    "2.2.5",
)
def number_of_orders_not_said(scene: StreamScene) -> None:
    scene.leads()
    scene.registers(feed=Feed.ORDERS)
    scene.consumes({SYMBOL: ORDERS_FIRST})
    scene.loads({SYMBOL: scene.snapshot()})
    scene.live()
    (entry,) = scene.consumes({SYMBOL: ORDERS_THIRD})
    scene.reads(entry.changed(SYMBOL, without_orders))
    scene.live(counted=False)
    held = scene.seqs[SYMBOL]
    scene.reads(*scene.leads(NEXT_EPOCH))
    scene.stale(seq=held, counted=False)
    scene.loads({SYMBOL: scene.snapshot()}, of=[SYMBOL])
    scene.live()
    scene.reads(*scene.consumes({SYMBOL: ORDERS_SECOND}))
    scene.live()
