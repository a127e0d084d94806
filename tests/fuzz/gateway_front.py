"""Targets: what reaches a gateway's port. Heads of HTTP requests, WebSocket handshakes, and frames."""

import asyncio
import base64
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.http_head import (
    Head,
    HeadError,
    HeadLimits,
    error_response,
    head_end,
    parse_head,
    presented_token,
)
from depthcast.gateway.protocol.negotiation import SUBPROTOCOLS, Handshake, shake
from depthcast.gateway.protocol.peers import (
    SIGNATURE,
    forwarded_for,
    is_trusted,
    key_of,
    parse_address,
    parse_proxy,
)
from depthcast.gateway.protocol.request_id import header_line, taken_over
from depthcast.gateway.runtime.front import METHODS
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.networks import parse_networks
from depthcast.shared.origins import Origin, Origins
from depthcast.shared.settings import GatewaySettings
from tests.fuzz.material import Material
from tests.fuzz.target import Target

LIMITS: Final = HeadLimits(200, 800, 12)
STATUSES: Final = {400, 405, 413, 414, 426, 431, 505}
NAMES: Final = (
    b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"X",
    b"Cookie", b"Sec-WebSocket-Key", b"Host ", b"", b"Content-Length\t", b"HTTP2-Settings",
)  # fmt: skip
VALUES: Final = (
    b"h", b"0", b"5", b"+0", b"0, 0", b"chunked", b"identity", b"upgrade", b"h2c", b"keep-alive",
    b"100-continue", b"\x00", b"\xff", b" x ", b"h:1", b"[::1]", b"close",
)  # fmt: skip
TARGETS_SENT: Final = (
    b"/", b"/v1/ws", b"/v1/books/A?depth=5", b"*", b"http://h/x", b"//h/x", b"/%00", b"", b"/a b", b"/#x",
)  # fmt: skip


# --- heads --------------------------------------------------------------------------------------------------


