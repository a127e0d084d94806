"""Conversations about levels that the gateway sums up in groups of ticks."""

from depthcast.shared.types import MAX_INTEGER
from tests.vectors.catalog import begin, conversation
from tests.vectors.scene import SYMBOL, Message, Scene

NEW_SIZES = ("0.001", "0.001")


@conversation(
    "Groups of ten ticks: bids are rounded down, asks up, and depth counts the sums. A broadcast that moves "
    "quantity within a group sends nothing.",
    "3.3",
    group=10,
    depth=1,
)
def grouped(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500019: 3, 6500009: 4}, {6500021: 1, 6500030: 2})
    scene.arrives()
    scene.live()
    scene.publishes({6500019: 1, 6500018: 2})
    scene.publishes({6500010: 0, 6500018: 0, 6500019: 0})
    scene.arrives()
    scene.live()
    scene.publishes({}, {6500020: 0})
    scene.arrives()
    scene.live()


@conversation(
    "Groups at the ends of the ranges: a sum is at most 2⁵³−1, a price is between −(2⁵³−1) and 2⁵³−1, and "
    "both are right again when the sum is smaller.",
    "1", "3.3",
    group=1000,
)  # fmt: skip
def grouped_large_numbers(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500010: MAX_INTEGER, -MAX_INTEGER: 1}, {6500999: MAX_INTEGER, MAX_INTEGER: 2})
    scene.arrives()
    scene.live()
    scene.publishes({6500000: 13}, {6500999: 1})
    scene.arrives()
    scene.live()
    scene.publishes({6500010: 4})
    scene.arrives()
    scene.live()


@conversation(
    "A client that did not read gets one merged delta of the grouped view.",
    "3.3",
    group=10,
)
def grouped_merged(scene: Scene) -> None:
    begin(scene)
    scene.fills()
    for quantity in (1, 2, 3):
        scene.publishes({6500012: quantity, 6499991: quantity, 6500013: 9 - quantity})
    scene.drains()
    scene.arrives()
    scene.live()


@conversation(
    "Another group replaces the subscription: deltas of the old one are not for the new one, although their "
    "seqs would fit.",
    "3.3",
    group=10,
)
def another_group(scene: Scene) -> None:
    begin(scene)
    scene.user_subscribes(group=100)
    scene.subscribes(group=100, read=False)
    scene.publishes({6500013: 1})
    scene.arrives()
    scene.gateway_reads()
    scene.arrives()
    scene.live(group=100)
    scene.publishes({6500014: 1})
    scene.arrives()
    scene.live(group=100)
    scene.user_subscribes(group=1)
    scene.subscribes(group=1)
    scene.arrives()
    scene.live(group=1)


@conversation("A grouped view is resumed by its own digest.", "3.4", group=10)
def grouped_resumed(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.closes()
    scene.stale(at=held)
    scene.publishes({6500013: 1})
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live()


@conversation("A new listing is grouped by as many ticks as the one before.", "2.2.3", "3.2", group=10)
def grouped_relisted(scene: Scene) -> None:
    scene.market.relist(SYMBOL, 1, "0.01")
    scene.publishes({6500010: 5, 6500000: 12}, {6500020: 7})
    begin(scene)
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.arrives()
    scene.live(sizes=NEW_SIZES)
    scene.publishes({65000109: 5, 65000101: 2})
    scene.arrives()
    scene.live(sizes=NEW_SIZES)


@conversation("A group that is no whole number of ticks fails the whole message.", "3.1")
def wrong_group(scene: Scene) -> None:
    begin(scene)
    scene.user_subscribes(group=-10)
    scene.subscribes(group=-10)
    scene.arrives()
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


def by_an_older_gateway(message: Message) -> Message:
    """The message without its group."""
    return {key: value for key, value in message.items() if key != "group"}


@conversation(
    "A gateway that does not know groups ignores the field: `subscribed` does not name it. The client shows "
    "nothing of that, and unsubscribes.",
    "3.1",
    group=10,
)
def group_ignored(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes()
    scene.subscribes(group=10, read=False)
    scene.gateway_reads()
    scene.arrives(1, edit=by_an_older_gateway)
    scene.unsubscribes(read=False)
    scene.arrives(edit=by_an_older_gateway)
    scene.nothing()
    scene.gateway_reads()
    scene.arrives()
    scene.nothing()
