"""Writes publications to Redis, each exactly once, and resolves writes whose outcome is unknown.

After a time-out or a cut connection the script may have run, or may run later. The publisher then sends the
same bytes again; if they are refused, it compares the stream's entries under those IDs. It never sends
anything else under the same ID (`docs/protocol.md`, section 2.2).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

import hiredis
import msgpack
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from depthcast.broadcaster.publication import Attachment, Broadcast, Fields, Publication, place
from depthcast.broadcaster.runtime import scripts
from depthcast.shared.codec import WRITTEN_FIELD
from depthcast.shared.errors import Fenced, RedisUnavailable
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.direct import DirectClient
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import RawEntry, execute, map_errors, parse_entries

logger = logging.getLogger(__name__)

REJECTS_PER_ARGUMENT: Final = 1_000

DIRECT_BYTES_MAX: Final = 256 << 10
"""A larger publish goes by the library, which times out for sending and for the reply separately."""

RESEND_S: Final = 0.1
RESEND_S_MAX: Final = 2.0


class Receipt(NamedTuple):
    """What the server said when it wrote.

    - `sent`, `received`: when the command was sent and answered (s, by the event loop's clock).
    - `written_us`: the server's clock at the write, µs since 1970.
    - `input_end`, `input_added`: last ID of `events`, and how many entries were ever added to it.
    """

    sent: float
    received: float
    written_us: int
    input_end: Position
    input_added: int


class Publisher:
    """Writes one partition's streams during one leadership. Only one task at a time may use it.

    `client` must check that it always reaches the same server
    (`depthcast.broadcaster.runtime.server_identity`). `position`: the last entry this leadership wrote;
    before the seal, the end of the stream, which the seal names as `prev`. `receipt`: of the last write whose
    reply arrived. `outage`: why a publish waits.
    """

    def __init__(
        self,
        client: Redis,
        place_of: tuple[int, PartitionKeys],
        position: Position,
        *,
        rejects_max: int,
    ) -> None:
        self.client = client
        self.partition, self.keys = place_of
        self.position = position
        self.rejects_max = rejects_max
        self.resends = 0
        self.receipt: Receipt | None = None
        self.outage = Outage(
            logger, "outcome of a publish unknown, sending it again", partition=self.partition
        )
        self._publish = client.register_script(scripts.PUBLISH)
        self._store = client.register_script(scripts.STORE)
        self._stub = client.register_script(scripts.STUB)
        self._trim = client.register_script(scripts.TRIM)
        self._direct = DirectClient(client, self.keys.deltas)
        self._loaded = False

    async def seal(self, epoch: int, broadcast: Broadcast) -> None:
        """Write `<epoch>-0`, which fences every earlier epoch.

        Also raises if the outcome is unknown: begin again with a new epoch then.
        """
        publication = Publication(
            self.position,
            broadcast.info.src,
            place(self.position, Position(epoch, 0), [broadcast]),
            [],
            [],
        )
        refusal = await self._send(publication)
        if refusal is not None:
            raise Fenced(self.partition, publication.previous, refusal)
        self.position = publication.position

    async def move(self, epoch: int, broadcast: Broadcast) -> None:
        """Write `<epoch>-0` with the moves of some symbols; `epoch` is one of this leadership's own.

        Raises `ValueError` if one entry has no room for them: a second one would say that all were moved.
        Raises `Fenced` when this leadership is over; waits while Redis is away.
        """
        (entry,) = place(self.position, Position(epoch, 0), [broadcast])
        publication = Publication(self.position, broadcast.info.src, [entry], [], [])
        refusal = await self._send_until_known(publication)
        if refusal is not None:
            raise Fenced(self.partition, publication.previous, refusal)
        self.position = publication.position

    async def publish(
        self,
        broadcasts: Sequence[Broadcast],
        rejects: Sequence[Fields] = (),
        attach: Callable[[Position], list[Attachment]] | None = None,
    ) -> None:
        """Append `broadcasts` with the rejects of their input, all or nothing.

        `attach` gets the position of the last entry and returns the recovery state to write with it.
        Raises `Fenced` when this leadership is over; waits while Redis is away.
        """
        placed = place(self.position, self.position.next(), broadcasts)
        publication = Publication(
            self.position,
            broadcasts[-1].info.src,
            placed,
            list(rejects),
            attach(placed[-1][0]) if attach else [],
        )
        refusal = await self._send_until_known(publication)
        if refusal is not None:
            raise Fenced(self.partition, publication.previous, refusal)
        self.position = publication.position

    async def store(self, attachments: Sequence[Attachment]) -> None:
        """Write snapshots and checkpoints behind the same fence; raises `Fenced` or `RedisUnavailable`."""
        keys = [self.keys.deltas, *(item.key for item in attachments)]
        values: list[Any] = [str(self.position)]
        for item in attachments:
            values += ["" if item.at is None else str(item.at), item.value]
        async with self._mapped_errors():
            self._check(await self._store(keys, values))

    async def trim(self, deltas_from: Position | None, events_from: Position) -> None:
        """Trim both streams to begin at these positions, behind the same fence."""
        firsts = ["" if deltas_from is None else str(deltas_from), str(events_from)]
        async with self._mapped_errors():
            self._check(await self._trim([self.keys.deltas, self.keys.events], [str(self.position), *firsts]))

    async def release(self) -> None:
        """Return the connection that is kept for publishing; whoever closes the client need not do this."""
        await self._direct.release()

    async def read_stub(self, after: Position) -> list[RawEntry]:
        """The first input entry after a position, however large: only the beginning of it.

        At most 1,000 of its values are as sent, each cut to 1,024 bytes; the others are empty.
        """
        async with map_errors():
            reply = await self._stub([self.keys.events], [str(after)])
        if not reply:
            return []
        position, fields, flat = reply
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        return [(Position.parse(position), pairs + [(pairs[-1][0], b"")] * (fields - len(pairs)))]

    async def _send_until_known(self, publication: Publication) -> str | None:
        """Send until the outcome is known; returns None if written, else the stream that refused."""
        unknown = False
        pause_s = RESEND_S
        while True:
            try:
                refusal = await self._send(publication)
                if refusal is not None and unknown and await self._is_written(publication):
                    refusal = None
                self.outage.over()
                return refusal
            except RedisUnavailable as error:
                unknown = True
                self.resends += 1
                self.outage.note(error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESEND_S_MAX)

    async def _send(self, publication: Publication) -> str | None:
        keys = [
            self.keys.deltas,
            self.keys.events,
            self.keys.rejects,
            *(a.key for a in publication.attachments),
        ]
        loop = asyncio.get_running_loop()
        arguments = _arguments(publication, self.rejects_max)
        sent = loop.time()
        try:
            reply = await self._run(keys, arguments)
        except (RedisError, OSError):
            async with map_errors():
                raise
        if reply[0] != 1:
            return f"{reply[1].decode()} at {reply[2].decode()}"
        _, written, end, added = reply
        self.receipt = Receipt(sent, loop.time(), int(written), Position.parse(end), added)
        return None

    async def _run(self, keys: list[str], arguments: list[Any]) -> Any:
        """Run the script PUBLISH; raises the library's errors."""
        if self._loaded and self._direct.possible:
            command = hiredis.pack_command(("EVALSHA", self._publish.sha, len(keys), *keys, *arguments))
            if len(command) <= DIRECT_BYTES_MAX:
                try:
                    return await self._direct.send(command)
                except NoScriptError:
                    self._loaded = False  # nothing ran; the library loads it
        reply = await self._publish(keys, arguments)
        self._loaded = True
        return reply

    async def _is_written(self, publication: Publication) -> bool:
        """Whether the stream has exactly our entries under their IDs; the server added when it wrote them."""
        first, last = publication.entries[0][0], publication.entries[-1][0]
        found = parse_entries(await execute(self.client, "XRANGE", self.keys.deltas, str(first), str(last)))
        ours = [(position, [f for f in fields if f[0] != WRITTEN_FIELD]) for position, fields in found]
        return ours == publication.entries

    @asynccontextmanager
    async def _mapped_errors(self) -> AsyncIterator[None]:
        """As `map_errors`; the next publish begins with a new connection, too, which checks the server."""
        try:
            async with map_errors():
                yield
        except RedisUnavailable:
            self._direct.renew()
            raise

    def _check(self, reply: Sequence[Any]) -> None:
        if reply[0] != 1:
            raise Fenced(self.partition, f"{self.position} or later of its epoch", reply[2].decode())


def _arguments(publication: Publication, rejects_max: int) -> list[Any]:
    rejects = publication.rejects[-rejects_max:]  # older ones would be trimmed at once
    batches = range(0, len(rejects), REJECTS_PER_ARGUMENT)
    arguments: list[Any] = [
        str(publication.previous),
        publication.src,
        rejects_max,
        len(publication.entries),
        len(batches),
    ]
    for position, fields in publication.entries:
        arguments += [str(position), _packed(list(chain.from_iterable(fields)))]
    for start in batches:
        batch = rejects[start : start + REJECTS_PER_ARGUMENT]
        arguments.append(_packed([list(chain.from_iterable(fields)) for fields in batch]))
    for item in publication.attachments:
        arguments += ["" if item.at is None else str(item.at), item.value]
    return arguments


def _packed(values: list[Any]) -> bytes:
    """Pack for the server's Lua, which reads only the old msgpack format with one type for text and bytes."""
    packed: bytes = msgpack.packb(values, use_bin_type=False)
    return packed
