"""Opening handshakes, right and wrong (RFC 6455, sections 4.1 and 4.2; RFC 9110 and RFC 9112)."""

import base64
from typing import Final

import pytest

from tests.websocket.raw import (
    ACCEPT,
    ALIVE,
    HEADERS,
    KEY,
    Header,
    Opcode,
    Response,
    closing,
    connected,
    frame,
    opened,
    replaced,
    request,
)
from tests.websocket.tables import differences

OPEN: Final = {"101"}
REFUSED: Final = {"400"}
UPGRADE: Final = {"400", "426"}
"""RFC 9110, section 15.5.22: 426 says that an upgrade is missing."""
VERSION: Final = {"426", "400"}

Variant = tuple[tuple[str, ...], set[str]]
"""Values of a header, and the statuses that answer a handshake with them."""


def base64_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def variants() -> dict[str, tuple[bytes, set[str]]]:
    """Name → request, and the statuses that answer it."""
    table = {
        "plain": (request(), OPEN),
        "with a query": (request(path="/v1/ws?token=x&y=%20"), OPEN),
        "absolute": (request(path="http://gateway.test/v1/ws"), OPEN),
        "another path": (request(path="/v1/ws/"), {"404"}),
        "HTTP/1.0": (request(version="HTTP/1.0"), {"400", "426", "505"}),
        "HTTP/2.0": (request(version="HTTP/2.0"), {"400", "505"}),
        "HTTP/1.1 in lower case": (request(version="http/1.1"), REFUSED),
        "names in lower case": (request([(name.lower(), value) for name, value in HEADERS]), OPEN),
        "names in upper case": (request([(name.upper(), value) for name, value in HEADERS]), OPEN),
        "blanks around values": (request([(name, f" \t{value}\t ") for name, value in HEADERS]), OPEN),
        "no blank before values": (request().replace(b": ", b":"), OPEN),
        "headers in another order": (request(HEADERS[::-1]), OPEN),
        "a blank before a colon": (request().replace(b"Upgrade:", b"Upgrade :"), REFUSED),
        "no colon": (request().replace(b"Upgrade: websocket", b"Upgrade websocket"), REFUSED),
        "a folded header": (request().replace(b"Upgrade: ", b"Upgrade:\r\n "), REFUSED),
        "a name with a blank": (request((*HEADERS, ("X Y", "z"))), REFUSED),
        "an empty name": (request((*HEADERS, ("", "z"))), REFUSED),
        "NUL in a value": (request((*HEADERS, ("X", "a\0b"))), REFUSED),
        "a lone CR in a value": (request((*HEADERS, ("X", "a\rb"))), REFUSED),
        "latin-1 in a value": (request((*HEADERS, ("X", "é"))), OPEN),
        "a blank line before it": (b"\r\n" + request(), OPEN),
        "an empty body": (request((*HEADERS, ("Content-Length", "0"))), OPEN),
        "a body": (request((*HEADERS, ("Content-Length", "5"))) + b"hello", {"400", "413"}),
        "a chunked body": (
            request((*HEADERS, ("Transfer-Encoding", "chunked"))) + b"0\r\n\r\n",
            {"400", "411", "413", "501"},
        ),
        "a bad length": (request((*HEADERS, ("Content-Length", "+0"))), REFUSED),
        "no host": (request(replaced("Host")), REFUSED),
        "two hosts": (request(replaced("Host", "a", "b")), REFUSED),
        "a bad host": (request(replaced("Host", "a b/c")), REFUSED),
    }
    table |= {method: (request(method=method), {"405"}) for method in ("POST", "PUT", "DELETE", "OPTIONS")}
    table["get"] = (request(method="get"), {"400", "405", "501"})
    for name, values, statuses in header_variants():
        table[f"{name}: {' | '.join(values)}"] = (request(replaced(name, *values)), statuses)
    return table


def header_variants() -> list[tuple[str, tuple[str, ...], set[str]]]:
    """Name, values, and the statuses that answer a handshake with them."""
    keys: list[Variant] = [((base64_of(size),), OPEN if size == 16 else REFUSED) for size in range(14, 19)]
    keys += [
        ((), REFUSED),
        (("",), REFUSED),
        ((KEY, KEY), REFUSED),
        ((KEY, base64_of(16)), REFUSED),
        ((KEY[:-2],), REFUSED),
        ((KEY[:-2] + "!!",), REFUSED),
        ((f"{KEY}, {KEY}",), REFUSED),
        (("=" * 24,), REFUSED),
    ]
    versions: list[Variant] = [
        ((version,), VERSION) for version in ("0", "8", "12", "14", "013", "13.0", "x", "", "13, 8")
    ]
    versions += [((), VERSION), (("13", "8"), VERSION), (("13", "13"), VERSION)]
    upgrades: list[Variant] = [
        ((), UPGRADE),
        (("",), UPGRADE),
        (("WebSocket",), OPEN),
        (("WEBSOCKET",), OPEN),
        (("h2c, websocket",), OPEN),
        (("websocket, h2c",), OPEN),
        (("h2c", "websocket"), OPEN),
        (("web socket",), UPGRADE),
        (("websockets",), UPGRADE),
        (("h2c",), UPGRADE),
    ]
    connections: list[Variant] = [
        ((), UPGRADE),
        (("keep-alive",), UPGRADE),
        (("close",), UPGRADE),
        (("Upgrades",), UPGRADE),
        (("upgrade",), OPEN),
        (("UPGRADE",), OPEN),
        (("keep-alive, Upgrade",), OPEN),
        (("Upgrade,keep-alive",), OPEN),
        ((" , ,Upgrade",), OPEN),
        (("keep-alive", "Upgrade"), OPEN),
    ]
    return [
        (name, values, statuses)
        for name, variants in (
            ("Sec-WebSocket-Key", keys),
            ("Sec-WebSocket-Version", versions),
            ("Upgrade", upgrades),
            ("Connection", connections),
        )
        for values, statuses in variants
    ]


