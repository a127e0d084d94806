"""The connection that the WebSocket client needs; `depthcast.client.websocket` makes real ones."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from depthcast.shared.close_codes import closing


class ConnectionLost(Exception):
    """The connection ended with close code `code`; the client decides whether to connect again."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.closing = closing(code)
        self.reason = reason
        super().__init__(f"closed with {code}, {self.closing.meaning}" + (f": {reason}" if reason else ""))


class Transport(Protocol):
    """A connection that carries decoded messages. Tests wrap one to drop, repeat or corrupt them."""

    async def receive(self) -> Mapping[str, Any]:
        """Return the next message; raises `ConnectionLost`. Cancelling it loses no message."""
        ...

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; raises `ConnectionLost`."""
        ...

    async def close(self) -> None:
        """End the connection; repeated calls do nothing."""
        ...


Dial = Callable[[], Awaitable[Transport]]
"""Makes a connection; raises `ConnectionLost` if another attempt may succeed, else `ClientError`."""
