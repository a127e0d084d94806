"""The name of a request in `X-Request-ID`: which one of a proxy is taken over, and the line of an answer.

The caller asks only about requests of trusted proxies.
"""

import re
from collections.abc import Sequence
from typing import Final

HEADER: Final = "X-Request-ID"
CHARACTERS_MAX: Final = 128
"""Longer names are not taken over. A UUID has 36 characters, HAProxy's usual name about 50."""
_NAME: Final = re.compile(rf"[-._:+/=@0-9A-Za-z]{{1,{CHARACTERS_MAX}}}")
"""Nothing that would have to be escaped in a header, a line of a log or a query of one."""


def taken_over(values: Sequence[str]) -> str | None:
    """The name in the `X-Request-ID` headers of a request; None if there is not exactly one good one.

    Of several, one may be the client's own, which the proxy has passed on beside its own.
    """
    return values[0] if len(values) == 1 and _NAME.fullmatch(values[0]) else None


def header_line(name: str) -> str:
    """The line of an answer."""
    return f"{HEADER}: {name}"
