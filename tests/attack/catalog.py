"""The list of attacks, which the `*_attacks` modules fill when they are imported."""

import fnmatch
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from tests.attack.wire import Scene

Body = Callable[[Scene], Awaitable[None]]

REFUSED: Final = (
    *(f"close {code}" for code in (1002, 1003, 1007, 1008, 1009, 1013, 4408, 4410, 4429)),
    *("cut", "error limit", "error rate_limited", "http 40[0358]", "http 41*", "http 42*", "http 43*"),
    *("http 50[0-9]", "not connected*"),
)
"""Patterns of what says no: one of them is due wherever an attack does not say otherwise."""


FLOODED: Final = ("close 4429",)
"""More than the rate allows."""
TOO_MUCH: Final = ("error limit", "error rate_limited", *FLOODED)
"""A message is refused, or too many are."""
REQUESTS: Final = ("http 4*", "http 5*", "cut")
"""A request is refused, or its connection ended."""
CUT: Final = ("cut",)
"""The time for a request is over, or there are too many connections."""
ALLOWED: Final[Sequence[str]] = ()
"""Nothing of it is forbidden, so that it may only do no harm."""


class Attack(NamedTuple):
    """One attack. `due`: patterns of an outcome, one of which must occur; none where all of it is allowed.

    `measured`: one of those that were measured before there was any defence. `settings`: of the gateway.
    `descriptors`: the gateway's limit of open files, where it matters.
    """

    name: str
    what: str
    body: Body
    due: Sequence[str]
    measured: bool
    seconds: float | None
    descriptors: int | None

    def refused(self, outcome: Sequence[str]) -> bool:
        """Whether what is due occurred."""
        return not self.due or any(fnmatch.fnmatch(kind, pattern) for kind in outcome for pattern in self.due)


ATTACKS: Final[dict[str, Attack]] = {}


def attack(
    name: str,
    what: str,
    *,
    due: Sequence[str] = REFUSED,
    measured: bool = False,
    seconds: float | None = None,
    descriptors: int | None = None,
) -> Callable[[Body], Body]:
    """Put a function into the list; `seconds` where an attack needs a time of its own."""

    def add(body: Body) -> Body:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name, what, body, due, measured, seconds, descriptors)
        return body

    return add


def load() -> dict[str, Attack]:
    """All attacks: first those that were measured, as they are written down, then the sweeps."""
    from tests.attack import frame_attacks, http_attacks, measured_attacks, message_attacks, stream_attacks

    assert all((frame_attacks, http_attacks, message_attacks, measured_attacks, stream_attacks))
    return dict(sorted(ATTACKS.items(), key=lambda item: not item[1].measured))


def chosen(patterns: Sequence[str], *, measured_only: bool) -> list[Attack]:
    """The attacks with a name like one of the patterns; all if there are none."""
    return [
        attack
        for attack in load().values()
        if (attack.measured or not measured_only)
        and (not patterns or any(fnmatch.fnmatch(attack.name, pattern) for pattern in patterns))
    ]
