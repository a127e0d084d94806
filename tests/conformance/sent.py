"""Names for what is refused at a time: a command, and the kind of the key that it names first."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from depthcast.shared.runtime.cluster import first_key
from tests.conformance.error_replies import name_of

_KEY: Final = re.compile(r"(?:\{[^}]*\}|[^{:]*):([a-z]+)")
_KEYLESS: Final = ("AUTH", "SELECT", "MULTI", "EXEC", "UNWATCH", "EVAL")


def sent(words: Sequence[bytes]) -> str:
    """The name of a command with its key, such as `HGETALL meta`."""
    text = [word.decode("utf-8", "replace") for word in words]
    key = None
    with suppress(LookupError, ValueError, StopIteration):
        key = None if text[0].upper() in _KEYLESS else first_key(text)
    found = _KEY.match(str(key)) if key is not None else None
    return f"{name_of(words)} {found[1]}" if found else name_of(words)
