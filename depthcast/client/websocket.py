"""The WebSocket client's connections, made with aiohttp."""

import asyncio
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgpack
import orjson
from aiohttp import WSMsgType

from depthcast.client.token import Token, current
from depthcast.client.transport import ConnectionLost, Dial, Transport
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.errors import ClientError
from depthcast.shared.protocol import SUBPROTOCOLS, WEBSOCKET_PATH
from depthcast.shared.redis_url import without_credentials

DIAL_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
MESSAGE_BYTES_MAX: Final = 2**28
"""Longest message accepted: a length field must not decide how much memory is used."""

ADDRESS_FORM: Final = "http://127.0.0.1:8080 or ws://127.0.0.1:8080/v1/ws"
"""What an address of a gateway looks like, for errors."""

REFUSED: Final = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}
"""Error code for each HTTP status after which another attempt is useless."""


class WebSocketTransport:
    """One WebSocket connection and the HTTP session that opened it."""

    def __init__(
        self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, encoding: str
    ) -> None:
        self._http = http
        self._socket = socket
        self._encoding = encoding

    async def receive(self) -> Mapping[str, Any]:
        frame = await self._socket.receive()
        try:
            if frame.type is WSMsgType.TEXT:
                return _map(orjson.loads(frame.data))
            if frame.type is WSMsgType.BINARY:
                return _map(msgpack.unpackb(frame.data))
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise ClientError(
                "bad_message", f"a message of the gateway cannot be decoded: {error}"
            ) from error
        raise ConnectionLost(self._socket.close_code or CloseCode.LOST, _reason(frame))

    async def send(self, message: Mapping[str, Any]) -> None:
        try:
            if self._encoding == "json":
                await self._socket.send_str(orjson.dumps(message).decode())
            else:
                await self._socket.send_bytes(msgpack.packb(message))
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise ConnectionLost(self._socket.close_code or CloseCode.LOST, str(error)) from error

    async def close(self) -> None:
        try:
            await self._socket.close()
        finally:
            await self._http.close()


def dialer(url: str, encoding: str, token: Token = None, ssl: SSLContext | None = None) -> Dial:
    """Return a function that connects to `url`; raises `ClientError` for a bad URL or encoding.

    `ssl`: whom to trust, and the certificate to show, where not the default.
    """
    if encoding not in SUBPROTOCOLS:
        raise ClientError("bad_encoding", f"{encoding!r} is neither json nor msgpack")
    address = _address(url)

    async def dial() -> Transport:
        http = aiohttp.ClientSession(headers=await _authorization(token))
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                return WebSocketTransport(http, await _handshake(http, address, encoding, ssl), encoding)
        except BaseException as error:
            await http.close()
            if isinstance(error, aiohttp.ClientError | OSError):  # TimeoutError is an OSError
                shown, problem = without_credentials(address), str(error) or type(error).__name__
                if shown != address:
                    raise ConnectionLost(CloseCode.LOST, f"{shown}: {type(error).__name__}") from None
                raise ConnectionLost(CloseCode.LOST, f"{shown}: {problem}") from error
            raise

    return dial


async def _authorization(token: Token) -> dict[str, str]:
    try:
        presented = await current(token)
    except Exception as error:
        raise ConnectionLost(CloseCode.LOST, f"no token could be had: {type(error).__name__}") from error
    return {"Authorization": f"Bearer {presented}"} if presented else {}


async def _handshake(
    http: aiohttp.ClientSession, address: str, encoding: str, ssl: SSLContext | None
) -> aiohttp.ClientWebSocketResponse:
    try:
        socket = await http.ws_connect(
            address,
            protocols=(SUBPROTOCOLS[encoding],),
            max_msg_size=MESSAGE_BYTES_MAX,
            ssl=True if ssl is None else ssl,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
        )
    except aiohttp.WSServerHandshakeError as error:
        if error.status in REFUSED:
            shown = without_credentials(address)
            # The library's error has the whole address, and the token among the headers.
            raise ClientError(
                REFUSED[error.status], f"{shown} answers {error.status}: {error.message}"
            ) from None
        raise
    if socket.protocol != SUBPROTOCOLS[encoding]:
        await socket.close()
        shown = without_credentials(address)
        raise ClientError("bad_encoding", f"{shown} does not speak {SUBPROTOCOLS[encoding]}")
    return socket


def websocket_address(url: str) -> str | None:
    """Return the WebSocket address of the gateway at `url`; None if that is no address of a gateway."""
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address
        return None
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        return None
    return parts._replace(path=WEBSOCKET_PATH).geturl() if parts.path in ("", "/") else url


def _address(url: str) -> str:
    address = websocket_address(url)
    if address is None:
        raise ClientError("bad_url", f"{without_credentials(url)!r} is not like {ADDRESS_FORM}")
    return address


def _map(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a map, got {type(value).__name__}")
    return value


def _reason(frame: aiohttp.WSMessage) -> str:
    return str(frame.extra or "") if frame.type is WSMsgType.CLOSE else ""
