"""The register of conversations: what each shows, and how it is composed."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tests.vectors.lines import Line, Vector
from tests.vectors.scene import Scene

Compose = Callable[[Scene], None]


class Conversation(NamedTuple):
    """How to compose one; `setting`: of its scene; `head`: further keys of its first line."""

    compose: Compose
    head: Line
    setting: dict[str, Any]


CONVERSATIONS: Final[dict[str, Conversation]] = {}


def conversation(
    about: str, *contract: str, credit_window: int | None = None, parts: bool = False, **setting: Any
) -> Callable[[Compose], Compose]:
    """Register a function as the conversation of its name.

    `about`: what it shows; `contract`: the sections with its rules; `parts`: whether the client asks for
    them; `setting`: arguments of `Scene`.
    """

    def register(compose: Compose) -> Compose:
        name = compose.__name__
        assert name not in CONVERSATIONS, f"two conversations are named {name}"
        head: Line = {"vector": name, "reader": "client", "about": about, "contract": list(contract)}
        if credit_window is not None:
            head["credit_window"] = credit_window
        if parts:
            head["parts"] = True
        CONVERSATIONS[name] = Conversation(compose, head, {"parts": parts, **setting})
        return compose

    return register


def composed(name: str) -> Vector:
    """Compose one conversation anew."""
    compose, head, setting = CONVERSATIONS[name]
    scene = Scene(*setting.get("symbols", ()), **{k: v for k, v in setting.items() if k != "symbols"})
    compose(scene)
    return Vector(name, "client", head, scene.lines)


def begin(scene: Scene, *symbols: str) -> None:
    """A client is connected, and follows its first book."""
    scene.opens()
    scene.user_subscribes(*symbols)
    scene.subscribes(*symbols)
    scene.arrives()
    for symbol in symbols or ("BTC-USD",):
        scene.live(symbol)
