"""Every line of a gateway's log about a client says which one, and its address only if allowed."""

import ast
import asyncio
import io
import json
import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from depthcast.gateway.runtime import event_stream
from depthcast.gateway.runtime.answers import Answers
from depthcast.gateway.runtime.front import Front
from depthcast.gateway.runtime.http import web_server_log
from depthcast.gateway.runtime.http_limits import HttpLimits
from depthcast.gateway.runtime.tls_transport import TlsTransport
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.runtime import logs
from tests.certificates import Authority
from tests.integration.gateway_harness import BIDS, fake_ingestor, running_gateway
from tests.waiting import eventually

GATEWAY = Path(__file__).parents[2] / "gateway"
ADDRESS = "127.0.0.2"
"""The client's, as no server here has it."""
RECORD_OF_TLS = b"\x16\x03\x01\x00\x05nonsense"

OF_CLIENTS = {
    "a client has come": {"connection", "session", "request"},
    "a client has gone": {"connection", "session", "request", "code"},
    "a request ended by an unexpected error": {"connection", "request", "path"},
    "an answer ended by an unexpected error": {"connection", "request", "path"},
    "connection ended by an unexpected error": {"connection"},
    "stream ended by an unexpected error": {"connection", "session", "request"},
    "TLS failed": {"connection", "reason"},
}
"""Every line about a client, and what it has beside the address."""
OF_OTHERS = {
    "clients are sent to by io_uring",
    "instruments changed",
    "io_uring cannot be used; clients are sent to by send()",
    "io_uring failed; clients are sent to by send() from now on",
    "left without notice",
    "no new clients from now on",
    "read the keys of tokens again",
    "the certificate was read again",
    "the keys of tokens stay as they are",
    "the limit of open files stays",
    "worker ended, starting another",
}
WITHOUT_TEXT = {"certificates.py"}
"""It logs a text that it is given, of files."""


def test_every_line_of_a_gateway_is_known_to_be_about_a_client_or_not() -> None:
    """A new one has to be put into one of the lists; one about a client is provoked below."""
    found, without = set(), set()
    for path in sorted(GATEWAY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id in ("logger", "quiet"):
                if node.func.attr in ("setLevel", "isEnabledFor"):
                    continue
                text = node.args[0]
                if isinstance(text, ast.Constant):
                    found.add(str(text.value))
                else:
                    without.add(path.name)
    assert found == OF_CLIENTS.keys() | OF_OTHERS
    assert without <= WITHOUT_TEXT


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process writes to standard error, from `debug` on."""
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("debug")
    yield stream
    root.handlers[:] = kept
    root.setLevel(level)


def lines_about(log: io.StringIO, text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["message"] == text]


def fails(*_: object, **__: object) -> Any:
    raise RuntimeError("on purpose")


async def provoke(url: str, trust: ssl.SSLContext, patch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    """Let everything happen that is logged about a client."""

    async def seen(text: str, times: int = 1) -> None:
        await eventually(lambda: len(lines_about(log, text)) >= times, message=text)

    connector = aiohttp.TCPConnector(local_addr=(ADDRESS, 0), ssl=trust, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.ws_connect(f"{url}/v1/ws") as client:
            session = (await client.receive_json())["session"]
            await seen("a client has come")
            assert lines_about(log, "a client has come")[0]["session"] == session
        await seen("a client has gone")
        assert lines_about(log, "a client has gone")[0]["session"] == session

        ended = "connection ended by an unexpected error"
        async with http.ws_connect(f"{url}/v1/ws") as client:
            await client.receive_json()
            with patch.context() as broken:
                broken.setattr(WebSocket, "_step", fails)
                await client.send_json({"op": "ping"})
                await seen(ended)
        assert "session" in lines_about(log, ended)[0]
        for owner, name, times in ((Front, "_next", 2), (TlsTransport, "_step", 3)):
            with patch.context() as broken:
                broken.setattr(owner, name, fails)
                with pytest.raises(aiohttp.ClientError):
                    await http.get(f"{url}/v1/symbols")
                await seen(ended, times)

        with patch.context() as broken:
            broken.setattr(event_stream, "carry_out", lambda *_: map(fails, "a"))
            async with http.get(f"{url}/v1/stream?symbols=AAA") as answer:
                await answer.content.read()
        await seen("stream ended by an unexpected error")

        with patch.context() as broken:
            broken.setattr(Answers, "symbols", fails)
            async with http.get(f"{url}/v1/symbols") as answer:
                assert answer.status == 500
                request = answer.headers["X-Request-ID"]
        assert [line["request"] for line in lines_about(log, "a request ended by an unexpected error")] == [
            request
        ]
        for path in ("/v1/symbols", "/healthz"):
            with patch.context() as broken:
                broken.setattr(HttpLimits, "hold", fails)
                with pytest.raises(aiohttp.ClientError):
                    await http.get(f"{url}{path}")
        await seen("an answer ended by an unexpected error", 2)

    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), source_address=(ADDRESS, 0)) as raw:
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(raw, RECORD_OF_TLS)
        await seen("TLS failed")


@pytest.mark.parametrize("shown", [True, False], ids=["addresses", "no addresses"])
async def test_every_line_about_a_client_says_which(
    redis_url: str,
    prefix: str,
    encrypted: Authority,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    shown: bool,
) -> None:
    async with fake_ingestor(redis_url, prefix, "AAA") as ingestor:
        await ingestor.birth("AAA", BIDS)
        with running_gateway(redis_url, prefix, log_addresses=shown) as gateway:
            await ingestor.until_live(gateway)
            await provoke(gateway.url, encrypted.trusting(), monkeypatch, log)
    web_server_log.error("Error handling request from %s", ADDRESS)
    for text, names in OF_CLIENTS.items():
        found = lines_about(log, text)
        assert found, text
        for line in found:
            assert line.keys() >= names, line
            assert line.get("address") == (ADDRESS if shown else None), line
            if "request" in line:
                assert line["request"].startswith(line["connection"] + "-")
    assert lines_about(log, "Error handling request"), "the web server logs no address either"
    rest = [json.loads(line) for line in log.getvalue().splitlines()]
    for line in rest:
        line.pop("address", None)
        assert ADDRESS not in json.dumps(line), "it is nowhere else"
