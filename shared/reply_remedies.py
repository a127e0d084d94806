"""What to do about each error reply of Redis, in a few words; `docs/operations.md` has the whole table."""

import re
from collections.abc import Mapping
from typing import Final

_MIGRATED: Final = (
    "a slot of the cluster is being moved: run the command again, or finish the move "
    "(redis-cli --cluster fix)"
)
_LOGIN: Final = (
    "set DEPTHCAST_REDIS_USERNAME and DEPTHCAST_REDIS_PASSWORD (or its _FILE) as the server has them"
)
_REPLICA: Final = "the server is a replica: name the master, or the sentinels, in DEPTHCAST_REDIS_URL"
_AGAIN: Final = "nothing is wrong: run the command again"
_REPORT: Final = (
    "the server is of another kind or version than Depthcast knows, or the command was renamed: see the "
    "check version of depthcast doctor, or report it"
)

REMEDIES: Final[Mapping[str, str]] = {
    "ASK": _MIGRATED,
    "BUSY": "a script runs for long: find out whose it is, SCRIPT KILL ends it; then run the command again",
    "CLUSTERDOWN": "nobody owns the slot: bring its server or a replica back, then run the command again",
    "CROSSSLOT": "the server belongs to a cluster: begin the address with redis+cluster://",
    "EXECABORT": _AGAIN,
    "LOADING": "the server reads its file after a start: run the command again in a moment",
    "MASTERDOWN": _REPLICA,
    "MISCONF": "the server cannot write its file: check its disk, then run the command again",
    "MOVED": (
        "the slot is at another server now: run the command again, or begin the address with "
        "redis+cluster:// if it names one server of a cluster"
    ),
    "NOAUTH": _LOGIN,
    "NOPERM": "the user lacks a right: allow it (ACL SETUSER; depthcast redis-acl prints what to allow)",
    "NOREPLICAS": "fewer replicas than min-replicas-to-write are connected: start them again",
    "NOSCRIPT": _AGAIN,
    "OOM": "memory is full: raise maxmemory, or find out who fills it; then run the command again",
    "READONLY": _REPLICA,
    "TRYAGAIN": _MIGRATED,
    "UNBLOCKED": _AGAIN,
    "UNKILLABLE": _AGAIN,
    "WRONGPASS": _LOGIN,
    "WRONGTYPE": "find out what wrote the key, and delete it (DEL)",
}
"""By the first word of a reply."""

UNKNOWN: Final = "no remedy is known: look at the server's own log, and run the command again"

UNREACHED: Final = "see that the server runs, and that DEPTHCAST_REDIS_URL or --redis-url names it"
"""Where no error reply came."""

_ERR: Final = (
    ("max number of clients", "raise maxclients, or find out whose connections they are: CLIENT LIST"),
    ("AUTH", _LOGIN),
)
"""Of replies that begin with ERR: a part of the text, and what to do."""

NO_MASTER: Final = "no sentinel names a master of"
"""Begins the text of what sentinels replied, each by its address."""

NOT_WATCHED: Final = "watches no such master"
DOWN: Final = "takes it for down"
"""What a sentinel knows of the master."""

_OF_SENTINELS: Final = (
    (
        ("NOAUTH", "WRONGPASS", "AUTH"),
        "set sentinel_username and sentinel_password in DEPTHCAST_REDIS_URL (…?sentinel_password=…)",
    ),
    (("NOPERM",), "the sentinels' user lacks a right: allow it there (ACL SETUSER … +sentinel|masters)"),
    (
        ("unknown command",),
        "no sentinel listens there: name the port of the sentinels (26379), or begin the address with redis://",
    ),
    ((NOT_WATCHED,), "name a master that the sentinels watch, after the / of the address"),
    ((DOWN,), "start the master again, or let the sentinels promote a replica (SENTINEL FAILOVER)"),
    (("LOADING", "IDONTKNOW"), "the sentinels are not ready: run the command again in a moment"),
    (("replied ",), "what replies there is no sentinel of a kind that Depthcast knows: see its own log"),
)
"""Of replies of sentinels: parts of the text, and what to do."""

_NO_SENTINEL: Final = (
    "see that the sentinels run, that DEPTHCAST_REDIS_URL or --redis-url names them, and that it begins with "
    "rediss+sentinel:// if, and only if, they use TLS"
)

_BECAUSE_OF_ANOTHER: Final = ("ASK", "EXECABORT", "MOVED")
"""Where a text has a further reply after one of these, that one is the cause."""

_CODE: Final = re.compile(rf"\b({'|'.join(REMEDIES)})\b")


def remedy_of(reply: str) -> str:
    """What to do about an error reply, or about a text that quotes one; never empty."""
    if NO_MASTER in reply:
        return next(
            (remedy for parts, remedy in _OF_SENTINELS if any(each in reply for each in parts)), _NO_SENTINEL
        )
    codes = _CODE.findall(reply)
    if codes:
        # A transaction is discarded because of another reply, and a redirection leads to a server's own.
        return REMEDIES[codes[-1] if codes[0] in _BECAUSE_OF_ANOTHER else codes[0]]
    for part, remedy in _ERR:
        if part in reply:
            return remedy
    return _REPORT if re.search(r"\bERR\b", reply) else UNKNOWN


def quotes_reply(text: str) -> bool:
    """Return whether a text has an error reply in it that is known, or says what sentinels replied."""
    return NO_MASTER in text or _CODE.search(text) is not None or re.search(r"\bERR\b", text) is not None
