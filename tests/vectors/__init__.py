"""Vectors: conversations that any client's tests can play, as JSON lines in `docs/vectors`.

`python -m tests.vectors` writes them. The gateway's messages in them are a real gateway's, the entries a real
engine's; what a reader must hold then is computed from the book by sorting, not by a client.
"""