def _head(material: Material) -> bytes:
    line = [
        material.choose((b"GET", b"HEAD", b"POST", b"get", b"\xff", b"PRI")), material.choose(TARGETS_SENT),
        material.choose((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1")),
    ]  # fmt: skip
    headers = [
        material.choose(NAMES) + material.choose((b": ", b":", b" : ", b"", b":\t")) + material.choose(VALUES)
        for _ in range(material.below(6))
    ]
    if material.chance(200):
        headers.append(b"Host: h")
    end = material.choose((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    return end.join([b" ".join(line), *headers]) + end * 2


def http_head(data: bytes) -> None:
    """A head is refused, or means the same to gateway and web server: one request without a body."""
    material = Material(data)
    raw = bytearray(material.rest() if material.byte() % 2 else _head(material))
    try:
        size = head_end(raw, LIMITS)
        for part in range(0, size - 1, 37):
            assert not head_end(raw[:part], LIMITS)
        if not size:
            return
        head = parse_head(bytes(raw[:size]), LIMITS)
    except HeadError as error:
        _check_refusal(error)
        return
    assert size <= LIMITS.head_bytes_max
    assert head.path.startswith("/")
    assert len(head.headers) <= LIMITS.headers_max
    plain = head.plain()
    again = parse_head(plain, HeadLimits(4096, 16_384, 64))
    assert (again.method, again.target, again.version) == (head.method, head.target, head.version)
    if head.method in METHODS:
        _check_one_request(plain)


def _check_refusal(error: HeadError) -> None:
    assert error.status in STATUSES
    assert error_response(error).startswith(b"HTTP/1.1 %d " % error.status)


def _check_one_request(plain: bytes) -> None:
    """aiohttp, which serves what the gateway passes on, sees one request, no body, and nothing after it."""
    loop = _Loop()
    parser = HttpRequestParser(BaseProtocol(cast("Any", loop)), cast("Any", loop), 2**16)
    try:
        messages, upgraded, tail = parser.feed_data(plain)
    except (HttpProcessingError, ValueError):
        return  # answered by 400, and the connection ends
    assert len(messages) == 1
    assert not upgraded
    assert not tail
    message, _ = messages[0]
    assert not message.chunked
    assert message.headers.get("Content-Length", "0").strip("0") == ""


# --- handshakes ---------------------------------------------------------------------------------------------

_KEY: Final = base64.b64encode(b"the sample nonce")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT: Final = base64.b64encode(hashlib.sha1(_KEY + _GUID, usedforsecurity=False).digest()).decode()
_GOOD: Final = (
    (b"Host", (b"h",)),
    (b"Upgrade", (b"websocket", b"WebSocket", b"h2c, websocket", b"x")),
    (b"Connection", (b"Upgrade", b"keep-alive, upgrade", b"close")),
    (b"Sec-WebSocket-Key", (_KEY, b"short", b"")),
    (b"Sec-WebSocket-Version", (b"13", b"8", b"13, 8")),
)
_PROTOCOLS: Final = (
    b"depthcast.v1.json", b"depthcast.v1.msgpack", b"other", b"depthcast.v1.json, other", b"a b", b",",
)  # fmt: skip
_DEFLATE: Final = b"permessage-deflate"
_OFFERS: Final = (
    _DEFLATE, _DEFLATE + b"; client_max_window_bits", _DEFLATE + b"; server_max_window_bits=15", b"x-other",
    _DEFLATE + b"; server_max_window_bits", _DEFLATE + b"; client_max_window_bits=16", _DEFLATE + b'; a="b',
    _DEFLATE + b"; server_no_context_takeover; server_no_context_takeover", b"\xff", b";", b"=",
)  # fmt: skip
_AGREED: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def _shaken(raw: bytes, deflate: bool) -> tuple[Handshake, list[str]]:
    head = parse_head(raw, HeadLimits(4096, 16_384, 64))
    protocol = Handshake(deflate=deflate, max_size=MESSAGE_BYTES_MAX)
    return protocol, shake(protocol, raw, head, "name").decode("iso-8859-1").split("\r\n")


def handshake(data: bytes) -> None:
    """A handshake is refused, or answered by the letter, with what both ends speak."""
    material = Material(data)
    lines = [b"GET /v1/ws HTTP/1.1"]
    for name, values in _GOOD:
        kind = material.below(16)
        if kind != 15:
            lines.append(name + b": " + (values[0] if kind < 13 else material.choose(values)))
        if kind == 14:
            lines.append(name + b": " + material.choose(values))
    offers = [b"Sec-WebSocket-Extensions: " + material.choose(_OFFERS) for _ in range(material.below(4))]
    protocols = [b"Sec-WebSocket-Protocol: " + material.choose(_PROTOCOLS) for _ in range(material.below(3))]
    if material.chance(40):
        offers.append(b"Sec-WebSocket-Extensions: " + material.chunk().replace(b"\r\n\r\n", b""))
    raw = b"\r\n".join([*lines, *offers, *protocols]) + b"\r\n\r\n"
    try:
        protocol, answered = _shaken(raw, deflate=True)
    except HeadError as error:
        _check_refusal(error)
        return
    assert answered[0] == "HTTP/1.1 101 Switching Protocols"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in answered[1:-2])}
    assert headers["sec-websocket-accept"] == _ACCEPT
    extension = headers.get("sec-websocket-extensions")
    assert extension in (None, _AGREED, f"{_AGREED}; server_max_window_bits=15")
    assert bool(protocol.extensions) == (extension is not None)
    spoken = headers.get("sec-websocket-protocol")
    assert spoken is None or (spoken in SUBPROTOCOLS and spoken.encode() in b"".join(protocols))


# --- who connects -----------------------------------------------------------------------------------------

_ADDRESSES: Final = (
    "10.0.0.1", "10.0.0.2", "1.2.3.4", "::1", "[2001:db8::1]:5", "::ffff:1.2.3.4", "1.2.3.4:80",
    "fe80::1%eth0", "x", "", "1.2.3.4, 10.0.0.1", "01.2.3.4", "[", "unknown", ",",
)  # fmt: skip
_TRUSTED: Final = parse_networks("10.0.0.0/8, fd00::/8")
_ORIGINS: Final = Origins("self, https://good.example, null")
_HOSTS: Final = ("h", "h:80", "h:443", "good.example", "[::1]:5", "", "a@b", "H", "h:99999")


def peers(data: bytes) -> None:
    """Only trusted proxies say for whom they connect, and only allowed origins are let in."""
    material = Material(data)
    raw = SIGNATURE + (material.chunk() if material.chance(128) else _proxy_header(material))
    try:
        found = parse_proxy(raw)
        if found is not None:
            assert len(SIGNATURE) < found.size <= len(raw)
            assert all(parse_proxy(raw[:size]) is None for size in range(len(SIGNATURE), found.size, 7))
            assert key_of(found.address) is None or len(str(key_of(found.address))) < 50
    except HeadError as error:
        _check_refusal(error)
    said = material.items(lambda: material.text() if material.chance(60) else material.choose(_ADDRESSES), 4)
    peer = parse_address(material.choose(_ADDRESSES))
    client = forwarded_for(said, peer, _TRUSTED)
    name = taken_over(said)
    assert name is None or (name in said and len(header_line(name).split()) == 2)
    named = [parse_address(item) for item in ",".join(said).split(",")]
    assert client == peer or client in named
    if client != peer and not is_trusted(client, _TRUSTED):
        last = len(named) - 1 - named[::-1].index(client)
        assert all(is_trusted(address, _TRUSTED) for address in named[last + 1 :])
    host = material.choose(_HOSTS)
    page = material.text() if material.chance(60) else f"{material.choose(('http', 'https', 'x'))}://{host}"
    if _ORIGINS.allow(page, host) and page.strip().lower() != "null":
        assert Origin.parse(page) in (Origin.parse("https://good.example"), *_own(host))
    presented_token(Head("GET", "/?" + material.text(), "HTTP/1.1", (("authorization", material.text()),)))


def _own(host: str) -> list[Origin | None]:
    return [Origin.parse(f"{scheme}://{host}") for scheme in ("http", "https", "x")]


def _proxy_header(material: Material) -> bytes:
    addresses = material.take(material.choose((12, 36, 4, 216)))
    length = len(addresses) if material.chance(200) else material.byte() * 20
    family = material.choose((0x11, 0x21, 0x00, 0x12, 0x31))
    return bytes([material.choose((0x21, 0x20, 0x22, 0x11)), family]) + length.to_bytes(2, "big") + addresses


# --- frames -------------------------------------------------------------------------------------------------

MESSAGE_BYTES_MAX: Final = 300
SETTINGS: Final = GatewaySettings(message_bytes_max=MESSAGE_BYTES_MAX)
CALLS_MAX: Final = 20_000
_REQUEST: Final = b"\r\n".join(
    (b"GET /v1/ws HTTP/1.1", *(name + b": " + values[0] for name, values in _GOOD), b"", b"")
)
_DEFLATING: Final = _REQUEST[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


class _Loop:
    """An event loop as far as a connection needs one: nothing runs by itself, and no time passes."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], object]] = deque()
        self.calls = 0

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[None]":
        return asyncio.Future(loop=cast("Any", self))

    def call_soon(self, callback: Callable[..., object], *arguments: Any, context: Any = None) -> None:
        self.soon.append(lambda: callback(*arguments))

    def call_later(self, _delay: float, _callback: Callable[..., object], *_arguments: Any) -> "_Loop":
        return self

    def cancel(self) -> None:
        """A timer of this loop is the loop itself; none ever fires."""

    def run(self) -> None:
        while self.soon:
            self.calls += 1
            assert self.calls < CALLS_MAX, "a connection keeps the loop busy without end"
            self.soon.popleft()()


class _Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.written += data

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True


class _Listener(WebSocket):
    """A connection that keeps its messages."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.got: list[str | bytes] = []

    def message(self, data: str | bytes) -> Iterator[None]:
        yield
        self.got.append(data)


UNFINISHED: Final = frozenset({0, 1002, 1007, 1009})
"""Codes that fit an unfinished frame: what has come of it may break a rule already."""


class _Read(NamedTuple):
    """What the model makes of a client's bytes: messages, and the close codes that fit.

    Where several rules are broken at once, the code of each fits. 0: no close.
    """

    messages: list[str | bytes]
    codes: frozenset[int]


def _frame(material: Material) -> bytes:
    opcode = material.choose((1, 2, 0, 8, 9, 10, 1, 2, 0, 3))
    first = opcode | (0x80 if material.chance(200) else 0)
    odd = material.byte()
    if odd > 245:
        first |= material.choose((0x40, 0x20, 0x10))
    payload = material.choose(
        (b"", b"{}", b"\xc3\xa9", b"\xff", b"\xc3", b"\x03\xe8", b"\x03\xee", b"x" * 130, b"y" * 299)
    )
    if material.chance(60):
        payload = material.chunk()
    if odd > 250 and not opcode & 8:
        packed = zlib.compressobj(wbits=-15)
        payload = (packed.compress(payload * 3) + packed.flush(zlib.Z_SYNC_FLUSH))[:-4]
    size, form = len(payload), material.byte()
    if size < 126 and form < 250:
        length = bytes([0x80 | size])
    elif form < 253:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    key = material.take(4).ljust(4, b"\x00")
    if odd == 240:
        return bytes([first, length[0] & 0x7F]) + length[1:] + payload
    return bytes([first]) + length + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def _modelled(data: bytes) -> _Read:  # noqa: C901, PLR0911, PLR0912  # the rules of RFC 6455, one after the other
    """Read frames by RFC 6455, without compression."""
    messages: list[str | bytes] = []
    at, parts, kind = 0, b"", 0
    while at < len(data):
        if len(data) - at < 2:
            return _Read(messages, UNFINISHED)
        first, second = data[at], data[at + 1]
        opcode, fin, size = first & 15, first & 0x80, second & 0x7F
        if opcode not in (0, 1, 2, 8, 9, 10) or first & 0x70 or not second & 0x80:
            return _Read(messages, frozenset({1002}))
        if opcode & 8 and not (fin and size < 126):
            return _Read(messages, frozenset({1002}))
        more = {126: 2, 127: 8}.get(size, 0)
        start = at + 2 + more + 4
        if len(data) < start:
            return _Read(messages, UNFINISHED)
        if more:
            size = int.from_bytes(data[at + 2 : at + 2 + more], "big")
            if size < {2: 126, 8: 65_536}[more]:
                return _Read(messages, frozenset({1002}))
        if size > MESSAGE_BYTES_MAX:
            return _Read(messages, frozenset({1009}))
        if len(data) < start + size:
            return _Read(messages, UNFINISHED)
        key = data[start - 4 : start]
        payload = bytes(byte ^ key[place % 4] for place, byte in enumerate(data[start : start + size]))
        at = start + size
        if opcode == 8:
            unfinished = {1002} if kind else set()  # the RFC leaves open whether that is an error
            return _Read(messages, _closed_with(payload) | unfinished)
        if opcode & 8:
            continue
        broken = {1002} if (opcode == 0) != bool(kind) else set()
        if len(parts) + len(payload) > MESSAGE_BYTES_MAX:
            broken.add(1009)
        if broken:
            return _Read(messages, frozenset(broken))
        kind = kind or opcode
        parts += payload
        text = ""
        try:
            text = parts.decode() if kind == 1 else ""
        except UnicodeDecodeError as error:
            if fin or error.reason != "unexpected end of data":
                return _Read(messages, frozenset({1007}))
        if fin:
            messages.append(text if kind == 1 else parts)
            parts, kind = b"", 0
    return _Read(messages, frozenset({0}))


def _closed_with(payload: bytes) -> frozenset[int]:
    if not payload:
        return frozenset({1005})
    code = int.from_bytes(payload[:2], "big")
    broken = set()
    if len(payload) == 1 or not (code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000):
        broken.add(1002)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        broken.add(1007)
    return frozenset(broken or {code})


def frames(data: bytes) -> None:
    """A connection makes of any bytes, in any pieces, the messages and the close code of the RFC."""
    material = Material(data)
    deflating, raw, cut = material.chance(60), material.chance(80), 1 + material.byte()
    sent = material.rest() if raw else b""
    while not raw and material.left and len(sent) < 4000:
        sent += _frame(material)
    loop, wire = _Loop(), _Wire()
    asyncio._set_running_loop(cast("Any", loop))
    try:
        protocol, _ = _shaken(_DEFLATING if deflating else _REQUEST, deflate=deflating)
        intake = Intake(cast("Any", loop), SETTINGS, loop.time)
        connection = _Listener(protocol, wire, SETTINGS, GatewayCounters(), intake)
        for at in range(0, len(sent), cut):
            connection.data_received(sent[at : at + cut])
            loop.run()
        said = connection.closing
        connection.connection_lost(None)
        loop.run()
    finally:
        asyncio._set_running_loop(None)
    assert connection._held == 0
    assert not intake.queue
    assert said is None or said in set(CloseCode) | set(range(3000, 5000))
    for message in connection.got:
        assert len(message if isinstance(message, bytes) else message.encode()) <= MESSAGE_BYTES_MAX
    if deflating:
        return
    read = _modelled(sent)
    assert connection.got == read.messages
    assert (said or 0) in read.codes


_MANY_FRAMES: Final = b"\xff\xff\x07" + b"\x00\x00\x00\x01\xff\x00\x01\x02\x03\x04" * 4
_TWO_FRAMES: Final = b"\xff\x00\xff\x81\x82\x01\x02\x03\x04zz\x88\x80\x01\x02\x03\x04"

TARGETS: Final = (
    Target(
        "http_head", http_head, "HeadError, or one request to both parsers",
        (
            b"\x01GET /v1/ws?x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
            b"\x00\x00\x01\x00\x02\x00\x00\x00\x05\x00\x01",
        ),
    ),
    Target(
        "handshake", handshake, "HeadError, or an answer by the letter",
        (b"\x00" * 5 + b"\x01\x00\x01\x00", b"\x00" * 5 + b"\x03\x01\x05"),
    ),
    Target(
        "peers", peers, "the address a trusted proxy names, and pages of allowed origins only",
        (b"\x00\x00\x0c" + bytes(12) + b"\xff\x00" * 8, b"\xff\x00\xff" * 12),
    ),
    Target(
        "frames", frames, "the messages and the close code of RFC 6455", (_MANY_FRAMES, _TWO_FRAMES),
    ),
)  # fmt: skip
