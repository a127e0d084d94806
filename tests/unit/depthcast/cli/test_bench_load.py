"""The load of the benchmarks: which frames it counts, what it sends, and the packets of MQTT."""

import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.programs import Program
from benchmarks.fanout.servers import Server, as_binary
from benchmarks.peers import mosquitto

GREETING = b"\x10\x00hello\t\n"
TICK = b"tick"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
DELIVERY, OTHER = b"\x82\x03Mxy", b"\x82\x04PING"
EMPTY, PONG = b"\x82\x00", b"\x8a\x01M"
BOOK, HEARTBEAT = (
    b"\x81%c%b" % (len(text), text) for text in (b'{"seq":1,"ts":1}', b'{"type":"heartbeat","ts":1}')
)
STALL_S = 0.5
"""Longer than the load waits where frames may not come at all."""


class Peer:
    """Answers one client and one publisher; a tick brings two deliveries, and what does not count as one.

    `late`: what it brings instead when `goes_on` is set, or after `stall_s`; `opening`: what the client gets
    after its handshake, and as late.
    """

    stall_s = STALL_S
    late = opening = b""

    def __init__(self) -> None:
        self.clients, self.publishers = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.from_client = self.from_publisher = b""
        self.goes_on = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def server(self, counted: int | None) -> Server:
        made = Server(
            Program("peer", [], ""), self.clients.getsockname()[1], self.publishers.getsockname()[1]
        )
        made.counted, made.greeting = counted, GREETING
        return made

    def _serve(self) -> None:
        publisher, client = self.publishers.accept()[0], self.clients.accept()[0]
        with publisher, client:
            self.from_client = _until(client, b"\r\n\r\n")
            client.sendall(ANSWER + OTHER)
            if self.opening:
                self.goes_on.wait(self.stall_s)
                client.sendall(self.opening)
            self.from_publisher = _until(publisher, TICK)
            if self.late:
                self.goes_on.wait(self.stall_s)
                client.sendall(self.late)
            else:
                client.sendall(DELIVERY[:2])
                client.sendall(DELIVERY[2:] + EMPTY + PONG + OTHER + DELIVERY)
            self.from_client += client.recv(100)
            _until(client, b"never")


def _until(peer: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end) and (data := peer.recv(1000)):
        got += data
    return got


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.thread.join(10)
    peer.clients.close()
    peer.publishers.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_only_frames_that_begin_with_the_counted_byte_are_deliveries(peer: Peer, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    ticks.write_bytes(struct.pack("<III", len(TICK), 2, 0) + TICK)
    with Load(peer.server(ord("M")), [Kind(1, [as_binary(b"\x00\xff\r\n"), "0"])], ticks) as load:
        report = load.command("run", 1)
    assert load.connected.frames == 0
    assert report.complete
    assert (report.frames, report.groups[0]["frames"]) == (2, 2)
    peer.thread.join(10)
    assert peer.from_publisher == GREETING + TICK
    head, _, sent = peer.from_client.partition(b"\r\n\r\n")
    assert head.startswith(b"GET / HTTP/1.1")
    assert sent == b"\x82\x84\x00\x00\x00\x00\x00\xff\r\n" + b"\x81\x81\x00\x00\x00\x000"


@pytest.fixture
def tick(tmp_path: Path) -> Path:
    """A file with one tick that brings one frame."""
    path = tmp_path / "ticks"
    path.write_bytes(struct.pack("<III", len(TICK), 1, 0) + TICK)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_the_end_of_a_paced_load_outlasts_a_stall(peer: Peer, tick: Path) -> None:
    peer.late = BOOK
    with Load(peer.server(None), [Kind(1, ["0"])], tick) as load:
        report = load.command("pace", 1, 1000)
    assert report.complete
    assert (report.frames, report.groups[0]["samples"]) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
@pytest.mark.parametrize("expecting", [0, 1])
def test_frames_of_another_group_are_none_of_the_expected(peer: Peer, tick: Path, expecting: int) -> None:
    peer.late = BOOK
    with Load(peer.server(None), [Kind(1, ["0"])], tick) as load:
        report = load.command("pace", 1, 1000, round(2000 * STALL_S), expecting)
    assert report.complete == (expecting == 0)
    assert report.frames == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_what_comes_later_is_counted_with_the_load_that_brought_it(peer: Peer, tick: Path) -> None:
    """A heartbeat is a frame, but has no time of a book."""
    peer.late, peer.stall_s = HEARTBEAT + BOOK, 60.0
    with Load(peer.server(None), [Kind(1, ["0"])], tick) as load:
        early = load.command("pace", 1, 1000, 1)
        peer.goes_on.set()
        report = load.command("await", 0, 1)
        assert load.command("linger", 1).frames == report.frames
        assert load.command("count").frames == 0
    assert not early.complete
    assert report.complete
    assert (early.frames, report.frames, report.groups[0]["samples"]) == (0, 2, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_a_load_begins_when_its_clients_have_their_snapshots(peer: Peer, tick: Path) -> None:
    peer.opening = HEARTBEAT + BOOK
    with Load(peer.server(None), [Kind(1, ["0"], snapshots=1)], tick) as load:
        assert (load.connected.frames, load.connected.groups[0]["samples"]) == (3, 1)
        load.command("run", 1)


@pytest.mark.parametrize(
    ("size", "length"), [(0, "03"), (124, "7f"), (125, "8001"), (16380, "ff7f"), (16381, "808001")]
)
def test_a_packet_of_mqtt_says_its_length_in_groups_of_seven_bits(size: int, length: str) -> None:
    packet = mosquitto.publish(b"x" * size)
    assert packet == bytes.fromhex(f"30 {length} 0001 30") + b"x" * size


@pytest.mark.parametrize("packet", [mosquitto.CONNECT, mosquitto.SUBSCRIBE])
def test_packets_of_mqtt_are_as_long_as_they_say(packet: bytes) -> None:
    assert packet[1] == len(packet) - 2
