"""Conversations about subscriptions: replaced, refused, ended, relisted, and those to everything."""

from tests.vectors.catalog import begin, conversation
from tests.vectors.scene import SYMBOL, Scene

TWO = ("BTC-USD", "ETH-USD")
NEW_SIZES = ("0.001", "0.001")


@conversation("A second subscribe replaces the first: nothing of the old one after its answer.", "3.3")
def replaced(scene: Scene) -> None:
    begin(scene)
    scene.user_subscribes(depth=1)
    scene.subscribes(depth=1, read=False)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.gateway_reads()
    scene.arrives()
    scene.live(depth=1)
    scene.publishes({6500012: 2})
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "Two subscribes one after the other, before either is answered: the last one counts, and the answers "
    "to the first are of another depth.",
    "3.3",
)
def replaced_before_the_answer(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes()
    scene.subscribes(read=False)
    scene.user_subscribes(depth=1)
    scene.subscribes(depth=1, read=False)
    scene.gateway_reads()
    scene.arrives()
    scene.live(depth=1)
    scene.publishes({6500012: 2})
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "The user unsubscribes: deltas on their way are ignored. Later the user subscribes again.", "3.3"
)
def unsubscribed(scene: Scene) -> None:
    begin(scene)
    scene.user_unsubscribes()
    scene.unsubscribes(read=False)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.gateway_reads()
    scene.arrives()
    scene.nothing()
    scene.publishes({6500011: 2})
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives()
    scene.live()


@conversation(
    "Unsubscribed and subscribed again at once, with another depth: the answers come in order, and the last "
    "subscription is what counts.",
    "3.3",
)
def unsubscribed_and_subscribed(scene: Scene) -> None:
    begin(scene)
    scene.user_unsubscribes()
    scene.unsubscribes(read=False)
    scene.user_subscribes(depth=1)
    scene.subscribes(depth=1, read=False)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.gateway_reads()
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "A new listing begins while the user's unsubscribe is on its way: its levels are never shown with the "
    "old sizes.",
    "3.2",
)
def unsubscribed_while_relisted(scene: Scene) -> None:
    _listed(scene)
    begin(scene)
    scene.user_unsubscribes()
    scene.unsubscribes(read=False)
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.nothing()


@conversation("The instrument is gone: the gateway ends the subscription.", "3.2")
def removed(scene: Scene) -> None:
    begin(scene)
    scene.removes(SYMBOL)
    scene.arrives()
    scene.nothing()


@conversation(
    "A full book grows beyond the limit: an error, and the subscription ends.",
    "3.3",
    depth=0,
    full_depth_max=3,
)
def full_book_limit(scene: Scene) -> None:
    begin(scene)
    scene.publishes({6499990: 1, 6499980: 1})
    scene.arrives()
    scene.nothing()


@conversation(
    "The gateway ends a subscription while the client waits for the answer to another subscribe of that "
    "symbol: what ended is the old one, and the client goes on waiting.",
    "3.2",
    depth=0,
    full_depth_max=3,
)
def limit_while_waiting(scene: Scene) -> None:
    begin(scene)
    scene.user_subscribes(depth=5)
    scene.subscribes(depth=5, read=False)
    scene.publishes({6499990: 1, 6499980: 1})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.live(depth=5)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live(depth=5)


def _listed(scene: Scene) -> None:
    """The stream names the first listing, and its book has levels."""
    scene.market.relist(SYMBOL, 1, "0.01")
    scene.publishes({6500010: 5, 6500000: 12}, {6500020: 7})


@conversation(
    "A new listing with other sizes: the old view keeps the old sizes, stale, until the snapshot that "
    "begins it.",
    "2.2.3", "3.2",
)  # fmt: skip
def relisted(scene: Scene) -> None:
    _listed(scene)
    begin(scene)
    held = scene.market.books[SYMBOL].seq
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.arrives(1)
    scene.stale(at=held)
    scene.arrives()
    scene.live(sizes=NEW_SIZES)
    scene.publishes({65000100: 5})
    scene.arrives()
    scene.live(sizes=NEW_SIZES)


@conversation(
    "A new listing begins while the client waits for the answer to another subscribe: what comes without "
    "its id belongs to the old subscription.",
    "3.2",
)
def relisted_while_waiting(scene: Scene) -> None:
    _listed(scene)
    begin(scene)
    scene.user_subscribes(depth=1)
    scene.subscribes(depth=1, read=False)
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5, 65000090: 4})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.live(depth=1, sizes=NEW_SIZES)


@conversation(
    "A new listing begins while the client is away: no view of the old one is resumed.", "2.2.3", "3.4"
)
def relisted_while_away(scene: Scene) -> None:
    _listed(scene)
    begin(scene)
    held = scene.market.books[SYMBOL].seq
    scene.closes()
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5})
    offer = {SYMBOL: {"seq": held, "digest": scene.lines[-2]["holds"][SYMBOL]["digest"]}}
    scene.opens()
    scene.subscribes(resume=offer)
    scene.arrives(1)
    scene.stale(at=held)
    scene.arrives()
    scene.live(sizes=NEW_SIZES)


