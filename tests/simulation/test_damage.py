"""What is damaged is mended as an operator would: from a backup, unless a leader has written it anew."""

from collections.abc import Iterator
from itertools import count

import pytest

from depthcast.shared.codec import encode_info
from depthcast.shared.types import EntryInfo
from tests.simulation.damage import Damage
from tests.simulation.faults import Fault
from tests.simulation.producers import KEYS
from tests.simulation.streams import Id
from tests.simulation.world import World

FAULT = Fault("delete deltas", 0.0, 0.0, 0.5)


@pytest.fixture
def world() -> Iterator[World]:
    """A world of one partition."""
    for seed in count():
        made = World(seed)
        if made.partitions == 1:
            yield made
            made.loop.close()
            return
        made.loop.close()


def publish(world: World, *positions: Id) -> None:
    for epoch, n in positions:
        info = EntryInfo(1, "0-0", 0, 0, 0, prev=None if n else "0-0")
        world.server.store.execute(
            b"XADD", world.oracles[0].deltas, b"%d-%d" % (epoch, n), b"_", encode_info(info), b"_w", b"1"
        )


def positions(world: World) -> list[Id]:
    found: list[Id] = world.server.store.values[world.oracles[0].deltas].ids
    return found


def test_deleted_deltas_are_restored_unless_books_were_published_anew(world: World) -> None:
    damage, journal, key = Damage(world), world.journal, world.oracles[0].deltas
    assert damage.delete_deltas(FAULT) is None
    publish(world, (5, 0), (5, 1))
    for anew, left in (((), [(5, 0), (5, 1)]), (((7, 0),), [(5, 0), (5, 1)])):
        mend = damage.delete_deltas(FAULT)
        assert mend is not None
        assert key not in world.server.store.values
        publish(world, *anew)
        mend()
        assert positions(world) == left
        assert ([entry for entry, _ in journal.streams[key]], journal.emptied) == (left, set())
    mend = damage.delete_deltas(FAULT)
    assert mend is not None
    publish(world, (8, 0), (8, 1))
    mend()
    assert positions(world) == [(8, 0), (8, 1)]
    assert journal.emptied == {key}


def test_another_type_is_there_for_a_while(world: World) -> None:
    store, keys = world.server.store, KEYS.partition(0)
    lease = keys.leader.encode()
    publish(world, (5, 0))
    store.execute(b"SET", lease, b"me")
    before = dict(store.values)
    changed = set()
    for number in range(40):
        mend = Damage(world).change_type(Fault("change a type", 0.0, 0.0, number / 40))
        assert mend is not None
        now = dict(store.values)
        different = {key for key in now if type(now[key]) is not type(before.get(key))}
        assert len(different) == 1
        changed |= different
        mend()
        assert {**store.values, lease: b"me"} == before
        store.execute(b"SET", lease, b"me")
    assert {keys.deltas.encode(), lease, keys.events.encode()} <= changed
