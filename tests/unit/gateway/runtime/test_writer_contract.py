"""The behaviour of a `Writer`: the same for the tests' fake and the real one on two event loops."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

import pytest
import uvloop

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.writer import Writer
from depthcast.gateway.runtime.certificates import make_context
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.tls_transport import Stage, TlsTransport
from depthcast.gateway.runtime.writer import TransportWriter
from depthcast.shared.settings import GatewaySettings
from tests.certificates import Authority
from tests.unit.gateway.fake_writer import FakeWriter
from tests.waiting import TIMEOUT_S, eventually

MARK_BYTES = 50_000
CHUNK = b"0123456789abcdef" * 512
ENOUGH = 100
"""More chunks than any socket pair takes without being read."""


class Side(Protocol):
    """A writer and the client behind it. `calls`: "full" and "drained", as the session is told."""

    writer: Writer
    calls: list[str]

    async def read(self, count: int) -> bytes: ...

    def stop_reading(self) -> None: ...

    async def close(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.fake = FakeWriter(MARK_BYTES, reads=True)
        self.writer: Writer = self.fake
        self.calls: list[str] = []
        self.fake.on_full = lambda: self.calls.append("full")
        self.fake.on_drained = lambda: self.calls.append("drained")

    async def read(self, count: int) -> bytes:
        if len(self.fake.taken) < count:
            self.fake.drain(count - len(self.fake.taken))
        taken = bytes(self.fake.taken[:count])
        del self.fake.taken[:count]
        return taken

    def stop_reading(self) -> None:
        self.fake.reads = False

    async def close(self) -> None:
        pass


class Peer(asyncio.Protocol):
    """The transport's protocol: maintains `clear`, as a connection does."""

    def __init__(self, calls: list[str], gone: asyncio.Event) -> None:
        self.calls = calls
        self.gone = gone
        self.writer: TransportWriter | None = None

    def pause_writing(self) -> None:
        assert self.writer is not None
        self.writer.clear = False
        self.calls.append("full")

    def resume_writing(self) -> None:
        assert self.writer is not None
        self.writer.clear = True
        self.calls.append("drained")

    def connection_lost(self, exc: BaseException | None) -> None:
        assert self.writer is not None
        self.writer.close()
        self.gone.set()


