"""Conversations about one book on one connection: continuity, conflation, digests, states."""

from depthcast.shared.types import MAX_INTEGER
from tests.unit.gateway.small_market import Levels
from tests.vectors.catalog import begin, conversation
from tests.vectors.scene import START_US, Edit, Message, Scene

BETTER = {6500011: 1}


@conversation(
    "A first book: snapshot, then deltas. A broadcast that does not change the view sends nothing, so the "
    "next delta continues from the view's own seq.",
    "1.1", "3.2", "3.3",
)  # fmt: skip
def first_book(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500010: 0, 6500005: 3}, {6500020: 5})
    scene.arrives()
    scene.live()
    scene.publishes({})
    scene.publishes({6500007: 4})
    scene.arrives()
    scene.live()


@conversation(
    "Depth 1: a level that falls out of the view comes with quantity 0, one that moves in with its volume. "
    "The client truncates nothing.",
    "3.3",
    depth=1,
)  # fmt: skip
def depth_one(scene: Scene) -> None:
    begin(scene)
    changes: list[tuple[Levels, Levels]] = [
        (BETTER, {}),
        ({6500011: 0}, {6500019: 2}),
        ({6500010: 0}, {6500019: 0}),
    ]
    for bids, asks in changes:
        scene.publishes(bids, asks)
        scene.arrives()
        scene.live()


@conversation(
    "A client that did not read gets one delta for three broadcasts, then one in which a level came back to "
    "where it was.",
    "3.3",
)
def merged(scene: Scene) -> None:
    begin(scene)
    scene.fills()
    for quantity in (1, 2, 3):
        scene.publishes({6500011: quantity, 6500010: 5 - quantity})
    scene.drains()
    scene.arrives()
    scene.live()
    scene.fills()
    scene.publishes({6500011: 9}, {6500021: 4})
    scene.publishes({6500011: 3}, {6500020: 1})
    scene.drains()
    scene.arrives()
    scene.live()


@conversation(
    "The time at the source in deltas and snapshots, the newest of what is merged, and why it is merged. "
    "A client that does not need them ignores them.",
    "3.2",
)
def times_and_causes(scene: Scene) -> None:
    begin(scene)
    scene.publishes(BETTER, event_ts=START_US + 10_000)
    scene.arrives()
    scene.live()
    scene.fills()
    scene.publishes({6500011: 2}, event_ts=START_US + 30_000)
    scene.publishes({6500011: 3}, event_ts=START_US + 20_000)
    scene.publishes({6500010: 1})
    scene.drains()
    scene.arrives()
    scene.live()
    scene.user_subscribes(depth=1)
    scene.subscribes(depth=1)
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "A slow client whose missed deltas the gateway no longer has gets a snapshot within its subscription.",
    "3.3",
    history_deltas=1,
    book_history_s=0,
)
def snapshot_instead_of_deltas(scene: Scene) -> None:
    begin(scene)
    scene.fills()
    for quantity in (1, 2, 3):
        scene.publishes({6500011: quantity}, {6500020: 7 + quantity})
    scene.drains()
    scene.arrives()
    scene.live()


