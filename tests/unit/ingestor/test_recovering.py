"""Reading what Redis holds, step by step, as a standby does."""

import fakeredis

from depthcast.ingestor.checkpoint import Checkpoint, encode
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.recover import Recovery
from depthcast.shared.keys import DeploymentKeys
from tests.unit.ingestor.test_recovery import EPOCH, O, at, birth, entry
from tests.unit.shared.runtime.test_follow import connected

KEYS = DeploymentKeys("test").partition(0)


async def test_a_symbol_that_was_born_twice_since_the_last_read_is_left_out() -> None:
    """Withdrawn and registered again under another leader; its state is then read from the start."""
    client = connected(fakeredis.FakeServer())

    async def add(position: object, fields: list[tuple[bytes, bytes]]) -> None:
        await client.xadd(KEYS.deltas, dict(fields), id=str(position))

    await add(*entry(at(0), at(0, EPOCH - 1)))
    recovery = Recovery((0, 1), KEYS, {}, REAL_ENVIRONMENT)
    await recovery.load(client)
    await add(*entry(at(1), O=birth(0)))
    await add(*entry(at(2), O=birth(5)))
    await client.set(KEYS.checkpoint("O"), encode(Checkpoint(at(1), at(1), OrdersCopy((), (), (), ()))))
    assert recovery.follow({"O": O})
    assert await recovery.advance(client)
    assert recovery.position == at(2)
    await client.aclose()
