"""TLS above a TCP transport that only notes what happens to it: order, ends, limits."""

import asyncio
import ssl
from typing import Any

import pytest

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.runtime.certificates import make_context
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.tls_transport import BARREN_BYTES_MAX, PENDING_BYTES_MAX, TlsTransport
from depthcast.shared.settings import GatewaySettings
from tests.certificates import Authority
from tests.waiting import eventually

HELLO_LENGTH = 130_000
"""Of a ClientHello that OpenSSL would wait for."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


class Tcp(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.did: list[str] = []

    def write(self, data: Any) -> None:
        self.sent += data

    def write_eof(self) -> None:
        self.did.append("eof")

    def close(self) -> None:
        self.did.append("close")

    def abort(self) -> None:
        self.did.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.did or "abort" in self.did

    def pause_reading(self) -> None:
        self.did.append("pause")

    def resume_reading(self) -> None:
        self.did.append("resume")


class Above(asyncio.Protocol):
    """The protocol that TLS serves. `keeps`: it goes on writing after the client has ended."""

    def __init__(self) -> None:
        self.trusted = False
        self.keeps = False
        self.pauses = False
        self.received = bytearray()
        self.ended = 0
        self.transport: TlsTransport | None = None

    def about(self) -> dict[str, str]:
        return {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.pauses and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended += 1
        return self.keeps


class Pair:
    """A gateway's side and a client that exchange bytes in memory."""

    def __init__(self, authority: Authority) -> None:
        files = authority.issue()
        settings = GatewaySettings(tls_cert=files.cert, tls_key=files.key)
        context = make_context(settings)
        self.tcp, self.above, self.counters = Tcp(), Above(), GatewayCounters()
        self.intake = Intake(asyncio.get_running_loop(), settings)
        self.side = TlsTransport(self.above, lambda: context, self.intake, self.counters)
        self.side.connection_made(self.tcp)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = authority.trusting().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def settled(self) -> None:
        """Wait until nothing is left to be worked off."""
        await eventually(lambda: not self.intake.queue)

    async def exchange(self) -> None:
        self.side.data_received(self.outgoing.read())
        await self.settled()
        self.incoming.write(bytes(self.tcp.sent))
        self.tcp.sent.clear()

    async def shake(self) -> None:
        for _ in range(2):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                await self.exchange()
        await self.exchange()

    async def say(self, data: bytes) -> None:
        self.client.write(data)
        await self.exchange()

    def heard(self) -> bytes:
        """What the client can read; it ends with `END` after close_notify."""
        taken = b""
        try:
            while data := self.client.read(65_536):
                taken += data
        except ssl.SSLWantReadError:
            return taken
        except ssl.SSLZeroReturnError:
            pass
        return taken + b"END"


@pytest.fixture
async def pair(authority: Authority) -> Pair:
    made = Pair(authority)
    await made.shake()
    return made


async def test_bytes_go_both_ways_whatever_the_pieces(authority: Authority) -> None:
    pair = Pair(authority)
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    for byte in pair.outgoing.read():
        pair.side.data_received(bytes([byte]))
        await asyncio.sleep(0)
    await pair.exchange()
    await pair.shake()
    await pair.say(b"to the gateway" * 5000)
    assert bytes(pair.above.received) == b"to the gateway" * 5000
    pair.side.write(b"to the client")
    pair.side.writelines([b" and ", b"more" * 9000])
    await pair.exchange()
    assert pair.heard() == b"to the client and " + b"more" * 9000
    assert pair.intake.budget.total == 0


async def test_a_protocol_that_pauses_gets_the_rest_later_and_in_order(pair: Pair) -> None:
    pair.above.pauses = True
    data = bytes(range(256)) * 1600
    await pair.say(data)
    assert 0 < len(pair.above.received) < len(data)
    assert pair.tcp.did == ["pause"]
    assert pair.intake.budget.total > PENDING_BYTES_MAX
    pair.above.pauses = False
    pair.side.resume_reading()
    await pair.settled()
    assert bytes(pair.above.received) == data
    assert pair.tcp.did == ["pause", "resume"]
    assert pair.intake.budget.total == 0


async def test_closing_says_so(pair: Pair) -> None:
    pair.side.write(b"last words")
    pair.side.close()
    pair.side.write(b"late")
    assert pair.tcp.did == ["close"]
    pair.incoming.write(bytes(pair.tcp.sent))
    assert pair.heard() == b"last wordsEND"


async def test_after_write_eof_what_comes_is_thrown_away(pair: Pair) -> None:
    pair.side.write(b"an answer")
    pair.side.write_eof()
    assert pair.tcp.did == ["eof"]
    await pair.say(b"more requests")
    assert pair.heard() == b"an answerEND"
    assert pair.above.received == b""
    assert pair.side.eof_received() is False, "TCP may end"


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_client_that_ends_its_side_is_heard_to_the_end(pair: Pair, keeps: bool) -> None:
    pair.above.keeps = keeps
    pair.client.write(b"a request")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    await pair.exchange()
    assert (bytes(pair.above.received), pair.above.ended) == (b"a request", 1)
    assert pair.side.eof_received() is keeps
    await pair.settled()
    assert pair.above.ended == 1, "it is told once"
    assert pair.tcp.did == ([] if keeps else ["close"])
    pair.side.write(b"its answer")
    assert bool(pair.tcp.sent) is keeps


async def test_the_end_of_tcp_is_an_end_too(pair: Pair) -> None:
    pair.client.write(b"a request")
    pair.side.data_received(pair.outgoing.read())
    assert pair.side.eof_received(), "what came before is worked off first"
    await pair.settled()
    assert (bytes(pair.above.received), pair.above.ended) == (b"a request", 1)
    assert pair.tcp.did == ["close"]


async def test_a_broken_record_ends_it_with_an_alert(pair: Pair) -> None:
    pair.client.write(b"a request")
    broken = bytearray(pair.outgoing.read())
    broken[-1] ^= 1
    pair.side.data_received(bytes(broken))
    await pair.settled()
    assert pair.tcp.did == ["eof"]
    assert pair.counters.tls_failures == 1
    pair.incoming.write(bytes(pair.tcp.sent))
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        pair.heard()
    pair.side.connection_lost(None)


async def test_a_handshake_without_end_ends(authority: Authority) -> None:
    pair = Pair(authority)
    hello = b"\x01" + HELLO_LENGTH.to_bytes(3, "big") + b"\x03\x03" + bytes(HELLO_LENGTH)
    for start in range(0, BARREN_BYTES_MAX, 16_000):
        assert pair.tcp.did == []
        piece = hello[start : start + 16_000]
        pair.side.data_received(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece)
        await pair.settled()
    assert pair.tcp.did == ["abort"]
    assert pair.counters.tls_failures == 1
    assert pair.intake.budget.total == 0


async def test_who_holds_most_is_evicted(authority: Authority) -> None:
    pair = Pair(authority)
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    half = pair.outgoing.read()[:100]
    pair.side.data_received(half)
    await pair.settled()
    assert pair.intake.budget.total == len(half)
    pair.side.evict()
    assert pair.tcp.did == ["abort"]
    assert (pair.intake.budget.total, pair.counters.limit_input_buffer) == (0, 1)


async def test_an_error_above_ends_only_this_connection(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pair.above, "data_received", lambda data: 1 / 0)
    await pair.say(b"anything")
    assert pair.tcp.did == ["abort"]
    assert "connection ended by an unexpected error" in caplog.text