@conversation(
    "One delta is lost. The next one is a gap: the client keeps the old view as stale, subscribes again "
    "without resume, and ignores deltas of the old subscription until it is answered.",
    "1.1", "3.3",
)  # fmt: skip
def gap(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.publishes(BETTER)
    scene.loses()
    scene.publishes({6500011: 2})
    scene.arrives()
    scene.stale(at=held)
    scene.subscribes(read=False)
    scene.publishes({6500011: 3})
    scene.arrives()
    scene.stale(at=held)
    scene.gateway_reads()
    scene.arrives(1)
    scene.stale(at=held)
    scene.arrives()
    scene.live()
    scene.publishes({6500011: 0})
    scene.arrives()
    scene.live()


def with_wrong_digest(message: Message) -> Message:
    return {**message, "digest": message["digest"] ^ 1}


def with_wrong_level(message: Message) -> Message:
    """One lot more in the first bid; the digest is that of the right book."""
    price, quantity = message["bids"][0]
    return {**message, "bids": [[price, quantity + 1], *message["bids"][1:]]}


def _mismatch(scene: Scene, edit: Edit) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.publishes({6500011: 1}, {6500020: 6})
    scene.arrives(edit=edit)
    scene.stale(at=held)
    scene.subscribes()
    scene.arrives()
    scene.live()


@conversation("A delta with a wrong digest is not applied; the client takes a snapshot.", "1.1", "1.2")
def wrong_digest(scene: Scene) -> None:
    _mismatch(scene, with_wrong_digest)


@conversation("A delta with a wrong level shows by its digest; the client takes a snapshot.", "1.1", "1.2")
def wrong_level(scene: Scene) -> None:
    _mismatch(scene, with_wrong_level)


@conversation("The first snapshot is wrong: nothing is shown, and the client subscribes again.", "1.1")
def wrong_snapshot(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives(1)
    scene.arrives(edit=with_wrong_level)
    scene.stale(at=0)
    scene.subscribes()
    scene.arrives()
    scene.live()


@conversation(
    "Deltas and snapshots that are not newer than the view are ignored; the view is not empty in between.",
    "1.1",
    "3.3",
)
def repeated(scene: Scene) -> None:
    begin(scene)
    snapshot = scene.lines[-2]["gateway"]
    assert snapshot["type"] == "snapshot"
    scene.publishes(BETTER)
    (delta,) = scene.arrives()
    scene.live()
    for message in (delta, snapshot):
        scene.says(message)
        scene.live(at=delta["seq"])
    scene.publishes({6500011: 2})
    scene.arrives()
    scene.live()


@conversation(
    "Prices and quantities at the ends of their range; the sum of the digest exceeds 64 bits on the way.",
    "1.2",
)
def large_numbers(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500010: 0, 6500000: 0, -25: MAX_INTEGER}, {6500020: 0, 0: 1})
    scene.arrives()
    scene.live()
    scene.publishes({-25: 1, -MAX_INTEGER: MAX_INTEGER - 1}, {MAX_INTEGER: MAX_INTEGER})
    scene.arrives()
    scene.live()


@conversation("A book without levels is a book: live, with the digest 0.", "1.2", "3.2")
def empty_book(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500010: 0, 6500000: 0}, {6500020: 0})
    scene.arrives()
    scene.live()
    scene.publishes({}, {6500030: 1})
    scene.arrives()
    scene.live()


@conversation(
    "The source falls silent, and input waits too long: stale, with the same levels, until the gateway "
    "says live.",
    "3.3",
)
def stale_and_live(scene: Scene) -> None:
    begin(scene)
    scene.waits(6)
    scene.arrives()
    scene.stale()
    scene.market.heartbeat()
    scene.arrives()
    scene.live()
    scene.market.heartbeat(lag_ms=7000)
    scene.arrives()
    scene.stale()
    scene.market.heartbeat(lag_ms=0)
    scene.waits(1.5)
    scene.market.heartbeat(lag_ms=0)
    scene.arrives()
    scene.live()


@conversation(
    "A producer doubts its book, for one reason, then another; then it has replaced the book.", "3.3"
)
def doubt(scene: Scene) -> None:
    begin(scene)
    for reason in ("gap", "checksum"):
        scene.market.doubt("BTC-USD", reason)
        scene.arrives()
        scene.stale(reason=reason)
    scene.market.doubt("BTC-USD", None, {6500010: 4})
    scene.arrives()
    scene.live()


@conversation("The gateway has no book of the symbol yet: stale and empty until the snapshot.", "3.3")
def no_book_yet(scene: Scene) -> None:
    scene.opens()
    scene.lists("NEW-USD")
    scene.user_subscribes("NEW-USD")
    scene.subscribes("NEW-USD")
    scene.arrives()
    scene.stale("NEW-USD")
    scene.has_book()
    scene.publishes({10: 1}, symbol="NEW-USD")
    scene.arrives()
    scene.live("NEW-USD")


def with_news(message: Message) -> Message:
    """Keys and items that no client of today knows."""
    more: Message = {"news": {"seq": 1}, "orders": None}
    for side in ("bids", "asks"):
        if side in message:
            more[side] = [[*level, 3, {"orders": 2}] for level in message[side]]
    return {**message, **more}


@conversation(
    "Keys, trailing items of levels and messages of types that the client does not know are ignored.", "3"
)
def unknown_parts(scene: Scene) -> None:
    scene.opens()
    scene.says({"type": "news", "symbol": "BTC-USD", "seq": 1, "bids": "none"})
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives(edit=with_news)
    scene.live()
    scene.publishes({6500010: 0, 6500011: 1}, {6500020: 5})
    scene.arrives(edit=with_news)
    scene.live()
    scene.says({"type": "news"})
    scene.live()
