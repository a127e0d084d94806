"""Conversations about snapshots in parts, with clients that ask for them."""

from collections.abc import Callable
from typing import Any

from tests.vectors.books import BETTER, with_wrong_level
from tests.vectors.catalog import Compose, begin, conversation
from tests.vectors.scene import SYMBOL, Connection, Scene

NEW_SIZES = ("0.001", "0.001")


def in_parts(about: str, *contract: str, **setting: Any) -> Callable[[Compose], Compose]:
    """Register a conversation with a client that asks for parts, which have one level each."""
    return conversation(about, *contract, parts=True, **{"part_levels_max": 1} | setting)


def asked(scene: Scene) -> None:
    """A client is connected, and has asked for its first book."""
    scene.opens()
    scene.user_subscribes()
    scene.subscribes()


def recovers(scene: Scene) -> None:
    """The client has noticed that something is missing, and takes another snapshot."""
    scene.stale(at=0)
    scene.subscribes()
    scene.arrives()
    scene.live()


@in_parts("A first book in three parts: nothing is shown before the last one. Then deltas, as ever.", "3.3")
def parts(scene: Scene) -> None:
    asked(scene)
    for arriving in (2, 1):
        scene.arrives(arriving)
        scene.stale(at=0)
    scene.arrives()
    scene.live()
    scene.publishes(BETTER)
    scene.arrives()
    scene.live()


@in_parts("A snapshot of as many levels as fit in one part comes in one message.", "3.3", part_levels_max=3)
def parts_not_needed(scene: Scene) -> None:
    begin(scene)


@in_parts("Each part costs credit.", "3.3", credit_window=2)
def parts_cost_credit(scene: Scene) -> None:
    scene.opens()
    scene.credit(2, 2)
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives(2)
    scene.credit(1, 2)
    scene.arrives(1)
    scene.credit(1, 2)
    scene.arrives()
    scene.credit(1, 2)
    scene.live()


@in_parts("Another symbol's delta comes between parts.", "3.3", symbols=("BTC-USD", "ETH-USD"))
def parts_and_another_symbol(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("ETH-USD", depth=1)
    scene.subscribes("ETH-USD", depth=1)
    scene.arrives()
    scene.slows_down()
    scene.user_subscribes()
    scene.subscribes()
    scene.takes()
    scene.publishes(BETTER, symbol="ETH-USD")
    for _ in range(4):
        scene.takes()
    assert [message.get("part") for message in scene.arrives()] == [None, 1, 2, None, 3]
    scene.live()
    scene.live("ETH-USD", depth=1)


@in_parts(
    "A part in the middle is lost: the next one is a gap, and the client takes another snapshot.", "3.3"
)
def part_lost(scene: Scene) -> None:
    asked(scene)
    scene.arrives(2)
    scene.loses()
    scene.arrives()
    recovers(scene)


@in_parts("The last part is lost: the next delta is a gap, and nothing of the snapshot was shown.", "3.3")
def last_part_lost(scene: Scene) -> None:
    asked(scene)
    scene.arrives(3)
    scene.loses()
    scene.publishes(BETTER)
    scene.arrives()
    recovers(scene)


@in_parts("Parts that come again are ignored.", "3.3")
def parts_repeated(scene: Scene) -> None:
    asked(scene)
    for part in scene.arrives(3)[1:]:
        scene.says(part)
    scene.stale(at=0)
    scene.arrives()
    scene.live()


@in_parts("A wrong level in one part: the digest, which covers the whole view, shows it.", "1.2", "3.3")
def wrong_part(scene: Scene) -> None:
    asked(scene)
    scene.arrives(1)
    scene.arrives(1, edit=with_wrong_level)
    scene.arrives()
    recovers(scene)


@in_parts(
    "The connection is lost between parts: the client holds nothing, and offers nothing to resume.",
    "3.3",
    "3.4",
)
def connection_lost_between_parts(scene: Scene) -> None:
    asked(scene)
    scene.arrives(3)
    scene.closes()
    scene.stale(at=0)
    scene.opens()
    scene.subscribes()
    scene.arrives()
    scene.live()


@in_parts(
    "A slow client gets a snapshot in parts within its subscription: the view stays until the last part, and "
    "is what the client offers if the connection is lost before.",
    "3.3",
    "3.4",
    history_deltas=1,
    book_history_s=0,
)
def view_stays_until_the_last_part(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.fills()
    for quantity in (1, 2, 3):
        scene.publishes({6500011: quantity}, {6500020: 7 + quantity})
    scene.drains()
    scene.arrives(2)
    scene.live(at=held)
    scene.closes()
    scene.stale(at=held)
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives(3)
    scene.stale(at=held)
    scene.arrives()
    scene.live()


@in_parts(
    "A new listing begins between parts: those of the old one are forgotten, and the new book comes in "
    "parts, too.",
    "2.2.3",
    "3.3",
)
def relisted_between_parts(scene: Scene) -> None:
    scene.market.relist(SYMBOL, 1, "0.01")
    scene.publishes({6500010: 5, 6500000: 12}, {6500020: 7})
    scene.opens()
    scene.slows_down()
    scene.user_subscribes()
    scene.subscribes()
    scene.takes()
    scene.takes()
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5, 65000000: 12}, {65000200: 7})
    for _ in range(4):
        scene.takes()
    scene.arrives(4)
    scene.stale(at=0, sizes=NEW_SIZES)
    scene.arrives(2)
    scene.stale(at=0, sizes=NEW_SIZES)
    scene.arrives()
    scene.live(sizes=NEW_SIZES)


@in_parts("The gateway gives a snapshot up between parts, and begins another one.", "3.3")
def parts_begin_anew(scene: Scene) -> None:
    scene.market.core.market.parts_bound.bytes_max = 1
    scene.opens()
    scene.slows_down()
    scene.user_subscribes()
    scene.subscribes()
    scene.takes()
    scene.takes()
    scene.publishes(BETTER)
    other = Connection(scene.market)
    other.take({"op": "subscribe", "symbols": [SYMBOL], "depth": scene.depth, "parts": True})
    scene.takes()
    scene.takes()
    assert [message.get("part") for message in scene.arrives(4)] == [None, 1, 2, 1]
    scene.stale(at=0)
    scene.arrives()
    scene.live()
