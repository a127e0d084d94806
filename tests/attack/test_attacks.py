"""Each kind of attack for a moment; `make attack` has them all, for longer, and measures what they cost.

All go to one gateway worker, one after the other. Times are bounded generously, because the machine may be
busy: what a gateway without a defence would do takes far longer, or never ends.
"""

import itertools
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from benchmarks.fanout.programs import Program
from tests.attack.catalog import load
from tests.attack.stage import Seen, Stage, Witness, attacked_by, attacker, sample
from tests.waiting import eventually_sync

pytestmark = pytest.mark.slow

SYMBOLS: Final = 300
SECONDS: Final = 8.0
"""An attack that has not been refused until then fails; most are within a moment."""
ALLOWED_S: Final = 0.5
"""An attack of which nothing is to be refused goes on for this long."""
SILENCE_S: Final = 1.5
MEMORY_BYTES: Final = 96 << 20
DESCRIPTORS: Final = 8
MOMENTS: Final = {
    "channel_linger_s": 0.1,
    "head_timeout_s": 1,
    "close_linger_s": 1,
    "messages_burst_max": 200,
    "input_bytes_burst_max": 2**21,
    "input_buffer_bytes_max": 2**24,
    "http_requests_max": 16,
    "connections_per_address_max": 100,
}
"""Of the gateway: what takes time by default takes a moment."""
SWEPT: Final = (
    "frames-unmasked",
    "frames-length-of-2-to-the-62",
    "frames-pings",
    "inflate-msgpack-nulls",
    "http-body-symbols",
    "http-pipelined-book",
    "handshakes",
    "strange-noise",
    "subscribe-many",
    "streams-flood",
)
"""Of the sweeps, one of each kind."""
LEFT_OUT: Final = frozenset({"silent-connections-1024"})
"""It needs a gateway of its own."""
CHOSEN: Final = [
    name for name, attack in load().items() if (attack.measured or name in SWEPT) and name not in LEFT_OUT
]


class Place(NamedTuple):
    """The gateway that is attacked, and what its good client has seen."""

    program: Program
    seen: list[Seen]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    seen: list[Seen] = []
    with Stage(SYMBOLS, alone=True) as stage, stage.gateway(MOMENTS) as program:
        witness = Witness({"good": int(program.said[0])}, seen)
        try:
            eventually_sync(lambda: len(books(seen)) > 5, message="the good client has its book")
            yield Place(program, seen)
        finally:
            witness.close()


def books(seen: list[Seen]) -> list[float]:
    return [line.at for line in tuple(seen) if line.what == "book"]


@pytest.mark.parametrize("name", CHOSEN)
def test_an_attack_is_refused_and_nobody_else_notices(place: Place, name: str) -> None:
    attack, pid = load()[name], place.program.pid
    before = sample(pid)
    seconds = SECONDS if attack.due else ALLOWED_S
    process = attacker(name, int(place.program.said[0]), seconds, SYMBOLS, "short")
    began, outcome = attacked_by(process, seconds)

    left = time.monotonic()
    eventually_sync(lambda: books(place.seen)[-1] > left, message="a message after the attack")
    at = [began, *(moment for moment in books(place.seen) if moment > began)]
    assert max(later - earlier for earlier, later in itertools.pairwise(at)) < SILENCE_S
    assert not [line for line in place.seen if line.what == "lost"], "the good client was dropped"
    assert attack.refused(list(outcome)), f"nothing that is due was refused: {dict(outcome)}"
    eventually_sync(lambda: sample(pid).rss < before.rss + MEMORY_BYTES, message="memory is given back")
    eventually_sync(
        lambda: sample(pid).descriptors <= before.descriptors + DESCRIPTORS, message="descriptors are closed"
    )
