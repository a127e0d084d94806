"""Reading what Redis holds, step by step, as a standby does."""

import fakeredis
import pytest

from depthcast.ingestor.checkpoint import Checkpoint, encode
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.recover import Recovery
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.position import ZERO
from depthcast.shared.types import Delta, Symbol
from tests.unit.ingestor.test_recovery import EPOCH, FIRST, INFO, O, at, birth, delta, entry
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


@pytest.mark.parametrize(
    ("lost", "refused"),
    [("nothing", False), ("the log", False), ("trimmed", True), ("the last consumed", True)],
)
async def test_an_emptied_stream_is_not_written_anew_from_what_does_not_fit_the_input_log(
    lost: str, *, refused: bool
) -> None:
    """Another leader has consumed what was trimmed, and what a failover lost may be sent again."""
    client = connected(fakeredis.FakeServer())
    inputs = ["1-0", "2-0", "3-0"]
    for number in inputs:
        await client.xadd(KEYS.events, {"S": "[]"}, id=number)
    src = inputs[1] if lost == "the last consumed" else inputs[0]
    info = encode_info(INFO._replace(prev=str(at(0, EPOCH - 1)), src=src))
    await client.xadd(KEYS.deltas, {b"_": info}, id=str(at(0)))
    recovery = Recovery((0, 1), KEYS, {}, REAL_ENVIRONMENT)
    await recovery.load(client)
    assert recovery.is_published_state
    if lost == "trimmed":
        await client.xtrim(KEYS.events, minid=inputs[2], approximate=False)
    elif lost == "the last consumed":
        await client.xdel(KEYS.events, src)  # as if 3-0 had been added after a failover that lost it
    elif lost == "the log":
        await client.delete(KEYS.events)
    await client.delete(KEYS.deltas)
    if refused:
        with pytest.raises(RecoveryError, match=f"{src}, the last input .* is gone"):
            await recovery.finish_emptied(client, {}, ZERO)
    else:
        survived = "0-0" if lost == "the log" else src
        assert (await recovery.finish_emptied(client, {}, ZERO)).info.src == survived
    await client.aclose()


async def test_a_standby_has_the_very_books_that_it_follows() -> None:
    """What changes after they were passed on is in the engine: levels, best prices, digests and seqs."""
    client = connected(fakeredis.FakeServer())

    async def add(position: object, fields: list[tuple[bytes, bytes]]) -> None:
        await client.xadd(KEYS.deltas, dict(fields), id=str(position))

    def listed(symbol: str, delta: Delta) -> bytes:
        return encode_delta(delta, to_table(Listing(1, Instrument(Symbol(symbol)))))

    names = {name: Instrument(Symbol(name)) for name in "ABC"}
    await add(*entry(at(0), at(0, EPOCH - 1)))
    recovery = Recovery((0, 1), KEYS, names, REAL_ENVIRONMENT)
    await recovery.load(client)
    await add(at(1), [entry(at(1))[1][0], *((name.encode(), listed(name, birth(0))) for name in "ABC")])
    assert await recovery.advance(client)
    prepared = {name: recovery._engine._books.states[Symbol(name)] for name in "ABC"}
    await add(*entry(at(2), A=delta(0, 1, 100, 5), B=delta(0, 1, 7, 7)))
    assert await recovery.advance(client)
    await add(at(3), [entry(at(3))[1][0], (b"B", listed("B", birth(9)))])  # born again: another book
    await client.xadd(KEYS.events, {"A": b"[]"}, id=INFO.src)
    found = await recovery.finish(client, names)
    states = found.engine._books.states
    assert [states[Symbol(name)] is prepared[name] for name in "ABC"] == [True, False, True]
    assert found.engine.snapshot("A")[:4] == (FIRST + 1, [100, 5], [], digest_of_flat([100, 5], []))
    assert found.engine.snapshot("B")[:2] == (FIRST + 9, [])
    assert found.engine.snapshot("C")[:2] == (FIRST, [])
    found.engine.apply("8-0", [(b"A", b'[["update","ask",100,1],["update","ask",101,1]]')])
    (moved,) = found.engine.drain().deltas
    assert moved[1].asks == [101, 1], "the first crosses the bid that came while it was followed"
    await client.aclose()
