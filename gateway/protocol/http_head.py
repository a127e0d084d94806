"""The head of an HTTP request: its limits, and what the gateway itself must know of it (RFC 9112).

No endpoint takes a body, so a request is its head, and one that announces a body is refused.
"""

import re
from hashlib import blake2b
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import orjson

END: Final = b"\r\n\r\n"
TOKEN_PROTOCOL: Final = "depthcast.token."  # noqa: S105  # what stands before one
"""A subprotocol that a client offers beside the one it speaks; behind it stands a token."""
_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADERS: Final = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_TARGET: Final = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?://[^/?#\x00-\x20\x7f-\xff]+)?(/[\x21-\x7e]*)?")
_HOST: Final = re.compile(r"[-._~!$&'()*+,;=%:\[\]0-9A-Za-z]*")
_HOP_BY_HOP: Final = frozenset({"upgrade", "expect", "http2-settings"})
"""Not passed on to the web server: the gateway upgrades only to its WebSocket, and takes no body."""


class HeadError(Exception):
    """A request that is refused without being served: HTTP status, the protocol's code, and a text."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[str, ...] = ()) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(f"{status} {code}: {message}")


class HeadLimits(NamedTuple):
    """How long a head may be."""

    line_bytes_max: int
    head_bytes_max: int
    headers_max: int


class Head(NamedTuple):
    """A request: `target` is its path and query, the names of `headers` are in lower case."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def plain(self) -> bytes:
        """Return the request without what only concerns this connection's upgrade or body."""
        lines = [f"{self.method} {self.target} {self.version}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name not in _HOP_BY_HOP]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1")


def head_end(data: bytearray, limits: HeadLimits) -> int:
    """Size of the complete head at the start of `data`, 0 if it is incomplete; raises `HeadError`."""
    if data and not data[:1].isalpha():
        raise HeadError(400, "bad_request", "this is not HTTP")
    end = data.find(END)
    size = end + len(END) if end >= 0 else 0
    line = data.find(b"\r\n")
    if (line if line >= 0 else len(data)) > limits.line_bytes_max:
        raise HeadError(414, "bad_request", f"the request line is longer than {limits.line_bytes_max} bytes")
    if (size or len(data)) > limits.head_bytes_max:
        raise HeadError(431, "bad_request", f"the head is longer than {limits.head_bytes_max} bytes")
    return size


def parse_head(data: bytes, limits: HeadLimits) -> Head:
    """Parse a complete head; raises `HeadError`."""
    first, _, rest = data[:-2].partition(b"\r\n")
    method, target, version = _request_line(first)
    if rest.count(b"\r\n") > limits.headers_max:
        raise HeadError(431, "bad_request", f"more than {limits.headers_max} headers")
    if not _HEADERS.fullmatch(rest):
        raise _malformed("a header")
    lines = rest.decode("iso-8859-1").split("\r\n")[:-1]
    head = Head(method, target, version, tuple(map(_header, lines)))
    _check_host(head)
    _check_body(head)
    return head


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):
        raise _malformed("the request line")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if re.fullmatch(rb"HTTP/\d\.\d", version):
            raise HeadError(505, "bad_request", "only HTTP/1.1 is spoken here")
        raise _malformed("the request line")
    found = _TARGET.fullmatch(target)
    if not target or found is None:
        raise _malformed("the request target")
    return method.decode(), (found[1] or b"/").decode(), version.decode()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip(" \t")


def _check_host(head: Head) -> None:
    hosts = head.values("host")
    if len(hosts) > 1 or (not hosts and head.version == "HTTP/1.1"):
        raise HeadError(400, "bad_request", "a request has one Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise _malformed("the Host header")


def _check_body(head: Head) -> None:
    lengths = head.values("content-length")
    if not all(length.isascii() and length.isdigit() for length in lengths):
        raise _malformed("the Content-Length header")
    if head.values("transfer-encoding") or any(length.strip("0") for length in lengths):
        raise HeadError(413, "bad_request", "no endpoint takes a body")


def presented_tokens(head: Head) -> list[str]:
    """The tokens in a request, each once: `Authorization: Bearer`, `?token=`, or offered as a subprotocol.

    A browser can say no header of its own with a WebSocket, but subprotocols. Nothing is verified here.
    """
    tokens = [value[7:].strip() for value in head.values("authorization") if value[:7].lower() == "bearer "]
    tokens += parse_qs(head.target.partition("?")[2]).get("token", [])
    offered = [name.strip() for value in head.values("sec-websocket-protocol") for name in value.split(",")]
    tokens += [name.removeprefix(TOKEN_PROTOCOL) for name in offered if name.startswith(TOKEN_PROTOCOL)]
    return list(dict.fromkeys(tokens))


def presented_token(head: Head) -> bytes | None:
    """A hash of the first token in a request, for what is counted by it; None without one."""
    tokens = presented_tokens(head)
    return blake2b(tokens[0].encode(), digest_size=16).digest() if tokens else None


def _malformed(what: str) -> HeadError:
    return HeadError(400, "bad_request", f"{what} is malformed")


def error_body(code: str, message: str) -> bytes:
    """The body of every error."""
    return orjson.dumps({"error": {"code": code, "message": message}})


def error_response(error: HeadError, method: str = "GET", *further: str) -> bytes:
    """Return the complete answer to a refused request, to HEAD its head; the connection ends after it.

    `further`: lines of its head.
    """
    body = error_body(error.code, error.message)
    lines = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *error.headers,
        *further,
    )
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1")
    return head if method == "HEAD" else head + body
