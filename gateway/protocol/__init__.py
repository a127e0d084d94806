"""The WebSocket protocol as data: requests, messages, frames, close codes (`docs/protocol.md`, section 3).

Nothing here knows about sessions or books; `depthcast.gateway.delivery` carries out requests.
"""
