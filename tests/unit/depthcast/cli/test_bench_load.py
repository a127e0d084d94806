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


class Peer:
    """Answers one client and one publisher; a tick brings two deliveries, and what does not count as one."""

    def __init__(self) -> None:
        self.clients, self.publishers = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.from_client = self.from_publisher = b""
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
            self.from_publisher = _until(publisher, TICK)
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


@pytest.mark.parametrize(
    ("size", "length"), [(0, "03"), (124, "7f"), (125, "8001"), (16380, "ff7f"), (16381, "808001")]
)
def test_a_packet_of_mqtt_says_its_length_in_groups_of_seven_bits(size: int, length: str) -> None:
    packet = mosquitto.publish(b"x" * size)
    assert packet == bytes.fromhex(f"30 {length} 0001 30") + b"x" * size


@pytest.mark.parametrize("packet", [mosquitto.CONNECT, mosquitto.SUBSCRIBE])
def test_packets_of_mqtt_are_as_long_as_they_say(packet: bytes) -> None:
    assert packet[1] == len(packet) - 2
