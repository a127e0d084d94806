"""What a token allows: its claims as a `Grant` (`docs/protocol.md`, section 3.7).

Signature, times, audience and issuer were checked before (`depthcast.gateway.runtime.token_check`). A claim
that is not understood is never ignored: it may be a limit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from depthcast.gateway.protocol.messages import UNGROUPED
from depthcast.gateway.protocol.requests import WILDCARD, quoted
from depthcast.shared.revocation import NAME_CHARACTERS_MAX, Revoked

CLAIM: Final = "depthcast"
"""The claim of a token with everything that only this gateway understands."""
KEYS: Final = ("symbols", "depth_max", "interval_min_ms", "connections_max", "metrics")
STARS_MAX: Final = 32
"""Patterns with a `*` are tried one after the other for each symbol; names are looked up."""
EXPIRES_S_MAX: Final = 253_402_300_799
"""The end of the year 9999."""
_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{0,32}\*?[A-Za-z0-9._-]{0,32}")
_COUNT_MAX: Final = 2**53 - 1


class TokenRefused(Exception):
    """A token that is not accepted: the protocol's `code`, and a text in which nothing of the token is."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class Pattern(NamedTuple):
    """Symbols that begin and end with these texts, between which a `*` stood."""

    begin: str
    end: str

    def fits(self, symbol: str) -> bool:
        return (
            len(symbol) >= len(self.begin) + len(self.end)
            and symbol.startswith(self.begin)
            and symbol.endswith(self.end)
        )


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be read: symbols by name or pattern, up to a depth (levels), no oftener than an interval."""

    names: frozenset[str] = frozenset()
    patterns: tuple[Pattern, ...] = ()
    depth_max: int | None = None
    interval_min_ms: int = 0
    metrics: bool = False

    @property
    def all_symbols(self) -> bool:
        return Pattern("", "") in self.patterns

    def may_read(self, symbol: str) -> bool:
        return symbol in self.names or any(pattern.fits(symbol) for pattern in self.patterns)

    def refusal(self, symbol: str, depth: int, group_ticks: int = UNGROUPED) -> str | None:
        """Why a view must not be read; None if it may. It never says whether there is such a symbol."""
        if not self.may_read(symbol):
            return f"the token does not allow {quoted(symbol)}"
        return self.limit(depth, group_ticks)

    def limit(self, depth: int, group_ticks: int = UNGROUPED) -> str | None:
        """Why no symbol may be read so deep, 0 being the full book; None if those that may be read, may."""
        if self.depth_max is None:
            return None
        if group_ticks != UNGROUPED:
            return f"the token allows {self.depth_max} levels, and a group sums up more; leave out group"
        if not 0 < depth <= self.depth_max:
            return f"the token allows a depth of up to {self.depth_max}, not {depth or 'the full book'}"
        return None


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of one token, whose it is, and how long it holds (µs since 1970; None: for ever).

    `connections_max`: WebSockets and event streams of the same subject, for each worker.
    """

    rights: Rights
    subject: str | None = None
    token_id: str | None = None
    expires_us: int | None = None
    connections_max: int | None = None

    def is_revoked(self, revoked: Revoked) -> bool:
        return self.subject in revoked.subjects or self.token_id in revoked.token_ids


EVERYTHING: Final = Grant(Rights(patterns=(Pattern("", ""),), metrics=True))
"""Of everybody, where no token is asked for."""


def grant_of(claims: Mapping[str, Any]) -> Grant:
    """Return what claims allow; raises `TokenRefused` unless every one of ours is understood."""
    table = claims.get(CLAIM)
    if not isinstance(table, Mapping):
        raise _wrong(f"has no claim {CLAIM}, a map with symbols")
    unknown = [key for key in table if key not in KEYS]
    if unknown:
        raise _wrong(f"has {quoted(unknown[0])} in the claim {CLAIM}; known are {', '.join(KEYS)}")
    names, patterns = _symbols(table.get("symbols"))
    metrics = table.get("metrics", False)
    if not isinstance(metrics, bool):
        raise _wrong(f"has {CLAIM}.metrics that is neither true nor false")
    rights = Rights(
        names,
        patterns,
        _count(table, "depth_max", 1),
        _count(table, "interval_min_ms", 0) or 0,
        metrics,
    )
    connections_max = _count(table, "connections_max", 1)
    subject, token_id = _name(claims, "sub"), _name(claims, "jti")
    if subject is None:
        raise _wrong("has no sub, whose it is")
    return Grant(rights, subject, token_id, _expires_us(claims), connections_max)


def _symbols(listed: Any) -> tuple[frozenset[str], tuple[Pattern, ...]]:
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise _wrong(f'has no {CLAIM}.symbols, a list of names and patterns such as ["BTC-*"]')
    names, patterns = set(), []
    for item in listed:
        if not isinstance(item, str) or not item or not _PATTERN.fullmatch(item):
            raise _wrong(f"has in {CLAIM}.symbols {quoted(item)}, no name with at most one *")
        begin, star, end = item.partition(WILDCARD)
        if star:
            patterns.append(Pattern(begin, end))
        else:
            names.add(item)
    if len(patterns) > STARS_MAX:
        raise _wrong(f"has more than {STARS_MAX} patterns with a * in {CLAIM}.symbols")
    return frozenset(names), tuple(patterns)


def _count(table: Mapping[str, Any], key: str, least: int) -> int | None:
    if key not in table:
        return None
    value = table[key]
    if type(value) is not int or not least <= value <= _COUNT_MAX:
        raise _wrong(f"has {CLAIM}.{key} that is no whole number from {least}")
    return value


def _name(claims: Mapping[str, Any], key: str) -> str | None:
    if key not in claims:
        return None
    value = claims[key]
    if not isinstance(value, str) or not 1 <= len(value) <= NAME_CHARACTERS_MAX:
        raise _wrong(f"has {key} that is no text of up to {NAME_CHARACTERS_MAX} characters")
    return value


def _expires_us(claims: Mapping[str, Any]) -> int:
    value = claims.get("exp")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= EXPIRES_S_MAX:
        raise _wrong("has no exp, the time (s since 1970) at which it expires")
    return int(value * 1_000_000)


def _wrong(what: str) -> TokenRefused:
    return TokenRefused("unauthorized", f"the token {what}")
