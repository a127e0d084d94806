"""The WebSocket protocol as data: requests, messages, frames, close codes (`docs/protocol.md`, section 3).

Nothing here knows a session or a book; what a request does is decided in `depthcast.gateway.delivery`.
"""
