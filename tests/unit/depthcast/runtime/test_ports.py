"""No outgoing connection and no other process gets a port that a server was given."""

import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.runtime import ports
from depthcast.runtime.ports import HOST, free_port, held, server_ports

PORTS = st.integers(0, 65_535)

ASK = """
from depthcast.runtime import ports
ports.server_ports = lambda *_: range({first}, {last})
ports._ROOM_MIN = 1
print(*(ports.free_port() for _ in range(4)))
"""


@given(PORTS, PORTS)
def test_no_port_of_outgoing_connections_is_a_servers(one: int, other: int) -> None:
    first, last = sorted((one, other))
    found = server_ports(first, last)
    assert all(10_000 <= port <= 65_535 and not first <= port <= last for port in (*found[:1], *found[-1:]))
    assert len(found) >= max(min(first, 65_536) - 10_000, 65_535 - max(last, 9_999), 0)


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        ("32768\t60999\n", range(10_000, 32_768)),
        ("15000 30000\n", range(30_001, 65_536)),
        ("?", range(10_000, 32_768)),
    ],
)
def test_the_system_says_which_ports_are_taken_by_connections(
    text: str, range_: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "range"
    file.write_text(text, encoding="ascii")
    monkeypatch.setattr(ports, "_EPHEMERAL", file)
    assert {free_port() in range_ for _ in range(20)} == {True}


def test_without_room_the_system_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "range"
    file.write_text("1024 65535", encoding="ascii")
    monkeypatch.setattr(ports, "_EPHEMERAL", file)
    with socket.create_server((HOST, free_port())):
        pass


def test_no_port_is_given_twice_nor_one_that_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = free_port()
    os.close(held.pop())
    few = range(listening, listening + 40)
    monkeypatch.setattr(ports, "server_ports", lambda *_: few)
    monkeypatch.setattr(ports, "_ROOM_MIN", 1)
    with socket.create_server((HOST, listening)):
        own = [free_port() for _ in range(8)]
        ask = ASK.format(first=few.start, last=few.stop)
        asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    given = [listening, *own, *map(int, asked.stdout.split())]
    assert len(given) == 13
    assert len(set(given)) == 13


def test_only_so_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_HELD_MAX", 3)
    monkeypatch.setattr(ports, "held", mine := deque[int]())
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    for _ in range(4):
        free_port()
    assert len(mine) == 3
    monkeypatch.undo()
    assert len(closed) == 1
    for descriptor in [*closed, *mine]:
        os.close(descriptor)
