"""The version of the wire contract that this program speaks (`docs/protocol.md`)."""

from typing import Final

PROTOCOL: Final = 1
"""Stored in the deployment's `meta` and sent in `welcome`; another number is refused."""
