"""What the WebSocket client needs of a connection; `depthcast.client.websocket` makes the real ones."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol


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
