"""Maps error replies of Redis, known or not, to errors of ours, and counts them.

A reply that is not known means "away": wait, and try again.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisError, ResponseError

from depthcast.shared.errors import RedisRefused, RedisUnavailable, WrongKey

CODES: Final = frozenset(
    (
        "ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "ERR", "EXECABORT", "LOADING", "MASTERDOWN", "MISCONF",
        "MOVED", "NOAUTH", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "UNBLOCKED",
        "UNKILLABLE", "WRONGPASS", "WRONGTYPE",
    )
)  # fmt: skip
"""First words of error replies that are counted by name; all others are counted as `OTHER_CODE`."""

OTHER_CODE: Final = "other"

counts: Final[Counter[str]] = Counter()
"""Error replies that this process got from Redis, by code. That there is no such key is an answer."""

ERRORS_TEXT: Final = "Error replies of Redis"
"""What the metric is."""

_IN_PIPELINE: Final = re.compile(
    r"Command # \d+ \((?P<command>.*)\) of pipeline caused error: \(['\"](?P<reply>.*)['\"],\)", re.DOTALL
)
"""The library's text of an error reply in a pipeline."""

_CODE: Final = re.compile(r"[A-Z]{3,}\b")

_MALFORMED: Final = re.compile(
    r"wrong number of arguments|unknown (?:sub)?command|syntax error|value is not|user_script|compiling",
    re.IGNORECASE,
)
"""Texts of replies to commands that no server accepts."""

_WRONG_TYPE: Final = re.compile(r"(?P<key>\S+) holds .*?(?= script: |\Z)")
"""What our scripts reply, after the code WRONGTYPE; the server adds the name of the script."""


def is_absent(text: str) -> bool:
    """Return whether a reply says that there is no such key, as that of `XINFO` for a stream to come."""
    return "no such key" in text.lower()


def totals() -> dict[str, int]:
    """Error replies by every code that is counted, those that never came included."""
    return {code: counts[code] for code in (*sorted(CODES), OTHER_CODE)}


def refusal(error: RedisError, key: str | None = None) -> RedisUnavailable:
    """The error of ours for one of the library's; counts it if it is an error reply.

    `key`: the command's key, which a reply about the type of its value does not name.
    """
    code, reply = getattr(error, "status_code", None), str(error)
    if code is None and not isinstance(error, ResponseError):
        return RedisUnavailable(reply or type(error).__name__)
    if (found := _IN_PIPELINE.fullmatch(reply)) is not None:
        key, reply = key_of(found["command"].split()) or key, found["reply"]
    if code is None:
        first = _CODE.match(reply)
        code = first[0] if first else "ERR"
    if not is_absent(reply):
        counts[code if code in CODES else OTHER_CODE] += 1
    if code == "WRONGTYPE":
        named = _WRONG_TYPE.search(reply)
        key = named["key"] if named else key
        if key is not None:
            return WrongKey(key, named[0] if named else f"{key} holds a value of another type than ours")
    text = reply if reply.startswith(code) else f"{code} {reply}"
    return RedisRefused(text, code, malformed=_MALFORMED.search(reply) is not None)


def key_of(command: Sequence[str | bytes | float]) -> str | None:
    """The only key of a command, None if it has several or is unknown."""
    name, *rest = (
        word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in command
    )
    if name == "XREAD":
        rest = rest[rest.index("STREAMS") + 1 :]
    elif name == "XINFO":
        rest = rest[1:]
    elif name in ("EVAL", "EVALSHA"):
        rest = rest[2:] if rest[1:2] == ["1"] else []
    return rest[0] if rest and not rest[0].endswith("...") else None
