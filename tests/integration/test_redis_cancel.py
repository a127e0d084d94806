"""A cancellation during Redis access is never lost, whenever it comes."""

import asyncio
import random

from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.redis import connect
from tests.waiting import TIMEOUT_S


async def test_a_cancelled_reader_ends_whenever_it_is_cancelled(redis_url: str, prefix: str) -> None:
    rng = random.Random(1)
    keys = DeploymentKeys(prefix)

    async def read_for_ever() -> None:
        client = connect(redis_url)
        try:
            while True:
                await read_deployed(client, keys, None)
        finally:
            await client.aclose()

    for _ in range(300):
        task = asyncio.create_task(read_for_ever())
        await asyncio.sleep(rng.random() * 0.003)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=TIMEOUT_S)
        assert done, "the cancellation was lost"
        assert task.cancelled()
