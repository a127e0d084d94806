"""The register of stream conversations: what each shows, and how it is composed."""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.vectors.lines import Line, Vector
from tests.vectors.stream_scene import SYMBOL, StreamScene

Compose = Callable[[StreamScene], None]


class StreamConversation(NamedTuple):
    """How to compose one; `symbols`: what its reader wants."""

    compose: Compose
    head: Line
    symbols: tuple[str, ...]


STREAM_CONVERSATIONS: Final[dict[str, StreamConversation]] = {}


def stream_conversation(
    about: str, *contract: str, symbols: tuple[str, ...] = (SYMBOL,)
) -> Callable[[Compose], Compose]:
    """Register a function as the stream conversation of its name; `symbols`: what the reader wants."""

    def register(compose: Compose) -> Compose:
        head: Line = {"vector": compose.__name__, "reader": "stream", "about": about}
        head |= {"contract": list(contract), "symbols": list(symbols)}
        STREAM_CONVERSATIONS[compose.__name__] = StreamConversation(compose, head, symbols)
        return compose

    return register


def stream_composed(name: str) -> Vector:
    """Compose one stream conversation anew."""
    compose, head, symbols = STREAM_CONVERSATIONS[name]
    scene = StreamScene(*symbols)
    compose(scene)
    return Vector(name, "stream", head, scene.lines)
