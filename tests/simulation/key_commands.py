"""Commands on keys, strings, hashes and sorted sets."""

from collections.abc import Callable
from typing import Any, Final

from tests.simulation.data import Data, Hash, SortedSet
from tests.simulation.replies import OK, SYNTAX, Reply, ReplyError, Status, integer
from tests.simulation.streams import Stream

# --- keys and strings --------------------------------------------------------------------------------------


def _ping(_data: Data) -> Reply:
    return Status(b"PONG")


def _time(data: Data) -> Reply:
    now = data.clock_us()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


def _info(data: Data, *sections: bytes) -> Reply:
    replication = b"# Replication\r\n%bmaster_replid:%b\r\n" % (data.replication, data.replid)
    server = b"# Server\r\nrun_id:%b\r\n" % data.run_id
    known = {b"server": server, b"replication": replication}
    return b"".join(known.get(section, b"") for section in sections)


def _type(data: Data, key: bytes) -> Reply:
    names = {bytes: b"string", Hash: b"hash", SortedSet: b"zset", Stream: b"stream", type(None): b"none"}
    return Status(names[type(data.find(key, object))])


def _exists(data: Data, *keys: bytes) -> Reply:
    return sum(data.find(key, object) is not None for key in keys)


def _delete(data: Data, *keys: bytes) -> Reply:
    return sum([data.find(key, object) is not None and data.drop(key) for key in keys])


def _get(data: Data, key: bytes) -> Reply:
    return data.find(key, bytes)


def _mget(data: Data, *keys: bytes) -> Reply:
    found = [data.find(key, object) for key in keys]
    return [value if isinstance(value, bytes) else None for value in found]


def _set(data: Data, key: bytes, value: bytes, *options: bytes) -> Reply:
    words = iter(options)
    expiry_ms = None
    for word in words:
        option = word.upper()
        present = data.find(key, object) is not None
        if (option == b"NX" and present) or (option == b"XX" and not present):
            return None
        if option in (b"PX", b"EX"):
            expiry_ms = integer(next(words)) * (1000 if option == b"EX" else 1)
        elif option not in (b"NX", b"XX"):
            raise ReplyError(SYNTAX)
    data.drop(key)
    data.values[key] = value
    if expiry_ms is not None:
        data.expiries[key] = data.now_ms + expiry_ms
    return OK


def _getrange(data: Data, key: bytes, first: bytes, last: bytes) -> Reply:
    value = data.find(key, bytes) or b""
    ends = integer(first), integer(last)
    if max(ends) < 0 and ends[0] > ends[1]:
        return b""
    start, stop = (max(place + len(value), 0) if place < 0 else place for place in ends)
    return value[start : stop + 1]


def _pexpire(data: Data, key: bytes, milliseconds: bytes) -> Reply:
    if data.find(key, object) is None:
        return 0
    if integer(milliseconds) <= 0:
        data.drop(key)
    else:
        data.expiries[key] = data.now_ms + integer(milliseconds)
    return 1


def _pttl(data: Data, key: bytes) -> Reply:
    if data.find(key, object) is None:
        return -2
    if key not in data.expiries:
        return -1
    return data.expiries[key] - data.now_ms


def _flushall(data: Data, *_mode: bytes) -> Reply:
    data.clear()
    return OK


# --- hashes -----------------------------------------------------------------------------------------------


def _hset(data: Data, key: bytes, *pairs: bytes) -> Reply:
    table = data.find(key, Hash)
    if len(pairs) < 2 or len(pairs) % 2:
        raise ReplyError("ERR wrong number of arguments for 'hset' command")
    if table is None:
        table = data.values[key] = Hash()
    new = dict(zip(pairs[::2], pairs[1::2], strict=True))
    added = len(new.keys() - table.keys())
    table.update(new)
    return added


def _hsetnx(data: Data, key: bytes, name: bytes, value: bytes) -> Reply:
    if name in (data.find(key, Hash) or {}):
        return 0
    return _hset(data, key, name, value)


def _hget(data: Data, key: bytes, name: bytes) -> Reply:
    return (data.find(key, Hash) or {}).get(name)


def _hgetall(data: Data, key: bytes) -> Reply:
    # Servers promise no order, so fields never come in the order in which they were written.
    pairs = (data.find(key, Hash) or {}).items()
    return [part for pair in reversed(pairs) for part in pair]


