"""Conversations over several connections: resume, close codes, credit."""

from depthcast.shared.close_codes import CLOSINGS
from tests.vectors.catalog import begin, conversation
from tests.vectors.scene import Message, Scene

UNKNOWN_CODE = 4999


@conversation(
    "A connection is lost. The view stays, stale; on the next one the client offers it, the gateway "
    "resumes it, and one merged delta brings what was missed.",
    "3.4",
)
def resumed(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.closes()
    scene.stale(at=held)
    scene.publishes({6500011: 1})
    scene.publishes({6500011: 2}, {6500020: 6})
    scene.opens()
    scene.stale(at=held)
    scene.subscribes(resume=scene.offer(held))
    scene.arrives(1)
    scene.live(at=held)
    scene.arrives()
    scene.live()


@conversation("A view that has not moved is resumed, and nothing else is sent.", "3.4")
def resumed_where_it_was(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.closes()
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live(at=held)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation(
    "Another gateway knows the same view under a lower seq: the digest decides, and the client takes that "
    "seq.",
    "3.4",
)
def resumed_at_a_lower_seq(scene: Scene) -> None:
    def later(message: Message) -> Message:
        return {**message, "seq": message["seq"] + 7} if message["type"] == "snapshot" else message

    scene.opens()
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives(edit=later)
    there = scene.market.books["BTC-USD"].seq
    scene.live(at=there, seq=there + 7)
    scene.closes()
    scene.stale(at=there, seq=there + 7)
    scene.opens()
    scene.subscribes(resume=scene.offer(there, seq=there + 7))
    scene.arrives()
    scene.live(at=there)
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation("A resumed view whose source is silent: live is said of nothing that is stale.", "3.3", "3.4")
def resumed_while_stale(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.closes()
    scene.waits(6)
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.stale(at=held)


@conversation(
    "The gateway no longer has the offered state: not resumed, and a snapshot replaces the view.",
    "3.4",
    history_deltas=1,
    book_history_s=0,
)
def not_resumed(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    scene.closes()
    for quantity in (1, 2, 3):
        scene.publishes({6500011: quantity})
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives(1)
    scene.stale(at=held)
    scene.arrives()
    scene.live()


@conversation("A producer ended its doubt while the client was away: the doubted view is not resumed.", "3.4")
def doubt_ended_meanwhile(scene: Scene) -> None:
    begin(scene)
    scene.market.doubt("BTC-USD", "gap", {6500010: 9})
    scene.arrives()
    scene.stale(reason="gap")
    held = scene.seqs["BTC-USD"]
    scene.closes()
    scene.market.doubt("BTC-USD", None, {6500010: 5})
    scene.opens()
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live()


@conversation(
    "Every close code, one that is not listed, and when a client connects again. Views are stale meanwhile.",
    "3.3",
)
def close_codes(scene: Scene) -> None:
    begin(scene)
    held = scene.seqs["BTC-USD"]
    for code in (*CLOSINGS, UNKNOWN_CODE):
        scene.closes(code)
        scene.stale(at=held)
        scene.opens()
        scene.subscribes(resume=scene.offer(held))
        scene.arrives()
        scene.live(at=held)


@conversation(
    "A client that allows four messages at a time: it grants credit first, and gives back what it has "
    "read, so that the gateway always has some and never more than four.",
    "3.1", "3.3",
    credit_window=4,
)  # fmt: skip
def credit(scene: Scene) -> None:
    scene.opens()
    scene.credit(4, 4)
    scene.user_subscribes()
    scene.subscribes()
    scene.arrives()
    for quantity in range(1, 10):
        scene.publishes({6500011: quantity})
        scene.arrives()
        scene.live()
        scene.credit(1, 4)
    held = scene.seqs["BTC-USD"]
    scene.closes()
    scene.opens()
    scene.credit(4, 4)
    scene.subscribes(resume=scene.offer(held))
    scene.arrives()
    scene.live(at=held)