@conversation("The symbols of a list are independent: one is refused, the other is served.", "3.1", "3.3")
def one_symbol_refused(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes(SYMBOL, "NO-SUCH")
    scene.subscribes(SYMBOL, "NO-SUCH")
    scene.arrives()
    scene.live()
    scene.nothing("NO-SUCH")
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation("A wrong depth fails the whole message; other subscriptions go on.", "3.1", symbols=TWO)
def message_refused(scene: Scene) -> None:
    begin(scene)
    scene.user_subscribes("ETH-USD", depth=7)
    scene.subscribes("ETH-USD", depth=7)
    scene.arrives()
    scene.nothing("ETH-USD")
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation(
    "Too many subscriptions at a time: the rest of the message was not carried out, but what was answered "
    "before is subscribed.",
    "3.2", "3.3",
    symbols=TWO,
)  # fmt: skip
def rate_limited(scene: Scene) -> None:
    scene.opens()
    scene.connection.session.changes.left = 0
    scene.user_subscribes(*TWO)
    scene.subscribes(*TWO)
    scene.arrives()
    scene.live("BTC-USD")
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live("BTC-USD")


@conversation(
    "Everything, also what is listed later. What the user has unsubscribed stays so on the next "
    "connection, too.",
    "3.1",
    symbols=TWO,
)
def everything(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.live(symbol)
    scene.lists("SOL-USD")
    scene.arrives()
    scene.stale("SOL-USD")
    scene.has_book()
    scene.publishes({100: 1}, symbol="SOL-USD")
    scene.arrives()
    scene.live("SOL-USD")
    scene.user_unsubscribes("ETH-USD")
    scene.unsubscribes("ETH-USD")
    scene.arrives()
    scene.nothing("ETH-USD")
    held = [symbol for symbol in scene.seqs if symbol != "ETH-USD"]
    scene.closes()
    scene.opens()
    offers = {symbol: scene.offer(scene.seqs[symbol], symbol=symbol)[symbol] for symbol in held}
    scene.subscribes("*", resume=offers, read=False)
    scene.unsubscribes("ETH-USD")
    scene.arrives()
    scene.answers_pings()
    for symbol in held:
        scene.live(symbol, at=offers[symbol]["seq"])
    scene.nothing("ETH-USD")


@conversation("Everything but one, before anything is answered: that one is not shown.", "3.1", symbols=TWO)
def everything_but_one(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*", read=False)
    scene.user_unsubscribes("ETH-USD")
    scene.unsubscribes("ETH-USD")
    scene.arrives()
    scene.answers_pings()
    scene.live("BTC-USD")
    scene.nothing("ETH-USD")


@conversation(
    "A subscription by name beside one to everything: on the next connection the one to everything goes "
    "first, what it brings of that symbol is ignored, and the view of its own depth is resumed.",
    "3.1", "3.4",
    symbols=TWO,
)  # fmt: skip
def everything_and_one(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    scene.user_subscribes(SYMBOL, depth=1)
    scene.subscribes(SYMBOL, depth=1)
    scene.arrives()
    scene.live(depth=1)
    held = dict(scene.seqs)
    scene.closes()
    scene.opens()
    scene.subscribes("*", resume=scene.offer(held["ETH-USD"], symbol="ETH-USD"), read=False)
    scene.subscribes(SYMBOL, depth=1, resume=scene.offer(held[SYMBOL], depth=1))
    scene.arrives()
    scene.answers_pings()
    scene.live(at=held[SYMBOL], depth=1)
    scene.live("ETH-USD", at=held["ETH-USD"])
    scene.publishes({6500012: 2})
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "Everything is unsubscribed: nothing is left, on the next connection either.", "3.1", symbols=TWO
)
def nothing_any_more(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    scene.user_unsubscribes("*")
    scene.unsubscribes("*")
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.nothing(symbol)
    scene.closes()
    scene.opens()
    scene.nothing("ETH-USD")


@conversation(
    "A symbol of a subscription to everything is removed while the client is away: the gateway does not "
    "name it, so it is gone once the answer is complete. A ping behind the subscribe tells when.",
    "3.1", "3.4",
    symbols=TWO,
)  # fmt: skip
def removed_while_away(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    held = dict(scene.seqs)
    scene.closes()
    offers = {symbol: scene.offer(seq, symbol=symbol)[symbol] for symbol, seq in held.items()}
    scene.removes("ETH-USD")
    scene.opens()
    scene.subscribes("*", resume=offers)
    scene.arrives()
    scene.live(at=held["BTC-USD"])
    scene.answers_pings()
    scene.live(at=held["BTC-USD"])
    scene.nothing("ETH-USD")


@conversation(
    "Two subscribes to everything are on their way, with other depths and groups: what answers the first one "
    "is not shown, and the client goes on waiting for the second.",
    "3.1", "3.3",
    symbols=TWO,
)  # fmt: skip
def everything_replaced(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*", group=10)
    scene.subscribes("*", group=10, read=False)
    scene.user_subscribes("*", depth=1)
    scene.subscribes("*", depth=1, read=False)
    scene.gateway_reads(1)
    scene.publishes({6500011: 1})
    scene.arrives()
    for symbol in TWO:
        scene.not_live(symbol)
    scene.gateway_reads()
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.live(symbol, depth=1)
    scene.publishes({6500012: 2})
    scene.arrives()
    scene.live(depth=1)


@conversation(
    "Three subscribes to everything are on their way, the first and the last with the same options, and a "
    "new listing begins after the first: the book of the first one may be shown, that of the second one not.",
    "3.1", "3.2",
)  # fmt: skip
def everything_replaced_and_relisted(scene: Scene) -> None:
    _listed(scene)
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*", read=False)
    scene.user_subscribes("*", depth=1)
    scene.subscribes("*", depth=1, read=False)
    scene.user_subscribes("*")
    scene.subscribes("*", read=False)
    scene.gateway_reads(1)
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5, 65000090: 4})
    scene.arrives()
    scene.gateway_reads(1)
    scene.publishes({65000100: 6})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.answers_pings()
    scene.live(sizes=NEW_SIZES)


@conversation(
    "A subscribe to everything follows one by name before that is answered: what answers the one by name is "
    "not shown.",
    "3.1", "3.3",
    symbols=TWO,
)  # fmt: skip
def replaced_by_everything(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes()
    scene.subscribes(read=False)
    scene.user_subscribes("*", depth=1)
    scene.subscribes("*", depth=1, read=False)
    scene.gateway_reads(1)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.live(symbol, depth=1)


@conversation(
    "A delta is lost while a subscribe to everything is on its way: the client asks for nothing by name, "
    "which would end what everything brings.",
    "1.1", "3.1",
    symbols=TWO,
)  # fmt: skip
def gap_before_everything(scene: Scene) -> None:
    begin(scene)
    _gap_before_everything(scene)


@conversation(
    "The same where everything was subscribed before, with another depth.", "1.1", "3.1", symbols=TWO
)
def gap_before_everything_again(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    _gap_before_everything(scene)


@conversation(
    "A symbol is unsubscribed, then everything is subscribed with the same options, and meanwhile a new "
    "listing begins: once the first subscription has ended, its book is not live until the next is answered.",
    "3.1", "3.2",
)  # fmt: skip
def unsubscribed_before_everything(scene: Scene) -> None:
    _listed(scene)
    begin(scene)
    scene.user_unsubscribes()
    scene.unsubscribes(read=False)
    scene.user_subscribes("*")
    scene.subscribes("*", read=False)
    scene.market.relist(SYMBOL, 2, NEW_SIZES[0])
    scene.publishes({65000100: 5, 65000090: 4})
    scene.arrives()
    scene.gateway_reads(1)
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.answers_pings()
    scene.live(sizes=NEW_SIZES)


@conversation(
    "A connection is lost when one of two symbols that were asked for by name is answered, beside `*`. "
    "On the next one both keep their own depth, also after a gap.",
    "1.1", "3.1", "3.4",
    symbols=TWO,
)  # fmt: skip
def list_half_answered(scene: Scene) -> None:
    scene.opens()
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    scene.user_subscribes(*TWO, depth=1)
    scene.subscribes(*TWO, depth=1)
    scene.arrives(1)
    scene.closes()
    scene.publishes({6500011: 1})
    scene.opens()
    scene.subscribes("*", read=False)
    scene.subscribes(*TWO, depth=1)
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.live(symbol, depth=1)
    held = scene.seqs[SYMBOL]
    scene.publishes({6500012: 2})
    scene.loses()
    scene.publishes({6500012: 3})
    scene.arrives()
    scene.stale(at=held, depth=1)
    scene.subscribes(depth=1)
    scene.arrives()
    scene.live(depth=1)


def _gap_before_everything(scene: Scene) -> None:
    """Everything is subscribed with depth 1, and a delta is lost before the gateway reads that."""
    scene.user_subscribes("*", depth=1)
    scene.subscribes("*", depth=1, read=False)
    scene.publishes({6500011: 1})
    scene.loses()
    scene.publishes({6500012: 2})
    scene.arrives()
    scene.not_live()
    scene.gateway_reads()
    scene.arrives()
    scene.answers_pings()
    for symbol in TWO:
        scene.live(symbol, depth=1)
