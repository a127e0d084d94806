"""Conversations about the number of orders at each level."""

from tests.unit.gateway.small_market import Published
from tests.vectors.catalog import begin, conversation
from tests.vectors.parts import asked, recovers
from tests.vectors.scene import SYMBOL, Edit, Message, Scene


def with_wrong_digest_of_numbers(message: Message) -> Message:
    return message | {"orders_digest": message["orders_digest"] ^ 1}


def with_wrong_number(message: Message) -> Message:
    """One order less at the first bid; the digest is that of the right numbers."""
    (price, quantity, number), *others = message["bids"]
    return message | {"bids": [[price, quantity, number - 1], *others]}


@conversation(
    "With the number of orders: in the snapshot, in a delta of quantities, and in a delta for a change of "
    "the number alone. Each message has a digest of the numbers, too.",
    "1.2", "3.3",
    orders=True,
)  # fmt: skip
def number_of_orders(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6500010: 0, 6500005: 3}, {6500020: 5}, counts=({6500010: 0, 6500005: 1}, {6500020: 3}))
    scene.arrives()
    scene.live()
    scene.publishes({6500005: 3}, counts=({6500005: 2}, {}))
    scene.arrives()
    scene.live()


@conversation(
    "A change of the number of orders alone is not sent to those who did not ask for it: the next delta "
    "continues from the view's own seq.",
    "3.3",
    orders=True,
)
def number_not_asked_for(scene: Scene) -> None:
    scene.orders = False
    begin(scene)
    scene.publishes({6500010: 5}, counts=({6500010: 4}, {}))
    scene.publishes({6500010: 6}, counts=({6500010: 5}, {}))
    scene.arrives()
    scene.live()


@conversation(
    "A client that did not read gets one delta of quantities and numbers; a number that is back where it was "
    "is not in it.",
    "3.3",
    orders=True,
)
def number_merged(scene: Scene) -> None:
    begin(scene)
    scene.fills()
    for number in (3, 4, 2):
        scene.publishes({6500010: 5, 6500000: 9}, counts=({6500010: number, 6500000: number + 1}, {}))
    scene.drains()
    scene.arrives()
    scene.live()


@conversation("A view is resumed by both digests.", "3.4", orders=True)
def number_resumed(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.closes()
    scene.stale(at=held)
    scene.publishes({6500010: 5}, counts=({6500010: 4}, {}))
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live()


@conversation(
    "The gateway no longer has the offered state, but a later one with the same digest of levels. The digest "
    "of the numbers is another, so the view is not resumed.",
    "3.4",
    orders=True,
    history_deltas=1,
    book_history_s=0,
)
def number_not_resumed(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.closes()
    scene.stale(at=held)
    for number in (4, 5):
        scene.publishes({6500010: 5}, counts=({6500010: number}, {}))
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live()


@conversation(
    "A delta with a wrong digest of the numbers is not applied, and the client takes a snapshot.",
    "1.1", "3.3",
    orders=True,
)  # fmt: skip
def wrong_orders_digest(scene: Scene) -> None:
    _mismatch(scene, with_wrong_digest_of_numbers)


@conversation(
    "A delta with a wrong number of orders shows by the digest of the numbers; the client takes a snapshot.",
    "1.1", "3.3",
    orders=True,
)  # fmt: skip
def wrong_number(scene: Scene) -> None:
    _mismatch(scene, with_wrong_number)


def _mismatch(scene: Scene, edit: Edit) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.publishes({6500010: 5}, counts=({6500010: 4}, {}))
    scene.arrives(edit=edit)
    scene.stale(at=held)
    scene.subscribes()
    scene.arrives()
    scene.live()


@conversation(
    "A subscription with the numbers replaces one without, and the other way round: the snapshot says which "
    "it is.",
    "3.3",
    orders=True,
)
def with_and_without_numbers(scene: Scene) -> None:
    scene.orders = False
    begin(scene)
    scene.orders = True
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives()
    scene.live()
    scene.orders = False
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives()
    scene.live()


@conversation("A symbol whose feed names levels is refused; the subscription that was there goes on.", "3.3")
def no_orders(scene: Scene) -> None:
    begin(scene)
    scene.orders = True
    scene.user_subscribes()
    scene.subscribes()
    scene.orders = False
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation(
    "A new listing begins whose feed names levels: the subscription with the numbers ends.",
    "3.3",
    orders=True,
)
def no_orders_any_more(scene: Scene) -> None:
    scene.market.relist(SYMBOL, 1, "0.01")
    scene.publishes({6500010: 5}, counts=({6500010: 2}, {}))
    begin(scene)
    scene.market.books[SYMBOL] = Published(scene.market.books[SYMBOL].seq)
    scene.market.relist(SYMBOL, 2, "0.001")
    scene.arrives()
    scene.nothing()


# --- in parts


@conversation(
    "A snapshot with the numbers in three parts: each has the numbers of its levels, and both digests are "
    "those of the whole view. Then a delta for a change of a number alone.",
    "1.2", "3.3",
    orders=True,
    parts=True,
    part_levels_max=1,
)  # fmt: skip
def numbers_in_parts(scene: Scene) -> None:
    asked(scene)
    scene.arrives(3)
    scene.stale(at=0)
    scene.arrives()
    scene.live()
    scene.publishes({6500010: 5}, counts=({6500010: 3}, {}))
    scene.arrives()
    scene.live()


@conversation(
    "A wrong number of orders in one part: the digest of the numbers, which covers the whole view, shows it.",
    "1.2", "3.3",
    orders=True,
    parts=True,
    part_levels_max=1,
)  # fmt: skip
def wrong_number_in_a_part(scene: Scene) -> None:
    asked(scene)
    scene.arrives(1)
    scene.arrives(1, edit=with_wrong_number)
    scene.arrives()
    recovers(scene)


@conversation(
    "A slow client gets a snapshot with the numbers in parts within its subscription, and the connection is "
    "lost before the last part: it still has the numbers of before, and offers both of their digests.",
    "3.3", "3.4",
    orders=True,
    parts=True,
    part_levels_max=1,
    history_deltas=1,
    book_history_s=0,
)  # fmt: skip
def numbers_stay_until_the_last_part(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs[SYMBOL]
    scene.fills()
    for number in (4, 5, 3):
        scene.publishes({6500010: 5}, {6500020: 7}, counts=({6500010: number}, {6500020: number + 2}))
    scene.drains()
    scene.arrives(2)
    scene.live(at=held)
    scene.closes()
    scene.stale(at=held)
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live()
