"""Publishing to a real server: all or nothing, exactly once, and nothing from a fenced leader."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast.broadcaster.publication import SYMBOLS_PER_ENTRY, Attachment, Broadcast, Fields, Record
from depthcast.broadcaster.runtime.publisher import DIRECT_BYTES_MAX, Publisher
from depthcast.broadcaster.runtime.server_identity import ServerIdentity
from depthcast.ingestor import checkpoint
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.orders import OrdersCopy
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import decode_info, encode_delta
from depthcast.shared.errors import Fenced, RedisUnavailable
from depthcast.shared.keys import DeploymentKeys, PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.direct import DirectClient
from depthcast.shared.runtime.redis import connect, execute, last_position, parse_entries, read_hash
from depthcast.shared.types import Delta, EntryInfo
from tests.proxy import Cut, FaultProxy
from tests.waiting import eventually

EPOCH = 1000
INFO = EntryInfo(1, "0-0", 0, 0, 0)


@pytest.fixture
def keys(prefix: str) -> PartitionKeys:
    return DeploymentKeys(prefix).partition(0)


def broadcast(number: int = 0, symbols: int = 1, src: str = "0-0") -> Broadcast:
    deltas = [(f"S{place}", Delta(number, number + 1, [place, 1], [], 0, 1)) for place in range(symbols)]
    return Broadcast(INFO._replace(src=src, applied=number), deltas)


def reject(number: int) -> Fields:
    return [
        (b"symbol", b"S"),
        (b"reason", b"malformed"),
        (b"index", b"%d" % number),
        (b"event", bytes(range(256))),
    ]


async def lead(
    client: Redis, keys: PartitionKeys, epoch: int = EPOCH, rejects_max: int = 10_000
) -> Publisher:
    """A publisher after its seal and one publish, so that the server knows its scripts."""
    tail = await last_position(client, keys.deltas)
    publisher = Publisher(client, (0, keys), tail, rejects_max=rejects_max)
    await publisher.seal(epoch, Broadcast(INFO, ()))
    await publisher.publish([broadcast(0)])
    await publisher.store([])
    await publisher.trim(None, ZERO)
    return publisher


async def stream(client: Redis, key: str) -> list[tuple[Position, list[tuple[bytes, bytes]]]]:
    return parse_entries(await execute(client, "XRANGE", key, "-", "+"))


async def everything(client: Redis, keys: PartitionKeys) -> dict[bytes, Any]:
    """Everything stored under the partition's keys."""
    held: dict[bytes, Any] = {}
    async for key in client.scan_iter(match=f"{keys.tag}*".replace("[", "\\["), count=1000):
        if await client.type(key) == b"stream":
            held[key] = await stream(client, key), await last_position(client, key)
        else:
            held[key] = await client.get(key)
    return held


def state(position: Position, keys: PartitionKeys, orders: int = 0) -> list[Attachment]:
    copy = OrdersCopy(list(range(orders)), [[5, 1]] * orders, [], [])
    return [
        Attachment(keys.snapshots("S0"), b"snapshot", position),
        Attachment(keys.checkpoint("S0"), checkpoint.encode(Checkpoint(position, ZERO, copy)), None),
    ]


