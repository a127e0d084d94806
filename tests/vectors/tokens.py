"""Conversations about tokens: what one does not allow, and another one that allows less."""

from depthcast.gateway.delivery.credentials import Credentials
from depthcast.gateway.protocol.grant import Grant, Rights
from tests.vectors.catalog import begin, conversation
from tests.vectors.scene import START_US, SYMBOL, Scene
from tests.vectors.subscriptions import TWO

EXPIRES_US = START_US + 900_000_000


def grant(*symbols: str) -> Grant:
    """What a token for these symbols allows."""
    return Grant(Rights(frozenset(symbols)), "alice", None, EXPIRES_US)


def with_token(scene: Scene, *symbols: str) -> None:
    """The client's token is for these symbols; any other one that it presents is for the first alone."""
    scene.connection.session.credentials = Credentials(grant(*symbols), lambda _token: grant(symbols[0]))


@conversation(
    "A token allows one of two symbols: the other is refused, and this one is served.", "3.7", symbols=TWO
)
def forbidden(scene: Scene) -> None:
    scene.opens()
    with_token(scene, SYMBOL)
    scene.user_subscribes(*TWO)
    scene.subscribes(*TWO)
    scene.arrives()
    scene.live()
    scene.nothing("ETH-USD")
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()


@conversation("Of everything, a token allows one symbol: nothing is said of the others.", "3.7", symbols=TWO)
def everything_allowed(scene: Scene) -> None:
    scene.opens()
    with_token(scene, SYMBOL)
    scene.user_subscribes("*")
    scene.subscribes("*")
    scene.arrives()
    scene.answers_pings()
    scene.live()
    scene.nothing("ETH-USD")


@conversation(
    "The token is about to expire, and is replaced by one that allows less: one subscription ends, the other "
    "goes on.",
    "3.7",
    symbols=TWO,
)
def forbidden_later(scene: Scene) -> None:
    begin(scene, *TWO)
    with_token(scene, *TWO)
    scene.says({"type": "expiring", "expires": EXPIRES_US})
    scene.connection.take({"op": "auth", "token": "of another kind"})
    scene.arrives()
    scene.live()
    scene.nothing("ETH-USD")
    scene.publishes({6500011: 1})
    scene.arrives()
    scene.live()
