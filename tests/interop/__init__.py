"""WebSocket clients by others, each a small program, follow a moving market on a real gateway.

Every program takes the same arguments and says the same (`peers.py`).
"""
