"""The head of a request: what is refused, and with which status."""

import pytest

from depthcast.gateway.protocol.http_head import (
    Head,
    HeadError,
    HeadLimits,
    error_response,
    head_end,
    parse_head,
    presented_token,
    presented_tokens,
)

LIMITS = HeadLimits(line_bytes_max=200, head_bytes_max=1000, headers_max=20)
GOOD = b"GET /v1/books/A?depth=5 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"


def test_a_good_head() -> None:
    head = parse_head(GOOD, LIMITS)
    assert (head.method, head.target, head.path) == ("GET", "/v1/books/A?depth=5", "/v1/books/A")
    assert head.values("accept") == ["*/*"]
    assert head.plain() == b"GET /v1/books/A?depth=5 HTTP/1.1\r\nhost: localhost:8080\r\naccept: */*\r\n\r\n"


def test_what_concerns_only_this_connection_is_not_passed_on() -> None:
    raw = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nX: y\r\n\r\n"
    assert parse_head(raw, LIMITS).plain() == b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_an_incomplete_head_waits(size: int) -> None:
    assert head_end(bytearray(GOOD[:size]), LIMITS) == 0


def test_what_follows_a_head_is_not_part_of_it() -> None:
    assert head_end(bytearray(GOOD + GOOD), LIMITS) == len(GOOD)


def refused(raw: bytes) -> int:
    """The status that `raw` is refused with."""
    with pytest.raises(HeadError) as raised:
        parse_head(raw[: head_end(bytearray(raw), LIMITS)], LIMITS)
    answer = error_response(raised.value)
    assert error_response(raised.value, "HEAD") + answer.partition(b"\r\n\r\n")[2] == answer
    assert answer.startswith(f"HTTP/1.1 {raised.value.status} ".encode())
    assert b'{"error":{"code":"bad_request"' in answer
    return raised.value.status


def of(line: str = "GET / HTTP/1.1", *headers: str) -> bytes:
    return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode("iso-8859-1")


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (400, b"\x16\x03\x01\x02\x00"),
        (400, b"\x00"),
        (400, of("GET /")),
        (400, of("GET  / HTTP/1.1")),
        (400, of("G(T / HTTP/1.1")),
        (400, of("GET / HTTP/1.1 ")),
        (400, of("GET / HTCPCP/1.0")),
        (505, of("GET / HTTP/2.0")),
        (400, of("GET /\x01 HTTP/1.1")),
        (400, of("GET /\xe4 HTTP/1.1")),
        (400, of("GET * HTTP/1.1")),
        (400, of("GET a/b HTTP/1.1")),
        (400, of("GET ftp://a/ HTTP/1.1")),
        (400, of("GET / HTTP/1.1", "Host: other")),
        (400, b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, of("GET / HTTP/1.1", "no colon")),
        (400, of("GET / HTTP/1.1", "spaced : x")),
        (400, of("GET / HTTP/1.1", " folded: x")),
        (400, of("GET / HTTP/1.1", "a: x\x00y")),
        (400, of("GET / HTTP/1.1", "a: x\ny: z")),
        (400, of("GET / HTTP/1.1", "a: x\ry: z")),
        (400, of("GET / HTTP/1.1", "Content-Length: -1")),
        (400, of("GET / HTTP/1.1", "Content-Length: 1, 1")),
        (413, of("POST / HTTP/1.1", "Content-Length: 1")),
        (413, of("POST / HTTP/1.1", "Content-Length: 0", "Content-Length: 5")),
        (413, of("POST / HTTP/1.1", "Transfer-Encoding: chunked")),
        (414, of("GET /" + "a" * 200 + " HTTP/1.1")),
        (414, b"GET /" + b"a" * 200),
        (431, of("GET / HTTP/1.1", "a: " + "b" * 1000)),
        (431, of("GET / HTTP/1.1")[:-2] + b"a: " + b"b" * 1000),
        (431, of("GET / HTTP/1.1", *["a: b"] * 20)),
    ],
)
def test_a_head_beyond_rules_or_limits_is_refused(status: int, raw: bytes) -> None:
    assert refused(raw) == status


@pytest.mark.parametrize(
    "raw",
    [
        of("GET / HTTP/1.0"),
        b"GET / HTTP/1.0\r\n\r\n",
        of("GET / HTTP/1.1", "Content-Length: 0"),
        of("GET / HTTP/1.1", "a: \xe4"),
        of("GET / HTTP/1.1", "empty:"),
        of("HEAD /a%00b?c HTTP/1.1"),
        of("GET / HTTP/1.1", *["a: b"] * 19),
    ],
)
def test_unusual_heads_that_keep_the_rules_are_served(raw: bytes) -> None:
    assert head_end(bytearray(raw), LIMITS) == len(raw)
    parse_head(raw, LIMITS)


@pytest.mark.parametrize(
    ("target", "headers", "tokens"),
    [
        ("/v1/ws", (), []),
        ("/v1/ws", (("authorization", "Bearer a.b"),), ["a.b"]),
        ("/v1/ws", (("authorization", "bearer  a.b "),), ["a.b"]),
        ("/v1/ws", (("authorization", "Basic a.b"),), []),
        ("/v1/ws?token=a.b&x=1", (), ["a.b"]),
        ("/v1/ws", (("sec-websocket-protocol", "depthcast.v1.json, depthcast.token.a.b"),), ["a.b"]),
        ("/v1/ws", (("sec-websocket-protocol", "depthcast.v1.json"),), []),
        ("/v1/ws?token=a.b", (("authorization", "Bearer a.b"),), ["a.b"]),
        ("/v1/ws?token=a&token=b", (("authorization", "Bearer c"),), ["c", "a", "b"]),
    ],
)
def test_where_a_token_may_be(target: str, headers: tuple[tuple[str, str], ...], tokens: list[str]) -> None:
    head = Head("GET", target, "HTTP/1.1", headers)
    assert presented_tokens(head) == tokens
    assert (presented_token(head) is None) == (not tokens)