def _hdel(data: Data, key: bytes, *names: bytes) -> Reply:
    return _remove(data, key, data.find(key, Hash), names)


# --- sorted sets ------------------------------------------------------------------------------------------


def _zadd(data: Data, key: bytes, *words: bytes) -> Reply:
    members = data.find(key, SortedSet)
    only = words[0].upper() if words[0].upper() in (b"NX", b"XX") else b""
    pairs = words[1:] if only else words
    if members is None:
        members = data.values[key] = SortedSet()
    added = 0
    for score, member in zip(pairs[::2], pairs[1::2], strict=True):
        present = member in members
        if not ((only == b"NX" and present) or (only == b"XX" and not present)):
            added += not present
            members[member] = float(score)
    return added


def _zrem(data: Data, key: bytes, *names: bytes) -> Reply:
    return _remove(data, key, data.find(key, SortedSet), names)


def _zcard(data: Data, key: bytes) -> Reply:
    return len(data.find(key, SortedSet) or ())


def _zscore(data: Data, key: bytes, member: bytes) -> Reply:
    score = (data.find(key, SortedSet) or {}).get(member)
    return None if score is None else _number(score)


def _zrange(data: Data, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
    words = {word.upper() for word in options}
    if b"BYSCORE" in words:
        return _zrangebyscore(data, key, first, last, *(words - {b"BYSCORE"}))
    ordered = (data.find(key, SortedSet) or SortedSet()).ordered()
    start, stop = (place + len(ordered) if place < 0 else place for place in (integer(first), integer(last)))
    return _members(ordered[max(start, 0) : max(stop, -1) + 1], words)


def _zrangebyscore(data: Data, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
    ordered = (data.find(key, SortedSet) or SortedSet()).ordered()
    chosen = [item for item in ordered if _within(item[0], first, last)]
    return _members(chosen, {word.upper() for word in options})


def _zcount(data: Data, key: bytes, first: bytes, last: bytes) -> Reply:
    return len(_zrangebyscore(data, key, first, last))


def _zremrangebyscore(data: Data, key: bytes, first: bytes, last: bytes) -> Reply:
    return _remove(data, key, data.find(key, SortedSet), tuple(_zrangebyscore(data, key, first, last)))


def _members(chosen: list[tuple[float, bytes]], words: set[bytes]) -> Reply:
    if b"WITHSCORES" not in words:
        return [member for _, member in chosen]
    return [part for score, member in chosen for part in (member, _number(score))]


def _within(score: float, first: bytes, last: bytes) -> bool:
    low, high = float(first.lstrip(b"(")), float(last.lstrip(b"("))
    above = score > low if first.startswith(b"(") else score >= low
    below = score < high if last.startswith(b"(") else score <= high
    return above and below


def _number(score: float) -> bytes:
    return b"%d" % int(score) if score == int(score) else repr(score).encode()


def _remove(data: Data, key: bytes, table: dict[bytes, Any] | None, names: tuple[bytes, ...]) -> int:
    """Remove members or fields; the key is deleted with the last of them."""
    if table is None:
        return 0
    gone = sum([table.pop(name, None) is not None for name in names])
    if not table:
        data.drop(key)
    return gone


KEY_COMMANDS: Final[dict[bytes, Callable[..., Reply]]] = {
    b"PING": _ping,
    b"TIME": _time,
    b"INFO": _info,
    b"EXISTS": _exists,
    b"TYPE": _type,
    b"DEL": _delete,
    b"UNLINK": _delete,
    b"GET": _get,
    b"MGET": _mget,
    b"SET": _set,
    b"GETRANGE": _getrange,
    b"PEXPIRE": _pexpire,
    b"PTTL": _pttl,
    b"FLUSHALL": _flushall,
    b"HSET": _hset,
    b"HSETNX": _hsetnx,
    b"HGET": _hget,
    b"HGETALL": _hgetall,
    b"HDEL": _hdel,
    b"ZADD": _zadd,
    b"ZREM": _zrem,
    b"ZCARD": _zcard,
    b"ZSCORE": _zscore,
    b"ZRANGE": _zrange,
    b"ZRANGEBYSCORE": _zrangebyscore,
    b"ZCOUNT": _zcount,
    b"ZREMRANGEBYSCORE": _zremrangebyscore,
}
