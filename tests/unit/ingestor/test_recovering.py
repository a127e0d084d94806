"""Reading what Redis holds, step by step, as a standby does."""

import fakeredis
import pytest

from depthcast.ingestor.checkpoint import Checkpoint, encode
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.recover import Recovery
from depthcast.shared.codec import encode_info
from depthcast.shared.errors import RecoveryError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO
from tests.unit.ingestor.test_recovery import EPOCH, INFO, O, at, birth, entry
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


@pytest.mark.parametrize("trimmed", [False, True])
async def test_an_emptied_stream_is_not_written_anew_from_what_is_older_than_the_input_log(
    trimmed: bool,
) -> None:
    """Another leader has consumed what was trimmed; without it, the books would be wrong."""
    client = connected(fakeredis.FakeServer())
    inputs = ["1-0", "2-0", "3-0"]
    for number in inputs:
        await client.xadd(KEYS.events, {"S": "[]"}, id=number)
    info = encode_info(INFO._replace(prev=str(at(0, EPOCH - 1)), src=inputs[0]))
    await client.xadd(KEYS.deltas, {b"_": info}, id=str(at(0)))
    recovery = Recovery((0, 1), KEYS, {}, REAL_ENVIRONMENT)
    await recovery.load(client)
    assert recovery.is_published_state
    if trimmed:
        await client.xtrim(KEYS.events, minid=inputs[2], approximate=False)
    await client.delete(KEYS.deltas)
    if trimmed:
        with pytest.raises(RecoveryError, match="was trimmed beyond"):
            await recovery.finish_emptied(client, {}, ZERO)
    else:
        assert (await recovery.finish_emptied(client, {}, ZERO)).info.src == inputs[0]
    await client.aclose()