class RealSide:
    """A transport on one end of a socket pair, with the smallest kernel buffers there are."""

    async def begin(self) -> None:
        ours = self._pair()
        self.transport, peer = await self.loop.create_connection(
            lambda: Peer(self.calls, self.gone), sock=ours
        )
        self.writer: Writer = TransportWriter(self.transport, MARK_BYTES)
        peer.writer = self.writer

    def _pair(self) -> socket.socket:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.peer.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.calls: list[str] = []
        self.gone = asyncio.Event()
        return ours

    async def read(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += await self.loop.sock_recv(self.peer, count - len(taken))
        await asyncio.sleep(0)
        return taken

    def stop_reading(self) -> None:
        """Nothing to do: it reads only on request."""

    async def close(self) -> None:
        self.transport.abort()
        await self.gone.wait()
        self.peer.close()


@pytest.fixture(scope="module", autouse=True)
def _authority(tmp_path_factory: pytest.TempPathFactory) -> None:
    TlsSide.authority = Authority(tmp_path_factory.mktemp("certificates"))


class FirstPeer(Peer):
    """The first protocol above TLS, which says when the handshake is over by what came."""

    trusted = False

    def about(self) -> dict[str, str]:
        return {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass


class TlsSide(RealSide):
    """The same with TLS in between; the client decrypts what it reads."""

    authority: ClassVar[Authority]

    async def begin(self) -> None:
        ours = self._pair()
        files = self.authority.issue()
        settings = GatewaySettings(tls_cert=files.cert, tls_key=files.key)
        context, intake = make_context(settings), Intake(self.loop, settings)
        peer = FirstPeer(self.calls, self.gone)
        _, self.tls = await self.loop.create_connection(
            lambda: TlsTransport(peer, lambda: context, intake, GatewayCounters()), sock=ours
        )
        self.transport = self.tls
        self.writer = peer.writer = TransportWriter(self.tls, MARK_BYTES)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.encrypted = self.authority.trusting().wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )
        await self._shake()

    async def _shake(self) -> None:
        while True:
            try:
                self.encrypted.do_handshake()
            except ssl.SSLWantReadError:
                await self.loop.sock_sendall(self.peer, self.outgoing.read())
                self.incoming.write(await self.loop.sock_recv(self.peer, 65_536))
            else:
                await self.loop.sock_sendall(self.peer, self.outgoing.read())
                break
        await eventually(lambda: self.tls._stage is Stage.OPEN)
        await eventually(lambda: self.writer.clear)
        self.calls.clear()

    async def read(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            try:
                taken += self.encrypted.read(count - len(taken))
            except ssl.SSLWantReadError:
                self.incoming.write(await self.loop.sock_recv(self.peer, 512))
        await asyncio.sleep(0)
        return taken


async def fake() -> Side:
    return FakeSide()


async def real() -> Side:
    side = RealSide()
    await side.begin()
    return side


async def encrypted() -> Side:
    side = TlsSide()
    await side.begin()
    return side


Make = Callable[[], Awaitable[Side]]
Loop = Callable[[], asyncio.AbstractEventLoop]

every_writer = pytest.mark.parametrize(
    ("make", "loop"),
    [
        pytest.param(fake, asyncio.new_event_loop, id="fake"),
        pytest.param(real, asyncio.new_event_loop, id="asyncio"),
        pytest.param(real, uvloop.new_event_loop, id="uvloop"),
        pytest.param(encrypted, asyncio.new_event_loop, id="TLS on asyncio"),
        pytest.param(encrypted, uvloop.new_event_loop, id="TLS on uvloop"),
    ],
)


def run(make: Make, loop: Loop, story: Callable[[Side], Awaitable[Any]]) -> None:
    async def main() -> None:
        side = await make()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await story(side)
        finally:
            await side.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def stuff(side: Side) -> int:
    """Write until more than the mark waits; returns how many bytes that took."""
    side.stop_reading()
    for count in range(1, ENOUGH):
        side.writer.write(CHUNK)
        await asyncio.sleep(0)
        if side.writer.paused:
            return count * len(CHUNK)
    raise AssertionError("nothing waits, whatever is written")


@every_writer
def test_what_is_written_arrives_in_order_and_nothing_waits(make: Make, loop: Loop) -> None:
    async def story(side: Side) -> None:
        assert side.writer.clear
        assert not side.writer.paused
        side.writer.write(b"one")
        await eventually(lambda: side.writer.clear)
        assert side.writer.direct()(b"two") == 3
        side.writer.write(b"three")
        assert await side.read(11) == b"onetwothree"
        await eventually(lambda: side.writer.clear)
        assert side.writer.buffered() == 0

    run(make, loop, story)


@every_writer
def test_it_is_full_once_and_paused_beyond_the_mark(make: Make, loop: Loop) -> None:
    async def story(side: Side) -> None:
        side.stop_reading()
        while side.writer.clear:
            side.writer.write(CHUNK)
            await asyncio.sleep(0)
        assert side.calls == ["full"]
        assert 0 < side.writer.buffered() <= MARK_BYTES
        assert not side.writer.paused, "something waits, but less than the mark"
        await stuff(side)
        assert side.writer.buffered() > MARK_BYTES
        assert side.calls == ["full"]

    run(make, loop, story)


@every_writer
def test_it_is_drained_when_nothing_waits_any_more_and_not_before(make: Make, loop: Loop) -> None:
    async def story(side: Side) -> None:
        written = await stuff(side)
        read = 0
        while side.writer.buffered() > MARK_BYTES // 5:
            read += len(await side.read(512))
        assert side.writer.buffered() > 0
        assert not side.writer.paused
        assert side.calls == ["full"], "below the mark it may be written to, but it has not drained"
        assert not side.writer.clear
        read += len(await side.read(written - read))
        await eventually(lambda: side.writer.clear)
        assert side.calls == ["full", "drained"]
        assert side.writer.buffered() == 0
        await stuff(side)
        assert side.calls == ["full", "drained", "full"]

    run(make, loop, story)


@every_writer
def test_the_direct_way_takes_what_fits_and_writing_completes_it(make: Make, loop: Loop) -> None:
    async def story(side: Side) -> None:
        send, sent, took = side.writer.direct(), 0, 0
        side.stop_reading()
        for _ in range(ENOUGH):
            try:
                took = send(CHUNK)
            except OSError:
                took = 0
            sent += took
            if took < len(CHUNK):
                side.writer.write(CHUNK[took:])
                break
        total = sent + len(CHUNK) - took
        assert took < len(CHUNK), "there was room without end"
        await eventually(lambda: side.calls == ["full"])
        assert await side.read(total) == CHUNK * (total // len(CHUNK))
        await eventually(lambda: side.calls == ["full", "drained"])

    run(make, loop, story)


every_loop = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@every_loop
def test_once_shut_nothing_is_written_and_nobody_waits_for_what_is_left(loop: Loop) -> None:
    async def story(side: Side) -> None:
        assert isinstance(side.writer, TransportWriter)
        await stuff(side)
        side.writer.shut = True
        assert side.writer.buffered() == 0
        assert not side.writer.paused
        assert isinstance(side, RealSide)
        waiting = side.transport.get_write_buffer_size()
        side.writer.write(b"late")
        assert side.transport.get_write_buffer_size() == waiting

    run(real, loop, story)


@every_loop
def test_after_the_end_nothing_is_written_and_no_descriptor_is_left(loop: Loop) -> None:
    async def story(side: Side) -> None:
        assert isinstance(side, RealSide)
        send = side.writer.direct()
        side.transport.abort()
        side.writer.write(b"on its way out")
        await side.gone.wait()
        assert side.writer.buffered() == 0
        side.writer.write(b"late")
        with pytest.raises(OSError, match="Bad file descriptor"):
            send(b"late")
        assert await side.loop.sock_recv(side.peer, 100) == b""

    run(real, loop, story)