async def answer_to(url: str, sent: bytes) -> Response | None:
    async with connected(url) as raw:
        await raw.send(sent)
        response = await raw.response()
        if response is not None and response.status == 101:
            await raw.send(ALIVE)
            assert await raw.outcome() == "pong"
        return response


async def test_every_handshake_is_answered_by_the_rules(url: str) -> None:
    table = variants()

    async def outcome(name: str) -> str:
        response = await answer_to(url, table[name][0])
        return str(response and response.status)

    wanted = {name: statuses for name, (_, statuses) in table.items()}
    assert await differences(wanted, outcome) == {}


async def test_a_handshake_is_answered_with_its_key_and_nothing_that_was_not_asked_for(url: str) -> None:
    response = await answer_to(url, request())
    assert response is not None
    assert response.values("Sec-WebSocket-Accept") == [ACCEPT]
    assert [value.lower() for value in response.values("Upgrade")] == ["websocket"]
    assert [value.lower() for value in response.values("Connection")] == ["upgrade"]
    for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding"):
        assert response.values(name) == []


@pytest.mark.parametrize("version", ["8", "14", "x"])
async def test_another_version_is_told_the_right_one(url: str, version: str) -> None:
    response = await answer_to(url, request(replaced("Sec-WebSocket-Version", version)))
    assert response is not None
    assert response.status == 426
    assert response.values("Sec-WebSocket-Version") == ["13"]


PROTOCOLS: Final[dict[tuple[str, ...], list[str]]] = {
    (): [],
    ("depthcast.v1.json",): ["depthcast.v1.json"],
    ("depthcast.v1.msgpack",): ["depthcast.v1.msgpack"],
    ("another, depthcast.v1.msgpack",): ["depthcast.v1.msgpack"],
    ("another", "depthcast.v1.json"): ["depthcast.v1.json"],
    ("depthcast.v1.JSON",): [],
    ("another",): [],
}


@pytest.mark.parametrize("offered", PROTOCOLS)
async def test_a_subprotocol_is_one_that_was_offered(url: str, offered: tuple[str, ...]) -> None:
    headers: list[Header] = [*HEADERS, *(("Sec-WebSocket-Protocol", value) for value in offered)]
    response = await answer_to(url, request(headers))
    assert response is not None
    assert response.status == 101
    assert response.values("Sec-WebSocket-Protocol") == PROTOCOLS[offered]


async def test_a_handshake_may_come_byte_by_byte_and_frames_right_behind_it(url: str) -> None:
    async with connected(url) as raw:
        for byte in request():
            await raw.send(bytes((byte,)))
        response = await raw.response()
        assert response is not None
        assert response.status == 101
    async with connected(url) as raw:
        await raw.send(request(), frame(Opcode.TEXT, b'{"op":"ping"}'), ALIVE)
        response = await raw.response()
        assert response is not None
        assert response.status == 101
        assert await raw.outcome() == "pong"


async def test_a_websocket_may_follow_another_request_on_the_same_connection(url: str) -> None:
    async with connected(url) as raw:
        await raw.send(request([("Host", "gateway.test")], path="/healthz"))
        response = await raw.response()
        assert response is not None
        assert response.status == 200
        await raw.reader.readexactly(int(response.values("Content-Length")[0]))
        await raw.send(request(), ALIVE)
        response = await raw.response()
        assert response is not None
        assert response.status == 101
        assert await raw.outcome() == "pong"


async def test_no_setting_makes_the_gateway_an_echo(url: str) -> None:
    async with connected(url) as raw:
        await raw.send(request(path="/echo"))
        response = await raw.response()
        assert response is not None
        assert response.status == 404
    async with opened(url) as raw:
        await raw.send(frame(Opcode.TEXT, b'"echo"'), closing(1000))
        answers = []
        while (got := await raw.frame()) is not None:
            answers.append(got.payload)
    assert b'"echo"' not in answers
