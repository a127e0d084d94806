"""The connection that the WebSocket client needs, as an interface; `depthcast.client.websocket` makes real ones."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from depthcast.shared.close_codes import closing


class ConnectionLost(Exception):
    """The connection ended with close code `code`. The client catches it and decides whether to connect again."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.closing = closing(code)
        self.reason = reason
        super().__init__(f"closed with {code}, {self.closing.meaning}" + (f": {reason}" if reason else ""))


class Transport(Protocol):
    """A connection to a gateway, as decoded messages. Tests wrap it to drop, repeat, reorder, delay or spoil them."""

    async def receive(self) -> Mapping[str, Any]:
        """The next message; raises `ConnectionLost`. Cancelling it loses nothing."""
        ...

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; raises `ConnectionLost`."""
        ...

    async def close(self) -> None:
        """End the connection; harmless when repeated."""
        ...


Dial = Callable[[], Awaitable[Transport]]
"""Makes a connection; raises `ConnectionLost` when trying again may help, `ClientError` when it will not."""
