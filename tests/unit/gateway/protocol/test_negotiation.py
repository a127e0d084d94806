"""The WebSocket handshake by the letter of RFC 6455, and compression by RFC 7692."""

import base64
from collections.abc import Mapping

import pytest

from depthcast.gateway.protocol.http_head import HeadError, HeadLimits, parse_head
from depthcast.gateway.protocol.negotiation import Handshake, shake

KEY = base64.b64encode(b"the sample nonce").decode()
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
GOOD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

LIMITS = HeadLimits(4096, 16_384, 64)


def request_of(headers: Mapping[str, str | None], line: str = "GET /v1/ws HTTP/1.1") -> bytes:
    """A handshake with those headers that are not None."""
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(line: str = "GET /v1/ws HTTP/1.1", deflate: bool = True, **changed: str | None) -> dict[str, str]:
    """The headers of the answer 101, by name in lower case."""
    headers = GOOD | {name.replace("_", "-"): value for name, value in changed.items()}
    raw = request_of(headers, line)
    said = shake(Handshake(deflate=deflate), raw, parse_head(raw, LIMITS), "name-1").decode()
    status, *rows = said.removesuffix("\r\n\r\n").split("\r\n")
    assert status == "HTTP/1.1 101 Switching Protocols"
    return {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}


def test_the_example_of_the_rfc() -> None:
    said = answer()
    assert said["sec-websocket-accept"] == ACCEPT
    assert (said["upgrade"], said["connection"]) == ("websocket", "Upgrade")
    assert "sec-websocket-protocol" not in said
    assert "sec-websocket-extensions" not in said


@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket", "websocket, h2c"])
def test_an_upgrade_to_websocket_may_be_one_of_several(upgrade: str) -> None:
    assert answer(Upgrade=upgrade)["sec-websocket-accept"] == ACCEPT


def test_a_close_frame_may_leave_a_message_unfinished() -> None:
    protocol = Handshake(deflate=False)
    answer_to = shake(protocol, request_of(GOOD), parse_head(request_of(GOOD), LIMITS), "name-1")
    assert answer_to.startswith(b"HTTP/1.1 101")
    protocol.receive_data(b"\x01\x81\0\0\0\0a" + b"\x88\x82\0\0\0\0\x03\xe8")
    assert protocol.data_to_send()[0] == b"\x88\x02\x03\xe8"
    assert protocol.parser_exc is None


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (426, {"Sec_WebSocket_Version": "12"}),
        (426, {"Sec_WebSocket_Version": "13, 13"}),
        (400, {"Sec_WebSocket_Version": None}),
        (400, {"Sec_WebSocket_Key": None}),
        (400, {"Sec_WebSocket_Key": "short"}),
        (400, {"Sec_WebSocket_Key": base64.b64encode(bytes(15)).decode()}),
        (400, {"Sec_WebSocket_Key": KEY + " " + KEY}),
        (426, {"Upgrade": None}),
        (426, {"Upgrade": "h2c"}),
        (426, {"Connection": "keep-alive"}),
        (400, {"Sec_WebSocket_Extensions": "permessage-deflate; ="}),
        (400, {"Sec_WebSocket_Protocol": "a b"}),
        (405, {"line": "POST /v1/ws HTTP/1.1"}),
        (505, {"line": "GET /v1/ws HTTP/1.0"}),
    ],
)
def test_a_handshake_that_breaks_a_rule_is_refused(status: int, changed: dict[str, str | None]) -> None:
    with pytest.raises(HeadError) as raised:
        answer(**changed)  # type: ignore[arg-type]
    assert raised.value.status == status
    if status == 426:
        assert "Sec-WebSocket-Version: 13" in raised.value.headers


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("depthcast.v1.json", "depthcast.v1.json"),
        ("depthcast.v1.msgpack, depthcast.v1.json", "depthcast.v1.msgpack"),
        ("other, depthcast.v1.msgpack", "depthcast.v1.msgpack"),
        ("other", None),
    ],
)
def test_the_first_subprotocol_offered_that_is_spoken(offered: str, chosen: str | None) -> None:
    assert answer(Sec_WebSocket_Protocol=offered).get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", AGREED),
        ("permessage-deflate; client_max_window_bits", AGREED),
        ("permessage-deflate; client_max_window_bits=8", AGREED),
        ("permessage-deflate; client_max_window_bits=15", AGREED),
        ('permessage-deflate; client_max_window_bits="10"', AGREED),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", AGREED),
        ("permessage-deflate; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", AGREED),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=15", AGREED),
        ("x-webkit-deflate-frame, permessage-deflate", AGREED),
        ("permessage-deflate; server_max_window_bits=14", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=015", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=15", None),
        ("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", None),
        ("permessage-deflate; unknown", None),
        ("PERMESSAGE-DEFLATE", None),
    ],
)
def test_offers_of_compression_and_their_answers(offer: str, agreed: str | None) -> None:
    assert answer(Sec_WebSocket_Extensions=offer).get("sec-websocket-extensions") == agreed


def test_without_compression_no_offer_is_accepted() -> None:
    assert "sec-websocket-extensions" not in answer(
        deflate=False, Sec_WebSocket_Extensions="permessage-deflate"
    )