class TestSound:
    async def test_a_server_that_forgot_its_scripts_gets_them_again(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        for number in range(1, 5):
            if number % 2:
                await execute(client, "SCRIPT", "FLUSH")
            await publisher.publish([broadcast(number)])
        infos = [decode_info(fields[0][1]).applied for _, fields in await stream(client, keys.deltas)]
        assert infos == [0, 0, 1, 2, 3, 4]
        assert publisher.resends == 0

    async def test_after_a_write_that_failed_the_next_publish_checks_the_server_too(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        usable = []
        for _ in range(2):
            await publisher.publish([broadcast(1)])
        usable.append(publisher._direct.usable)
        await execute(client, "SET", keys.snapshots("S0"), "of another type")
        attachment = Attachment(keys.snapshots("S0"), b"x", publisher.position)
        with pytest.raises(RedisUnavailable):
            await publisher.store([attachment])
        usable.append(publisher._direct.usable)
        await publisher.publish([broadcast(2)])
        assert [*usable, publisher._direct.usable] == [True, False, True]

    async def test_a_write_that_fails_beside_it_leaves_a_publish_alone(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        random = Random(1)
        publisher = await lead(client, keys)
        await publisher.publish([broadcast(0)])
        await execute(client, "SET", keys.snapshots("S0"), "of another type")
        refused = 0

        async def store() -> None:
            nonlocal refused
            for _ in range(100):
                await asyncio.sleep(random.random() * 0.001)
                with pytest.raises(RedisUnavailable, match="holds a string"):
                    await publisher.store([Attachment(keys.snapshots("S0"), b"x", publisher.position)])
                refused += 1

        storing, published = asyncio.create_task(store()), 1
        while not storing.done():
            await publisher.publish([broadcast(published)])
            published += 1
        await storing
        infos = [decode_info(fields[0][1]).applied for _, fields in await stream(client, keys.deltas)]
        assert infos[-published:] == list(range(published))
        assert (publisher.resends, refused) == (0, 100)

    async def test_publishes_of_every_size_follow_each_other(
        self, client: Redis, keys: PartitionKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[int] = []
        directly = DirectClient.send

        async def send(self: DirectClient, command: bytes) -> Any:
            sent.append(len(command))
            return await directly(self, command)

        monkeypatch.setattr(DirectClient, "send", send)
        publisher = await lead(client, keys)
        sent.clear()
        sizes = [1, 2_000, DIRECT_BYTES_MAX, 1]
        for size in sizes:
            await publisher.publish(
                [broadcast(1)],
                attach=lambda at, size=size: [  # type: ignore[misc]
                    Attachment(keys.snapshots("S0"), b"x" * size, at)
                ],
            )
        assert [command > size for command, size in zip(sent, [1, 2_000, 1], strict=True)] == [True] * 3
        written = parse_entries(await execute(client, "XRANGE", keys.snapshots("S0"), "-", "+"))
        assert [len(fields[0][1]) for _, fields in written] == sizes[-2:]

    async def test_everything_of_a_publish_is_written(self, client: Redis, keys: PartitionKeys) -> None:
        publisher = await lead(client, keys)
        await execute(client, "XADD", keys.events, "7-5", "S", "[]")
        await publisher.publish(
            [broadcast(1, src="7-4"), broadcast(2, symbols=0, src="7-5")],
            [reject(0), reject(1)],
            lambda position: state(position, keys),
        )
        written = await stream(client, keys.deltas)
        assert [position for position, _ in written] == [Position(EPOCH, n) for n in range(4)]
        assert [decode_info(fields[0][1]) for _, fields in written] == [
            INFO._replace(prev="0-0"),
            INFO,
            INFO._replace(src="7-4", applied=1),
            INFO._replace(src="7-5", applied=2),
        ]
        assert [fields for _, fields in await stream(client, keys.rejects)] == [reject(0), reject(1)]
        assert await stream(client, keys.snapshots("S0")) == [(Position(EPOCH, 3), [(b"s", b"snapshot")])]
        assert checkpoint.decode(await execute(client, "GET", keys.checkpoint("S0"))).position == Position(
            EPOCH, 3
        )
        assert publisher.position == Position(EPOCH, 3)

    async def test_a_step_of_moves_is_one_entry(self, client: Redis, keys: PartitionKeys) -> None:
        """A second one would say that all books are moved."""
        publisher = await lead(client, keys)
        await publisher.move(EPOCH + 1, broadcast(1, symbols=SYMBOLS_PER_ENTRY))
        position, fields = (await stream(client, keys.deltas))[-1]
        assert position == publisher.position == Position(EPOCH + 1, 0)
        assert len(fields) == SYMBOLS_PER_ENTRY + 2
        assert decode_info(fields[0][1]).prev == f"{EPOCH}-1"
        with pytest.raises(ValueError, match="too many values"):
            await publisher.move(EPOCH + 2, broadcast(1, symbols=SYMBOLS_PER_ENTRY + 1))
        assert await last_position(client, keys.deltas) == Position(EPOCH + 1, 0)

    async def test_a_step_of_moves_is_fenced(self, client: Redis, keys: PartitionKeys) -> None:
        publisher, other = await lead(client, keys), await lead(client, keys, EPOCH + 1)
        with pytest.raises(Fenced):
            await publisher.move(EPOCH + 2, broadcast(1))
        assert await last_position(client, keys.deltas) == other.position

    async def test_listings_replace_the_record_or_add_to_it(self, client: Redis, keys: PartitionKeys) -> None:
        publisher = await lead(client, keys)
        many = [f"S{number}" * 8 for number in range(9_000)]
        for symbols, how, held in (
            (["A", "B"], Record.WHOLE, {"A": 2, "B": 2}),
            (["B", "C"], Record.MORE, {"A": 2, "B": 3, "C": 3}),
            (["D"], Record.WHOLE, {"D": 4}),
            ([], Record.WHOLE, {}),
            (many, Record.WHOLE, dict.fromkeys(many, 6)),
        ):
            listing = Attachment.record(keys.symbols, symbols, how)
            await publisher.publish([broadcast(1)], (), lambda _, listing=listing: [listing])  # type: ignore[misc]
            wanted = {symbol.encode(): f"{EPOCH}-{n}".encode() for symbol, n in held.items()}
            assert await read_hash(client, keys.symbols) == wanted

    async def test_more_than_3000_symbols_take_several_entries_at_once(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        await publisher.publish([broadcast(1, symbols=7001)])
        written = (await stream(client, keys.deltas))[2:]
        assert [position for position, _ in written] == [Position(EPOCH, n) for n in (2, 3, 4)]
        assert [len(fields) for _, fields in written] == [3002, 3002, 1003]
        assert len({name for _, fields in written for name, _ in fields}) == 7003

    async def test_fields_of_any_length_are_written_as_they_are(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        sizes = [*range(12), 127, 128, 255, 256, 7_000, 30_000]  # msgpack has several forms of text by length
        deltas = [
            (f"S{size}", Delta(size, 2**40, [-(2**53) + 1, 200] * size, [], 2**32 - 1, 1)) for size in sizes
        ]
        await publisher.publish([Broadcast(INFO, deltas)])
        ((_, (_, *fields, _)),) = (await stream(client, keys.deltas))[2:]
        assert fields == [(symbol.encode(), encode_delta(delta)) for symbol, delta in deltas]

    async def test_any_number_of_rejects(self, client: Redis, keys: PartitionKeys) -> None:
        publisher = await lead(client, keys, rejects_max=1_000_000)
        await publisher.publish([broadcast(1)], [reject(number) for number in range(5_500)])
        written = await stream(client, keys.rejects)
        assert [fields for _, fields in written] == [reject(number) for number in range(5_500)]

    async def test_rejects_are_capped(self, client: Redis, keys: PartitionKeys) -> None:
        publisher = await lead(client, keys, rejects_max=300)
        sizes = [1000, 1000, 250, 250, 250, 1000, 250, 250, 250, 300, 250]
        rejects = [reject(number) for number in range(sum(sizes))]
        for attempt, size in enumerate(sizes):
            start = sum(sizes[:attempt])
            await publisher.publish([broadcast(1)], rejects[start : start + size])
        indices = [int(fields[2][1]) for _, fields in await stream(client, keys.rejects)]
        assert indices == list(range(len(rejects) - len(indices), len(rejects)))
        assert 300 <= len(indices) < 550

    async def test_a_new_epoch_names_what_it_continues(self, client: Redis, keys: PartitionKeys) -> None:
        await lead(client, keys)
        await lead(client, keys, EPOCH + 5)
        seals = [fields for position, fields in await stream(client, keys.deltas) if position.n == 0]
        assert [decode_info(fields[0][1]).prev for fields in seals] == ["0-0", f"{EPOCH}-1"]

    async def test_at_least_the_last_two_snapshots_stay(self, client: Redis, keys: PartitionKeys) -> None:
        publisher = await lead(client, keys)
        for number in range(5):
            await publisher.publish([broadcast(number)])
            await publisher.store(state(publisher.position, keys)[:1])
        kept = [position for position, _ in await stream(client, keys.snapshots("S0"))]
        assert kept == [Position(EPOCH, 5), Position(EPOCH, 6)]


async def another_entry(client: Redis, keys: PartitionKeys) -> None:
    await execute(client, "XADD", keys.deltas, f"{EPOCH}-9", "_", "x")


async def lost_tail(client: Redis, keys: PartitionKeys) -> None:
    await execute(client, "DEL", keys.deltas)
    await execute(client, "XADD", keys.deltas, f"{EPOCH}-0", "_", "x")


async def deleted_key(client: Redis, keys: PartitionKeys) -> None:
    await execute(client, "DEL", keys.deltas)


async def newer_seal(client: Redis, keys: PartitionKeys) -> None:
    tail = await last_position(client, keys.deltas)
    other = Publisher(client, (0, keys), tail, rejects_max=9)
    await other.seal(EPOCH + 1, Broadcast(INFO, ()))


Disturb = Callable[[Redis, PartitionKeys], Awaitable[None]]


class TestFenced:
    @pytest.mark.parametrize("disturb", [another_entry, lost_tail, deleted_key, newer_seal])
    async def test_a_fenced_leader_writes_nothing(
        self, client: Redis, keys: PartitionKeys, disturb: Disturb
    ) -> None:
        publisher = await lead(client, keys)
        await publisher.store(state(publisher.position, keys))
        for number in range(3):
            await execute(client, "XADD", keys.events, f"7-{number + 1}", "S", "[]")
        await disturb(client, keys)
        before = await everything(client, keys)
        with pytest.raises(Fenced):
            await publisher.publish([broadcast(1)], [reject(0)], lambda position: state(position, keys, 3))
        assert await everything(client, keys) == before
        if disturb is not another_entry:
            with pytest.raises(Fenced):
                await publisher.store(state(publisher.position, keys, 5))
            with pytest.raises(Fenced):
                await publisher.trim(Position(EPOCH, 1), Position(7, 3))
            assert await everything(client, keys) == before

    async def test_input_that_is_not_there_cannot_have_been_consumed(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        await execute(client, "XADD", keys.events, "9-9", "S", "[]")
        before = await everything(client, keys)
        for src in ("10-0", "9-10", "18446744073709551615-18446744073709551615"):
            with pytest.raises(Fenced) as caught:
                await publisher.publish([broadcast(1, src=src)], [reject(0)])
            assert caught.value.found == "events at 9-9"
        assert await everything(client, keys) == before
        await publisher.publish([broadcast(1, src="9-9")])

    async def test_a_seal_that_does_not_follow_the_last_entry_is_refused(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        late = Publisher(client, (0, keys), Position(EPOCH, 0), rejects_max=9)
        with pytest.raises(Fenced):
            await late.seal(EPOCH + 1, Broadcast(INFO, ()))
        await publisher.publish([broadcast(1)])

    async def test_newer_recovery_state_is_never_replaced_by_older(
        self, client: Redis, keys: PartitionKeys
    ) -> None:
        publisher = await lead(client, keys)
        before = publisher.position
        await publisher.publish([broadcast(1)], (), lambda position: state(position, keys, 2))
        held = await everything(client, keys)
        await publisher.store(state(before, keys, 1))
        assert await everything(client, keys) == held
        await publisher.store(state(publisher.position, keys, 3))
        newest = checkpoint.decode(await execute(client, "GET", keys.checkpoint("S0")))
        assert newest.position == publisher.position
        assert len(newest.orders.bids) == 3


class TestUnknownOutcomes:
    @pytest.fixture
    async def proxy(self, redis_url: str) -> AsyncIterator[FaultProxy]:
        async with FaultProxy(redis_url) as proxy:
            yield proxy

    @pytest.fixture
    async def through(self, proxy: FaultProxy) -> AsyncIterator[Redis]:
        client = connect(proxy.url, on_connect=ServerIdentity(0, lambda: "name").check)
        yield client
        await client.aclose()

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("depthcast.broadcaster.runtime.publisher.RESEND_S", 0.001)

    @pytest.mark.parametrize(
        "faults",
        [
            [Cut.BEFORE],
            [Cut.AFTER],
            [Cut.LATE],
            [Cut.BEFORE, Cut.AFTER],
            [Cut.LATE, Cut.AFTER],
            [Cut.LATE, Cut.LATE, Cut.BEFORE, Cut.AFTER, Cut.AFTER],
        ],
        ids=lambda faults: "-".join(fault.name for fault in faults),
    )
    async def test_a_publish_is_settled_exactly_once(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys, faults: list[Cut]
    ) -> None:
        publisher = await lead(through, keys)
        proxy.faults += faults
        await publisher.publish(
            [broadcast(1, symbols=3001)], [reject(0)], lambda position: state(position, keys)
        )
        assert proxy.cuts == len(faults)
        assert publisher.resends == len(faults)
        assert publisher.position == Position(EPOCH, 3) == await last_position(client, keys.deltas)
        settled = await everything(client, keys)
        assert len(settled[keys.rejects.encode()][0]) == 1
        while proxy.held:
            assert b"deltas" in await proxy.release()
        assert await everything(client, keys) == settled
        await publisher.publish([broadcast(2)], [reject(1)])
        assert publisher.position == Position(EPOCH, 4)
        assert [fields for _, fields in await stream(client, keys.rejects)] == [reject(0), reject(1)]

    async def test_a_command_that_arrives_while_its_resend_is_on_its_way(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        publisher = await lead(through, keys)
        proxy.faults += [Cut.LATE, Cut.LATE]
        publishing = asyncio.create_task(publisher.publish([broadcast(1)], [reject(0)]))
        await eventually(lambda: proxy.held, message="the first copy is held")
        await proxy.release()
        await publishing
        assert publisher.position == Position(EPOCH, 2) == await last_position(client, keys.deltas)
        while proxy.held:
            await proxy.release()
        assert len(await stream(client, keys.rejects)) == 1

    async def test_many_publishes_over_a_bad_line(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        rng = Random(11)
        publisher = await lead(through, keys)
        for number in range(1, 60):
            proxy.faults += rng.choices(list(Cut), k=rng.choice([0, 0, 1, 2]))
            await publisher.publish([broadcast(number)], [reject(number)] * (number % 2))
            assert not proxy.faults
            if proxy.held and rng.random() < 0.5:
                await proxy.release()
        written = await stream(client, keys.deltas)
        assert [position for position, _ in written] == [Position(EPOCH, n) for n in range(61)]
        assert [decode_info(fields[0][1]).applied for _, fields in written] == [0, *range(60)]
        rejected = [int(fields[2][1]) for _, fields in await stream(client, keys.rejects)]
        assert rejected == list(range(1, 60, 2))

    async def test_a_leader_that_was_replaced_meanwhile_is_fenced(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        publisher = await lead(through, keys)
        await newer_seal(client, keys)
        before = await everything(client, keys)
        proxy.faults.append(Cut.BEFORE)
        with pytest.raises(Fenced):
            await publisher.publish([broadcast(1)], [reject(0)])
        assert await everything(client, keys) == before

    async def test_what_was_written_before_being_replaced_counts_as_written(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        publisher = await lead(through, keys)
        proxy.faults += [Cut.LATE] + [Cut.BEFORE] * 1000
        publishing = asyncio.create_task(publisher.publish([broadcast(1)], [reject(0)]))
        await eventually(lambda: proxy.held)
        await proxy.release()
        await newer_seal(client, keys)
        proxy.faults.clear()
        await publishing
        with pytest.raises(Fenced):
            await publisher.publish([broadcast(2)], [reject(1)])
        assert len(await stream(client, keys.rejects)) == 1

    async def test_a_late_copy_of_kept_state_replaces_nothing_newer(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        publisher = await lead(through, keys)
        proxy.faults += [Cut.LATE, Cut.LATE]
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                await publisher.store(
                    state(publisher.position, keys, 1)[:1] * 2 + state(publisher.position, keys, 1)[1:]
                )
        await publisher.publish([broadcast(1)])
        await publisher.store(state(publisher.position, keys, 2))
        before = await everything(client, keys)
        assert b"-ERR" not in await proxy.release()
        await publisher.trim(None, ZERO)
        await proxy.release()
        assert await everything(client, keys) == before

    async def test_an_unknown_seal_begins_again_and_its_late_copy_is_refused(
        self, client: Redis, through: Redis, proxy: FaultProxy, keys: PartitionKeys
    ) -> None:
        await lead(through, keys)
        tail = await last_position(client, keys.deltas)
        publisher = Publisher(through, (0, keys), tail, rejects_max=9)
        proxy.faults.append(Cut.LATE)
        with pytest.raises(RedisUnavailable):
            await publisher.seal(EPOCH + 1, Broadcast(INFO, ()))
        await publisher.seal(EPOCH + 2, Broadcast(INFO, ()))
        before = await everything(client, keys)
        await proxy.release()
        assert await everything(client, keys) == before
        assert await last_position(client, keys.deltas) == Position(EPOCH + 2, 0)

    async def test_another_server_behind_the_address_ends_the_leadership(
        self,
        client: Redis,
        through: Redis,
        proxy: FaultProxy,
        keys: PartitionKeys,
        fresh_server: EmbeddedServer,
    ) -> None:
        publisher = await lead(through, keys)
        other = connect(fresh_server.url)
        try:
            for position, fields in await stream(client, keys.deltas):
                await execute(
                    other, "XADD", keys.deltas, str(position), *(part for pair in fields for part in pair)
                )
            before = await everything(other, keys)
            proxy.faults.append(Cut.BEFORE)
            proxy.target = fresh_server.url
            with pytest.raises(Fenced, match="expected the last position server"):
                await publisher.publish([broadcast(1)], [reject(0)])
            assert await everything(other, keys) == before
        finally:
            await other.aclose()

    @pytest.mark.parametrize(
        ("refuse", "allow"),
        [
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
            (
                ("CONFIG", "SET", "min-replicas-to-write", "1"),
                ("CONFIG", "SET", "min-replicas-to-write", "0"),
            ),
        ],
        ids=["memory full", "a replica", "too few replicas"],
    )
    async def test_a_server_that_refuses_to_write_for_now_is_waited_for(
        self,
        fresh_server: EmbeddedServer,
        keys: PartitionKeys,
        refuse: tuple[str, ...],
        allow: tuple[str, ...],
    ) -> None:
        client = connect(fresh_server.url)
        try:
            publisher = await lead(client, keys)
            await execute(client, *refuse)
            with pytest.raises(RedisUnavailable):
                await publisher.store(state(publisher.position, keys))
            publishing = asyncio.create_task(publisher.publish([broadcast(1)], [reject(0)]))
            await eventually(lambda: publisher.resends > 2)
            await execute(client, *allow)
            await publishing
            assert len(await stream(client, keys.deltas)) == 3
            assert len(await stream(client, keys.rejects)) == 1
        finally:
            await client.aclose()


@pytest.mark.parametrize("reply", ["UNBLOCKED", "MASTERDOWN", "NOREPLICAS", "READONLY"])
async def test_a_refusal_in_the_handshake_does_not_begin_it_anew(redis_url: str, reply: str) -> None:
    seen: list[list[bytes]] = []

    def refuse(words: list[bytes]) -> str | None:
        seen.append(words)
        return f"{reply} for a while" if words[:2] == [b"INFO", b"server"] else None

    async with FaultProxy(redis_url, refuse=refuse) as proxy:
        client = connect(proxy.url, on_connect=ServerIdentity(0, lambda: "name").check)
        assert await execute(client, "GET", "nothing") is None
        assert sum(words[:2] == [b"INFO", b"server"] for words in seen) == 1
        await client.aclose()
