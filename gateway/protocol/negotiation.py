"""The WebSocket handshake: what a client must say (RFC 6455, section 4), subprotocol and compression."""

import zlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from websockets.exceptions import NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.headers import parse_upgrade
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import ExtensionParameter, Subprotocol

from depthcast.gateway.protocol.frame_check import CONTROL_BYTES_MAX
from depthcast.gateway.protocol.http_head import Head, HeadError
from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.request_id import HEADER

VERSION: Final = "13"
_VERSION_HEADERS: Final = ("Upgrade: websocket", f"Sec-WebSocket-Version: {VERSION}")
_REFUSAL_HEADERS: Final = {405: ("Allow: GET",), 426: _VERSION_HEADERS}
SUBPROTOCOLS: Final = (Encoding.JSON.value, Encoding.MSGPACK.value)


class SharedDeflate(ServerPerMessageDeflateFactory):
    """Accepts compression only as shared frames allow it: without context takeover, with the full window.

    An offer that is invalid or wants a smaller window of the server is declined, and the next one is tried.
    """

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        response, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits != zlib.MAX_WBITS:
            raise NegotiationError("a smaller window than shared frames need")
        # A client may compress with less than it could; an inflater with the full window reads all.
        response = [parameter for parameter in response if parameter[0] != "client_max_window_bits"]
        return response, PerMessageDeflate(True, True, zlib.MAX_WBITS, zlib.MAX_WBITS)


class Handshake(ServerProtocol):
    """The library's protocol of a server, with this gateway's choices."""

    def __init__(self, *, deflate: bool, max_size: int | None = None, **options: Any) -> None:
        # The library counts a control frame within a message as a part of it; the exact limit is checked by
        # the connection.
        most = None if max_size is None else max_size + CONTROL_BYTES_MAX
        super().__init__(extensions=[SharedDeflate()] if deflate else None, max_size=most, **options)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """The first one that the client offers and the gateway speaks; none is no error."""
        return next((offered for offered in subprotocols if offered in SUBPROTOCOLS), None)

    def process_request(self, request: Request) -> tuple[str, str | None, str | None]:
        """Accept `websocket` among several upgrades, too (RFC 6455, section 4.2.1); the library does not."""
        headers = request.headers
        upgrades = [name for value in headers.get_all("Upgrade") for name in parse_upgrade(value)]
        if any(name.lower() == "websocket" for name in upgrades):
            del headers["Upgrade"]
            headers["Upgrade"] = "websocket"
        return super().process_request(request)

    def recv_frame(self, frame: Frame) -> None:
        """A close frame may leave a message unfinished (RFC 6455, section 5.4); the library fails there."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


def shake(protocol: Handshake, raw: bytes, head: Head, name: str) -> bytes:
    """Return the answer that opens the WebSocket; raises `HeadError` if the request does not ask for one.

    `raw` is the complete head that was parsed to `head`, `name` that of the request.
    """
    versions = head.values("sec-websocket-version")
    if versions and versions != [VERSION] and head.method == "GET":
        raise HeadError(426, "bad_request", f"WebSocket version {VERSION} is spoken here", _VERSION_HEADERS)
    protocol.receive_data(raw)
    requests = protocol.events_received()
    if not requests:
        raise HeadError(400, "bad_request", "the request is malformed")
    assert isinstance(requests[0], Request)
    response = protocol.accept(requests[0])
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        problem = f"no WebSocket: {protocol.handshake_exc}"
        headers = _REFUSAL_HEADERS.get(response.status_code, ())
        raise HeadError(response.status_code, "bad_request", problem, headers)
    response.headers[HEADER] = name
    protocol.send_response(response)
    return b"".join(protocol.data_to_send())
