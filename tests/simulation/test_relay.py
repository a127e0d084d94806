"""Relays under seeded faults of both servers, the network and themselves: the copy ends as its source."""

from collections import Counter
from collections.abc import Callable

import pytest

from depthcast.relay.comparison import Verdict
from depthcast.runtime import relay_partition, relay_sides
from depthcast.shared.runtime import catalog
from tests.simulation.relay_world import RelayWorld

GROUP = 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", [0, 5, *(pytest.param(n, marks=pytest.mark.deep) for n in range(10, 200, 5))]
)
def test_a_copy_ends_as_its_source(first: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(first, first + GROUP):
        world = RelayWorld(seed).run()
        assert not world.problems, f"seed {seed}: {world.problems[:5]}"
        counts += world.counts
    assert min(counts[name] for name in ("kills", "replaced", "target lost")) > 0, counts


def never_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_partition, "compare", lambda *_: Verdict.APPEND)


def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "clock_offset_us", lambda _: 0)


def never_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: relay_sides.CopyWriter, first: object) -> None:
        """The copy keeps all."""

    monkeypatch.setattr(relay_sides.CopyWriter, "trim", nothing)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [never_compared, one_clock, never_trimmed])
def test_a_mistake_is_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    seeds = (9, *range(20)) if mistake is never_trimmed else range(20)  # 9 is the first that notices it
    assert any(RelayWorld(seed).run().problems for seed in seeds)
