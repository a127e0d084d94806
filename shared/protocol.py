"""The version of the wire contract (`docs/protocol.md`), and the names that contain it."""

from typing import Final

PROTOCOL: Final = 1
"""Stored in the deployment's `meta` and sent in `welcome`; another number is refused."""

SUBPROTOCOLS: Final = {"json": f"depthcast.v{PROTOCOL}.json", "msgpack": f"depthcast.v{PROTOCOL}.msgpack"}
"""WebSocket subprotocol of each encoding."""

WEBSOCKET_PATH: Final = f"/v{PROTOCOL}/ws"
"""Where a gateway serves WebSocket clients."""
