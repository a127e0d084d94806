"""A server that speaks as a fake venue does, over WebSocket and HTTP, and commits its faults.

    async with FakeVenue(model, Random(1)) as fake:
        ...                       # fake.ws_url, fake.rest_url
        fake.commit(Fault.GAP)

A model (`tests.venues.model`) says what the venue says; here are sockets and the clock.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import WSMsgType, web

from depthcast.runtime.ports import free_port
from tests.venues.faults import Fault
from tests.venues.market import ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue

CLOSES: Final = {Fault.CLOSE_1001: 1001, Fault.CLOSE_1012: 1012, Fault.CLOSE_1013: 1013}
REST_FAULTS: Final = frozenset({Fault.REST_429, Fault.REST_500, Fault.REST_LATE, Fault.REST_CUT})
BOOK_FAULTS: Final = frozenset({Fault.GAP, Fault.DUPLICATE, Fault.REORDER, Fault.CHECKSUM})
RAW_FAULTS: Final = frozenset({Fault.CUT_IN_FRAME, Fault.PARTIAL, Fault.FRAGMENTS, Fault.GARBAGE})


class FakeVenue:
    """A fake venue on a port of its own.

    - `changes_per_step`: changes of every book in each `step_s` seconds.
    - `outage_s`: how long faults last that do not end by themselves; `quiet_s`: how long books stay as they
      are; `delisted_s`: how long a book is not listed.
    - `committed`: faults so far; `connections`, `requests`: those of the client; `received_at`: when its
      messages came on each connection, by `time.monotonic`, for checks of its pace.
    - `moving` False: the books stay as they are from now on.
    """

    def __init__(
        self,
        model: ModelVenue,
        random: Random,
        *,
        step_s: float = 0.02,
        changes_per_step: int = 1,
        outage_s: float = 0.6,
        quiet_s: float = 2.0,
        delisted_s: float = 3.0,
    ) -> None:
        self.model = model
        self.random = random
        self.step_s = step_s
        self.changes_per_step = changes_per_step
        self.outage_s = outage_s
        self.quiet_s = quiet_s
        self.delisted_s = delisted_s
        self.coarsest: dict[str, tuple[int, int]] = {}
        self.committed: Counter[Fault] = Counter()
        self.connections = 0
        self.requests = 0
        self.received_at: list[list[float]] = []
        self.moving = True
        self._open: set[_Connection] = set()
        self._due: set[Fault] = set()
        self._until: dict[Fault, float] = {}
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = free_port()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ws_url(self) -> str:
        """The address of the WebSocket; every path that is asked to upgrade is one."""
        return f"ws://127.0.0.1:{self._port}/ws"

    @property
    def rest_url(self) -> str:
        """The address that paths of requests are added to."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        self._begin(self._step())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._abort_all()
        assert self._runner is not None
        await self._runner.cleanup()

    def commit(self, fault: Fault) -> None:
        """Commit a fault: at once, or with the next message or request that it concerns."""
        self.committed[fault] += 1
        if fault in BOOK_FAULTS | RAW_FAULTS:
            self._due.add(fault)
        elif fault in REST_FAULTS:
            self._lasts(fault, self.outage_s)
            self._abort_all()
        elif fault is Fault.CUT:
            self._abort_all()
        elif fault in CLOSES:
            for connection in self._open:
                self._begin(connection.close(CLOSES[fault]))
        elif fault is Fault.SILENCE:
            for connection in self._open:
                connection.frozen = True
        elif fault is Fault.QUIET:
            self._lasts(fault, self.quiet_s)
        elif fault is Fault.HANDSHAKE_503:
            self._lasts(fault, self.outage_s)
            self._abort_all()
        elif fault is Fault.REFUSE:
            self._begin(self._refuse())
        elif fault in (Fault.UNSUBSCRIBED, Fault.RESET, Fault.RESIZE, Fault.DELIST):
            self._change(self.random.choice(sorted(self.model.market.books)), fault)

    def heal(self) -> None:
        """End every fault that still lasts or waits."""
        self._due.clear()
        self._until.clear()
        self.model.market.delisted.clear()

    def _change(self, symbol: str, fault: Fault) -> None:
        """Commit a fault of one symbol."""
        if fault is Fault.UNSUBSCRIBED:
            for connection in self._open:
                connection.model.end(symbol)
        elif fault is Fault.RESET:
            self.model.reset(symbol, _now())
        elif fault is Fault.RESIZE:
            self._resize(self.model.market[symbol])
        else:
            self._begin(self._delist(symbol))

    def _resize(self, book: ModelBook) -> None:
        coarsest = self.coarsest.setdefault(book.symbol, (book.tick, book.lot))
        book.resize(*(coarsest if (book.tick, book.lot) == (1, 1) else (1, 1)))

    async def _delist(self, symbol: str) -> None:
        self.model.market.delisted.add(symbol)
        await asyncio.sleep(self.delisted_s)
        self.model.market.delisted.discard(symbol)

    def _lasts(self, fault: Fault, seconds: float) -> None:
        self._until[fault] = time.monotonic() + seconds

    def _is_now(self, fault: Fault) -> bool:
        return time.monotonic() < self._until.get(fault, 0.0)

    def take_due(self, faults: frozenset[Fault]) -> Fault | None:
        """Return one of `faults` that waits for a message, and take it as committed."""
        found = sorted(self._due & faults)
        if not found:
            return None
        self._due.discard(found[0])
        return found[0]

    def again(self, fault: Fault) -> None:
        """Let a fault wait for another message."""
        self._due.add(fault)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()

    async def _listen(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def _refuse(self) -> None:
        assert self._site is not None
        await self._site.stop()
        self._abort_all()
        try:
            await asyncio.sleep(self.outage_s)
        finally:
            await self._listen()

    async def _step(self) -> None:
        while True:
            await asyncio.sleep(self.step_s)
            if self.moving and not self._is_now(Fault.QUIET):
                self.model.market.step(self.changes_per_step)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        return await self._rest(request)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._is_now(Fault.HANDSHAKE_503):
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        self.connections += 1
        times: list[float] = []
        self.received_at.append(times)
        connection = _Connection(self, request, socket, self.model.connect(request.path_qs, _now()))
        self._open.add(connection)
        try:
            async with _background(connection.talk()):
                async for message in socket:
                    times.append(time.monotonic())
                    await connection.take(message.type, message.data)
        except OSError:
            pass  # the client or a fault ended it
        finally:
            self._open.discard(connection)
        return socket

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self._is_now(Fault.REST_429):
            return web.Response(status=429, headers={"Retry-After": "1"})
        if self._is_now(Fault.REST_500):
            return web.Response(status=self.random.choice((500, 502, 503)))
        answer = self.model.rest(request.path, dict(request.query), _now())
        if self._is_now(Fault.REST_LATE):
            await asyncio.sleep(self.outage_s)
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        if self._is_now(Fault.REST_CUT) and len(answer.body) > 1:
            await response.prepare(request)
            assert request.transport is not None
            request.transport.write(answer.body[: len(answer.body) // 2])
            request.transport.abort()
        return response


class _Connection:
    """One client's connection. `frozen`: nothing is sent any more."""

    def __init__(
        self, fake: FakeVenue, request: web.Request, socket: web.WebSocketResponse, model: ModelConnection
    ) -> None:
        self.fake = fake
        self.socket = socket
        self.model = model
        self.frozen = False
        self._transport = request.transport
        self._held: Message | None = None
        self._sending = asyncio.Lock()

    async def talk(self) -> None:
        """Send what the venue sends by itself, until the connection ends."""
        with contextlib.suppress(OSError):
            while True:
                await self._send(self.model.due(_now()))
                await asyncio.sleep(self.fake.step_s)

    async def take(self, kind: WSMsgType, data: str | bytes) -> None:
        """Take one message of the client."""
        if self.frozen:
            return
        if kind is WSMsgType.PING:
            await self.socket.pong(data.encode() if isinstance(data, str) else data)
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY):
            await self._send(self.model.receive(data, _now()))

    async def close(self, code: int) -> None:
        """Close as the venue does for maintenance."""
        with contextlib.suppress(OSError):
            await self.socket.close(code=code, message=b"maintenance")

    def abort(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def _send(self, messages: list[Message]) -> None:
        async with self._sending:
            for message in messages:
                for faulty in self._faulty(message):
                    await self._write(faulty)

    def _faulty(self, message: Message) -> list[Message]:
        """Return what is sent in place of `message`."""
        if message.kind is not Kind.BOOK:
            return [message]
        if self._held is not None:
            if self._held.symbol != message.symbol:
                return [message]
            held, self._held = self._held, None
            return [message, held]
        fault = self.fake.take_due(BOOK_FAULTS)
        if fault is Fault.DUPLICATE:
            return [message, message]
        if fault is Fault.CHECKSUM:
            return [self._spoiled(message)]
        if fault is Fault.REORDER:
            self._held = message
        return [message] if fault is None else []

    def _spoiled(self, message: Message) -> Message:
        spoiled = self.fake.model.spoil(message, self.fake.random)
        if spoiled is None:
            self.fake.again(Fault.CHECKSUM)
            return message
        return spoiled

    async def _write(self, message: Message) -> None:
        if self.frozen or self.socket.closed:
            return
        fault = self.fake.take_due(RAW_FAULTS)
        if fault is None:
            await self._whole(message.raw)
        elif fault is Fault.GARBAGE:
            await self._whole("{")
            await self._whole(message.raw)
        else:
            await self._raw(fault, message.raw)

    async def _whole(self, raw: str | bytes) -> None:
        if isinstance(raw, bytes):
            await self.socket.send_bytes(raw)
        else:
            await self.socket.send_str(raw)

    async def _raw(self, fault: Fault, raw: str | bytes) -> None:
        assert self._transport is not None
        payload = raw.encode() if isinstance(raw, str) else raw
        opcode = WSMsgType.TEXT if isinstance(raw, str) else WSMsgType.BINARY
        half = len(payload) // 2
        if fault is Fault.FRAGMENTS:
            pieces = [
                frame(opcode, payload[:half], final=False),
                frame(WSMsgType.CONTINUATION, payload[half:]),
            ]
        else:
            whole = frame(opcode, payload)
            pieces = [whole[:1], whole[1 : half + 1], whole[half + 1 :]]
        if fault is Fault.CUT_IN_FRAME:
            self._transport.write(pieces[0] + pieces[1])
            await asyncio.sleep(0)
            self._transport.close()
            return
        for piece in pieces:
            self._transport.write(piece)
            await asyncio.sleep(self.fake.step_s)


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return a WebSocket frame as a server sends it (RFC 6455, section 5.2)."""
    first = opcode | (0x80 if final else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _now() -> int:
    return time.time_ns() // 1000
