"""Decides from what a Redis server says of itself whether it would lose data, or refuse it.

Pure: `depthcast.shared.runtime.server_checks` asks the server.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

CHECKS: Final = ("version", "persistence", "eviction", "memory", "replica", "clock")

REDIS_LEAST: Final = (7, 0)
VALKEY_LEAST: Final = (7, 2)
MEMORY_MOST: Final = 0.9
"""Part of `maxmemory` that may be in use."""

_NUMBERS: Final = frozenset({"aof_enabled", "maxmemory", "used_memory", "master_last_io_seconds_ago"})
TEXT_MAX: Final = 200
"""A longer value of INFO is none."""

LAG_MOST_S: Final = 10
CLOCK_MOST_S: Final = 1.0
"""Clocks of servers and processes may differ by this much."""


def problems_of(info: Mapping[str, Any], behind_s: float) -> dict[str, str]:
    """For each check its problem with the remedy, empty if there is none or the server does not tell.

    `info`: the reply of INFO, parsed. `behind_s`: how far our clock is behind the server's.
    """
    info = {name: value for name, value in info.items() if _fits(name, value)}
    return {
        "version": _version(info),
        "persistence": _persistence(info),
        "eviction": eviction(info) or _eviction_later(info),
        "memory": _memory(info),
        "replica": _replica(info),
        "clock": _clock(behind_s),
    }


def _fits(name: str, value: object) -> bool:
    """Return whether a number is one, and a text short; what a server tells otherwise, it does not tell."""
    if name in _NUMBERS:
        return isinstance(value, int | float)
    return not isinstance(value, str) or len(value) <= TEXT_MAX


def eviction(info: Mapping[str, Any]) -> str:
    """The problem if the server may delete any of its keys when memory is full; else empty."""
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-") and info.get("maxmemory", 0):
        return (
            f"maxmemory-policy is {policy}: at the memory limit the server deletes books and input; "
            "set it to noeviction"
        )
    return ""


def _eviction_later(info: Mapping[str, Any]) -> str:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ""
    return f"maxmemory-policy is {policy}: a full server would delete keys; set it to noeviction"


def _version(info: Mapping[str, Any]) -> str:
    valkey = "valkey_version" in info
    text = str(info.get("valkey_version" if valkey else "redis_version", ""))
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        return ""
    name, least = ("Valkey", VALKEY_LEAST) if valkey else ("Redis", REDIS_LEAST)
    if (int(found[1]), int(found[2])) >= least:
        return ""
    return f"the server is {name} {text}: use Redis 7.0, Valkey 7.2 or a later one"


def _persistence(info: Mapping[str, Any]) -> str:
    if info.get("aof_enabled", 1) == 0:
        return "appendonly is off: a restarted server is empty or old; set appendonly to yes"
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if info.get(name, "ok") != "ok":
            return f"{name} is {info[name]}: the server cannot write its file; check its disk"
    return ""


def _memory(info: Mapping[str, Any]) -> str:
    most, used = info.get("maxmemory", 0), info.get("used_memory", 0)
    if not most or used <= MEMORY_MOST * most:
        return ""
    return (
        f"{used} of {most} bytes of memory are in use: raise maxmemory, or find out which stream grows; "
        "a full server refuses input and books"
    )


def _replica(info: Mapping[str, Any]) -> str:
    if info.get("role") == "slave":
        away = info.get("master_link_status", "up") != "up"
        quiet_s = info.get("master_last_io_seconds_ago", 0)
        if away or quiet_s > LAG_MOST_S:
            return "the server is a replica that has lost its master: check the link between them"
        return ""
    for name, replica in sorted(info.items()):
        if re.fullmatch(r"slave\d+", name) and isinstance(replica, Mapping) and _is_late(replica):
            where, state = f"{replica.get('ip')}:{replica.get('port')}", replica.get("state")
            return f"replica {where} is {state} and {replica.get('lag')} s behind: check it"
    return ""


def _is_late(replica: Mapping[str, Any]) -> bool:
    lag = replica.get("lag", 0)
    return replica.get("state") != "online" or (isinstance(lag, int | float) and lag > LAG_MOST_S)


def _clock(behind_s: float) -> str:
    if abs(behind_s) <= CLOCK_MOST_S:
        return ""
    word = "behind" if behind_s > 0 else "ahead of"
    return f"our clock is {abs(behind_s):.1f} s {word} the server's: synchronise both, for example by NTP"
