"""The list of revoked tokens in Redis (`docs/protocol.md`, section 2): its members, and their meaning."""

from collections.abc import Iterable
from typing import Final, NamedTuple

REVOKED_MAX: Final = 10_000
"""Entries that are read and may be written: the list is for tokens that must end before they expire."""
NAME_CHARACTERS_MAX: Final = 256
TOKEN_ID: Final = "jti:"  # noqa: S105  # the claim of that name
SUBJECT: Final = "sub:"


class Revoked(NamedTuple):
    """Revoked tokens: all those of `subjects`, and those whose `jti` is in `token_ids`."""

    subjects: frozenset[str | None] = frozenset()
    token_ids: frozenset[str | None] = frozenset()


NOBODY: Final = Revoked()


def member(kind: str, name: str) -> str:
    """Return the member of the list for a name; `kind` is `TOKEN_ID` or `SUBJECT`."""
    return kind + name


def parse_members(members: Iterable[bytes]) -> Revoked:
    """Return what members of the list revoke; those of another form stand for nothing."""
    texts = [raw.decode("utf-8", "replace") for raw in members]
    return Revoked(_named(SUBJECT, texts), _named(TOKEN_ID, texts))


def _named(kind: str, texts: Iterable[str]) -> frozenset[str | None]:
    return frozenset(text.removeprefix(kind) for text in texts if text.startswith(kind))
