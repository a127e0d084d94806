"""Which commands each kind of process sends to Redis, on which keys: the only list of them.

An access list (ACL) comes from it, by which a process may do what it does and nothing else. Who only reads
books cannot write one, and a producer can add input, but neither change nor delete any.

A user has commands without keys, and selectors: commands with the keys that they may be used on. A command is
allowed if one selector allows it whole. Source: https://redis.io/docs/latest, "ACL", since Redis 7.0.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from depthcast.shared.keys import DeploymentKeys, PartitionKeys

READ: Final = "%R~"
WRITE: Final = "%W~"
BOTH: Final = "~"


class Selector(NamedTuple):
    """Commands on keys, by their names in `patterns`. `access`: READ, WRITE or BOTH."""

    commands: str
    access: str
    keys: str


class Role(NamedTuple):
    """A kind of process. `alone`: commands without a key."""

    meaning: str
    alone: str
    selectors: tuple[Selector, ...]


_CONNECTING: Final = "asking cluster|slots select"
"""Where the server is, which database, and reads of keys in a slot that is being moved there."""
_BOOKS: Final = "meta instruments deltas snapshots"
_FOLLOWING: Final = "hgetall xinfo|stream xrange xread xrevrange"
_APPENDING: Final = (
    Selector("evalsha type", BOTH, "producers events"),
    Selector("get", READ, "producers"),
    Selector("del set", WRITE, "producers"),
    Selector("xadd", WRITE, "events"),
)
_LOOKING: Final = Selector(
    "exists get hget hgetall pttl type xinfo|stream xlen xrange xread xrevrange zrange zrangebyscore",
    READ,
    "all",
)

ROLES: Final[Mapping[str, Role]] = {
    "ingestor": Role(
        "keeps the books of partitions and publishes them",
        f"{_CONNECTING} exec info multi script|load time unwatch",
        (
            Selector(
                "exists get getrange hget hgetall mget pttl xinfo|stream xrange xread xrevrange",
                READ,
                f"{_BOOKS} incarnation events rejects checkpoint symbols listings applying leader sources "
                "consumers",
            ),
            Selector("watch", READ, "instruments"),
            Selector(
                "evalsha type",
                BOTH,
                "deltas events rejects snapshots checkpoint symbols listings applying leader sources",
            ),
            Selector("xadd", WRITE, "deltas events rejects snapshots"),
            Selector("xtrim", WRITE, "deltas events rejects"),
            Selector("hsetnx", WRITE, "meta instruments"),
            Selector("hset", WRITE, "instruments listings sources symbols"),
            Selector("del", WRITE, "leader listings snapshots symbols"),
            Selector("set", WRITE, "applying checkpoint incarnation leader"),
            Selector("pexpire", WRITE, "leader"),
            Selector("eval zadd zrange zrem", BOTH, "ingestors"),
        ),
    ),
    "gateway": Role(
        "serves books to clients",
        f"{_CONNECTING} exec info multi readonly time unwatch",
        (
            Selector(f"get {_FOLLOWING}", READ, f"{_BOOKS} incarnation"),
            Selector("watch", READ, "instruments"),
            Selector("eval pexpire zadd zcard zrem zremrangebyrank zremrangebyscore", BOTH, "gateways"),
            Selector("zrangebyscore", READ, "revoked"),
        ),
    ),
    "consumer": Role(
        "reads books from the streams: `depthcast.Consumer`, `depthcast record`",
        f"{_CONNECTING} info readonly time",
        (Selector(_FOLLOWING, READ, _BOOKS), Selector("hdel hset", WRITE, "consumers")),
    ),
    "producer": Role(
        "adds input: `depthcast.Producer`",
        f"{_CONNECTING} script|load time",
        (
            Selector(
                "exists hget hgetall xinfo|stream xrange xread xrevrange",
                READ,
                "meta instruments listings snapshots deltas events rejects",
            ),
            *_APPENDING,
        ),
    ),
    "feed": Role(
        "adds input from venues, recordings and synthetic markets: `depthcast feed`",
        f"{_CONNECTING} script|load time",
        (
            Selector(
                "exists get hgetall hmget xinfo|stream xrange xread xrevrange",
                READ,
                f"{_BOOKS} incarnation events feeders listings rejects sources",
            ),
            *_APPENDING,
            Selector("evalsha type", BOTH, "events feeders"),
            Selector("hget", READ, "feeders"),
            Selector("hset", WRITE, "feeders instruments sources"),
            Selector("hsetnx", WRITE, "instruments"),
        ),
    ),
    "relay": Role(
        "writes a copy: `depthcast relay`, at the server that is written",
        f"{_CONNECTING} exec multi script|load time unwatch",
        (
            Selector("watch", READ, "instruments"),
            Selector("evalsha type", BOTH, "deltas leader snapshots"),
            Selector("xinfo|stream xrevrange", READ, "deltas snapshots"),
            Selector("get", READ, "incarnation leader"),
            Selector("set", WRITE, "incarnation leader"),
            Selector("xadd", WRITE, "deltas snapshots"),
            Selector("xtrim", WRITE, "deltas"),
            Selector("del", WRITE, "deltas leader snapshots"),
            Selector("evalsha hgetall hset", BOTH, "meta"),
            Selector("hdel hgetall hset", BOTH, "instruments relays"),
            Selector("exists", READ, "events"),
            Selector("zadd", WRITE, "revoked"),
        ),
    ),
    "relay-source": Role(
        "reads what is copied: `depthcast relay`, at the server that it copies from",
        f"{_CONNECTING} exec multi time unwatch",
        (
            Selector("hgetall", READ, "meta instruments"),
            Selector("watch", READ, "instruments"),
            Selector("xrange xread xrevrange", READ, "deltas snapshots"),
            Selector("get", READ, "incarnation"),
            Selector("zrangebyscore", READ, "revoked"),
        ),
    ),
    "doctor": Role(
        "looks and changes nothing: `depthcast doctor`, `status`, `rejects`, `partition`, "
        "`instruments list`, `token revoked`",
        f"{_CONNECTING} info scan time",
        (_LOOKING,),
    ),
    "operator": Role(
        "as doctor, changes instruments and revokes tokens: `depthcast instruments`, `depthcast token`",
        f"{_CONNECTING} info scan time",
        (
            _LOOKING,
            Selector("eval zadd zcard zrem zremrangebyscore zscore", BOTH, "revoked"),
            Selector("hdel hset hsetnx", WRITE, "instruments"),
            Selector("xadd", WRITE, "events"),
        ),
    ),
}

ON_REQUEST: Final = frozenset({"relay"})
"""Roles of users that a deployment does not need: this one writes books, at the server of a copy."""

_GLOB: Final = re.compile(r"([*?\[\]\\^])")


def patterns(prefix: str) -> dict[str, tuple[str, ...]]:
    """Return what matches the keys of each name in the deployment with this prefix, in a cluster or not."""
    plain = _GLOB.sub(r"\\\1", prefix)
    of_partition = PartitionKeys(f"{{{plain}:*}}")
    everywhere = (DeploymentKeys(plain), DeploymentKeys(plain, clustered=True, tags=(of_partition.tag,)))
    names = (
        "meta",
        "instruments",
        "incarnation",
        "ingestors",
        "gateways",
        "consumers",
        "revoked",
        "relays",
    )
    parts = ("events", "deltas", "rejects", "leader", "feeders", "applying", "symbols", "listings")
    return {
        **{name: tuple(str(getattr(keys, name)) for keys in everywhere) for name in names},
        **{name: (str(getattr(of_partition, name)),) for name in parts},
        "sources": (everywhere[0].sources, f"{of_partition.tag}:sources"),
        "producers": tuple(keys.producer("*", 0) for keys in everywhere),
        "snapshots": (of_partition.snapshots("*"),),
        "checkpoint": (of_partition.checkpoint("*"),),
        "all": (f"{plain}:*", f"{{{plain}}}:*", f"{{{plain}:*}}:*"),
    }


def user_of(role: str, prefix: str) -> str:
    """Return the name of a role's user: several deployments may share a server."""
    return f"{prefix}-{role}"


def acl_user(role: str, prefix: str, password: str) -> str:
    """Return the line of an ACL file that makes the user of a role; it has a hash of the password only."""
    return f"user {user_of(role, prefix)} {' '.join(acl_rules(role, prefix, password))}"


def acl_administrator(password: str) -> str:
    """Return the line of an ACL file for the user `default`, who may do everything, with a password.

    A file that leaves it out would let everybody in, without one.
    """
    return f"user default on #{_hash(password)} ~* &* +@all"


def acl_rules(role: str, prefix: str, password: str) -> list[str]:
    """Return the rules of a role's user, as `ACL SETUSER` takes them after `reset`."""
    granted, keys = ROLES[role], patterns(prefix)
    return [
        "on",
        f"#{_hash(password)}",
        *(f"+{command}" for command in granted.alone.split()),
        *(f"({' '.join(_words(selector, keys))})" for selector in granted.selectors),
    ]


def _words(selector: Selector, keys: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for command in selector.commands.split():
        yield f"+{command}"
    for name in selector.keys.split():
        for pattern in keys[name]:
            yield f"{selector.access}{pattern}"


def _hash(password: str) -> str:
    return sha256(password.encode()).hexdigest()
