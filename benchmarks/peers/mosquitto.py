"""mosquitto with a WebSocket listener, if installed, and the packets of MQTT 3.1.1 that the load needs."""

import shutil
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent
from depthcast.runtime.ports import free_port

CONFIGURATION: Final = """\
user root
allow_anonymous true
persistence false
log_dest stderr
log_type error
log_type information
connection_messages false
set_tcp_nodelay true
listener {trigger_port} 127.0.0.1
listener {port} 127.0.0.1
protocol websockets
"""
READY: Final = r"mosquitto version \S+ running"

CONNECT: Final = bytes.fromhex("100c 0004 4d515454 04 02 0000 0000")
"""MQTT 3.1.1, a clean session, no keep-alive, no client id."""
SUBSCRIBE: Final = bytes.fromhex("8206 0001 0001 30 00")
"""Topic 0, at most once."""
PUBLISH: Final = 0x30
"""First byte of a message that is delivered at most once."""


def command(folder: Path) -> tuple[list[str], int, int]:
    """How it is started with its files in `folder`, the ports for clients and for ticks; raises `Absent`."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Absent("needs mosquitto with WebSockets (on Debian and Ubuntu: apt-get install mosquitto)")
    port, trigger_port = free_port(), free_port()
    file = folder / "mosquitto.conf"
    file.write_text(CONFIGURATION.format(port=port, trigger_port=trigger_port), encoding="utf-8")
    return [program, "-c", str(file)], port, trigger_port


def publish(message: bytes) -> bytes:
    """A message to all who have subscribed to topic 0."""
    body = b"\x00\x010" + message
    size, length = len(body), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([PUBLISH]) + length + bytes([size]) + body
