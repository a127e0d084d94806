"""Origins of web pages (RFC 6454), and which of them may use a gateway.

A browser says in `Origin` which page connects; programs say nothing. So an allow-list keeps pages of others
from using their visitors' connections, and no program.
"""

import re
from typing import Final, NamedTuple, Self

ANY: Final = "*"
SELF: Final = "self"
OPAQUE: Final = "null"
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::(\d{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Origin(NamedTuple):
    """A scheme, a host in lower case, and a port, None if the scheme has no default and none was said."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the origin in `text`, None if it is none."""
        found = _ORIGIN.fullmatch(text.strip().lower())
        if found is None:
            return None
        scheme, host, port = found.groups()
        return cls(scheme, host, int(port) if port else _PORTS.get(scheme))


class Origins:
    """The allow-list of a setting: `self`, `null`, `*` and origins, separated by commas.

    `self` allows pages that the gateway's own host serves. Raises `ValueError`.
    """

    def __init__(self, text: str) -> None:
        names = [item.strip().lower() for item in text.split(",") if item.strip()]
        self.any = ANY in names
        self.own = SELF in names
        self.opaque = OPAQUE in names
        self.listed: set[Origin] = set()
        for name in names:
            if name in (ANY, SELF, OPAQUE):
                continue
            origin = Origin.parse(name)
            if origin is None:
                raise ValueError(f"{name!r} is no origin such as https://example.com")
            self.listed.add(origin)

    def allow(self, text: str, host: str, scheme: str | None = None) -> bool:
        """Whether a page of the origin `text` may use the gateway that it knows as `host`.

        `scheme` is the one that the page used, where a proxy says it.
        """
        if self.any:
            return True
        if text.strip().lower() == OPAQUE:
            return self.opaque
        origin = Origin.parse(text)
        if origin is None:
            return False
        return origin in self.listed or (self.own and self._same(origin, host, scheme))

    def names(self, text: str) -> bool:
        """Whether the origin `text` is allowed by name, not only because it is the gateway's own."""
        return self.any or (self.opaque and text == OPAQUE) or Origin.parse(text) in self.listed

    @staticmethod
    def _same(origin: Origin, host: str, scheme: str | None) -> bool:
        if scheme is not None and scheme.lower() != origin.scheme:
            return False
        # Without a proxy that says more, the gateway knows no scheme: a port that is left out is the default
        # of the scheme that the page has.
        return Origin.parse(f"{origin.scheme}://{host}") == origin


_FRAMING: Final = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(:\d{1,5})?")


def frame_sources(text: str) -> str:
    """Return a setting's origins as the sources of `frame-ancestors` (Content Security Policy, level 3).

    `text` is empty for none, or has `self`, `*` and origins, separated by commas. Raises `ValueError`.
    """
    names = [item.strip().lower() for item in text.split(",") if item.strip()]
    for name in names:
        if name not in (ANY, SELF) and not _FRAMING.fullmatch(name):
            raise ValueError(f"{name!r} is no origin such as https://example.com")
    return " ".join("'self'" if name == SELF else name for name in names) or "'none'"
