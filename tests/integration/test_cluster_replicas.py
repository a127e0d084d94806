"""Readers of replicas in a cluster, while a slot is on its way to another master."""

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.runtime.ports import HOST
from depthcast.runtime.server_binary import ServerBinary
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.replica_choice import MOVING
from depthcast.shared.runtime.replicas import ReadingClient
from tests.clusters import Cluster
from tests.ingestor_runs import FEEDS
from tests.integration.replica_scene import look_often
from tests.integration.test_cluster import OF, PARTITIONS, Scene, binary, nothing, scene, under_load
from tests.waiting import eventually

__all__ = ["binary"]


def _clients(made: Scene, number: int) -> list[ReadingClient]:
    """What the consumer and the gateway read a partition with."""
    client = made.consumer._followed[number].follower.client
    assert isinstance(client, ReadingClient)
    return [client, made.market_reader.replica_clients[number]]


async def _are_at_replicas(cluster: Cluster, made: Scene, numbers: list[int]) -> bool:
    """Whether these partitions are read from replicas of their masters."""
    for number in numbers:
        try:
            master = await cluster.master_of(made.keys.partition(number).tag)
            replicas = await cluster.replicas_of(master)
        except RedisUnavailable:
            return False
        if not {client.place for client in _clients(made, number)} <= {
            f"{HOST}:{cluster.port(each)}" for each in replicas
        }:
            return False
    return True


@pytest.mark.slow
async def test_a_slot_that_is_half_moved_is_read_at_its_owner_and_then_at_a_replica_again(
    tmp_path: Path, prefix: str, binary: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica does not say that a key has moved: a book that is gone there seems never to have been."""
    look_often(monkeypatch)
    number = OF["LEV"]
    others = [each for each in range(PARTITIONS) if each != number]
    options: dict[str, Any] = {"read_from": "replica", "prefix": prefix}
    async with Cluster(binary) as cluster, scene(cluster, prefix, tmp_path, "replica") as made:
        await under_load(made, 5, nothing)
        await made.check(lossless=True)
        await eventually(partial(_are_at_replicas, cluster, made, [number, *others]), message="at replicas")
        wanted = {symbol: made.consumer.digest(symbol) for symbol in FEEDS}
        key = made.keys.partition(number).deltas
        move = await cluster.begin_move(key, (await cluster.others(key))[0])
        await eventually(lambda: {client.place for client in _clients(made, number)} == {"primary"})
        for client in _clients(made, number):
            assert client.fallbacks == {MOVING: 1}
        names = await move.left()
        Random(7).shuffle(names)
        while names:
            await move.keys([names.pop()])
            async with Consumer(cluster.url, name="half", **options) as reader:
                for symbol, digest in wanted.items():
                    await reader.wait_for(symbol)
                    assert reader.digest(symbol) == digest
                assert reader.places[number].server == "primary"
        assert {client.place for client in _clients(made, number)} == {"primary"}
        assert await _are_at_replicas(cluster, made, others), "nobody else notices it"
        await move.end()
        await under_load(made, 6, nothing)
        await made.check(lossless=True)
        await eventually(partial(_are_at_replicas, cluster, made, [number]), message="at a replica again")
        await under_load(made, 7, nothing)
        await made.check(lossless=True)
