"""Tells what a key of Redis is to a deployment: its own, one that nobody reads, or none of its business."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final, NamedTuple

from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.types import is_symbol

DEPLOYMENT_TYPES: Final = {
    "meta": "hash",
    "instruments": "hash",
    "incarnation": "string",
    "ingestors": "zset",
    "sources": "hash",
    "gateways": "zset",
    "consumers": "hash",
    "revoked": "zset",
    "relays": "hash",
}
"""Keys of a deployment as a whole, with their types."""

PARTITION_TYPES: Final = {
    "events": "stream",
    "deltas": "stream",
    "rejects": "stream",
    "leader": "string",
    "applying": "string",
    "symbols": "hash",
    "listings": "hash",
    "feeders": "hash",
}
"""Keys of a partition."""

SYMBOL_TYPES: Final = {"snapshots": "stream", "checkpoint": "string"}
"""Keys of a symbol in its partition."""

_PARTITION: Final = re.compile(r"(0|[1-9]\d{0,5})\}:(.+)\Z", re.DOTALL)
_LOOKS_LIKE: Final = re.compile(r":?(?P<number>\d{1,6})?:?(?P<kind>[a-z]+)\Z")
_INPUT: Final = re.compile(r"\{?(?P<prefix>[^{}\s]+?):\d+\}?:events\Z")


class KeyUse(NamedTuple):
    """What a key is.

    `type`: the type that it must have, empty if it is not known. `problem`: why nobody reads it, else empty.
    `remedy`: what to do then. `if_type`: it is a problem only if it has this type; empty for any.
    """

    type: str
    problem: str = ""
    remedy: str = ""
    if_type: str = ""


def use_of(name: str, prefix: str, partitions: int | None, others: Collection[str]) -> KeyUse | None:
    """Return what the key `name` is to the deployment `prefix`, None if it does not concern it.

    `partitions`: number of partitions, None if there is no deployment. `others`: prefixes of further
    deployments in the same database.
    """
    bare = name.translate(_NO_BRACES)
    if any(bare.startswith(f"{other}:") for other in others if not prefix.startswith(f"{other}:")):
        return None
    if name.startswith(f"{prefix}:") and (kind := _of_deployment(name[len(prefix) + 1 :])) is not None:
        return KeyUse(kind)
    if name.startswith(f"{{{prefix}:") and (found := _PARTITION.match(name, len(prefix) + 2)) is not None:
        return _of_partition(name, prefix, int(found[1]), found[2], partitions)
    if _begins_like(bare, prefix):
        return KeyUse("", "nobody reads this key", _right_name(bare, name, prefix, partitions))
    foreign = _INPUT.match(name)
    if foreign is not None and foreign["prefix"] not in others:
        return KeyUse(
            "",
            f"input of a deployment {foreign['prefix']!r}, which does not exist here: nobody reads it",
            f"write to {{{prefix}:<p>}}:events, or start an ingestor with --prefix {foreign['prefix']}; "
            f"then DEL {quoted(name)}",
            if_type="stream",
        )
    return None


def use_in(name: str, keys: DeploymentKeys, partitions: int | None, others: Collection[str]) -> KeyUse | None:
    """Return what `use_of` does, by the names that the deployment's keys have in a cluster."""
    if not keys.clustered:
        return use_of(name, keys.prefix, partitions, others)
    for number, tag in enumerate(keys.tags):
        if name.startswith(f"{tag}:"):
            return _of_clustered(name, keys.prefix, number, name[len(tag) + 1 :], partitions)
    if name.startswith(f"{keys.base}:"):
        kind = DEPLOYMENT_TYPES.get(name[len(keys.base) + 1 :])
        return _unread(name) if kind is None or name == keys.sources else KeyUse(kind)
    if any(name.strip("{").startswith(f"{other}:") for other in others):
        return None
    return _unread(name, keys) if _begins_like(name.translate(_NO_BRACES), keys.prefix) else None


def _of_clustered(name: str, prefix: str, number: int, rest: str, partitions: int | None) -> KeyUse:
    if rest == "sources" or rest.startswith("producers:"):
        return KeyUse("hash" if rest == "sources" else "string")
    return _of_partition(name, prefix, number, rest, partitions)


def _unread(name: str, keys: DeploymentKeys | None = None) -> KeyUse:
    """A key that nobody reads; with `keys`, it may be the log of a partition without the recorded tag."""
    found = None if keys is None else _PARTITION.match(name, len(keys.prefix) + 2)
    remedy = f"find out what wrote it; DEL {quoted(name)} if nothing needs it"
    if keys is not None and found is not None and found[2] == "events" and int(found[1]) < len(keys.tags):
        right = quoted(keys.partition(int(found[1])).events)
        remedy = f"write to {right}, and send the input again; then DEL {quoted(name)}"
    return KeyUse("", "nobody reads this key", remedy)


def quoted(name: str) -> str:
    """A name as redis-cli takes it, on its command line and in a shell: quoted if it has blanks or quotes."""
    if name and not re.search(r"[^!-~]|[\"'\\\\$`;&|<>()*?#]", name):
        return name
    escaped = name.replace('"', '\\"')
    return f'"{escaped}"'


def _of_deployment(rest: str) -> str | None:
    """The type of a key of the deployment as a whole; a producer's has its name behind it."""
    return "string" if rest.startswith("producers:") else DEPLOYMENT_TYPES.get(rest)


_NO_BRACES: Final = str.maketrans("", "", "{} \t\r\n")


def _of_partition(name: str, prefix: str, number: int, rest: str, partitions: int | None) -> KeyUse:
    kind, _, symbol = rest.partition(":")
    expected = SYMBOL_TYPES.get(kind) if symbol else PARTITION_TYPES.get(kind)
    if partitions is not None and number >= partitions:
        return KeyUse(
            expected or "",
            f"there is no partition {number}: the deployment has {_numbers(partitions)}",
            f"the partition of a symbol is crc32(symbol) mod {partitions}, as `depthcast partition SYMBOL` "
            f"prints it: send the input again to its key, then DEL {quoted(name)}",
        )
    if expected is None:
        return KeyUse(
            "", "nobody reads this key", _right_name(f"{prefix}:{number}:{rest}", name, prefix, partitions)
        )
    if symbol and (
        not is_symbol(symbol) or (partitions is not None and partition_of(symbol, partitions) != number)
    ):
        return KeyUse(
            expected,
            f"{symbol} does not belong to partition {number}: nobody reads it",
            f"DEL {quoted(name)}",
        )
    return KeyUse(expected)


def _numbers(partitions: int) -> str:
    return f"0 … {partitions - 1}" if partitions > 1 else "only partition 0"


def _begins_like(bare: str, prefix: str) -> bool:
    """Whether a name without braces begins with the prefix, in any case, as a whole word."""
    begins = bare[: len(prefix)].lower() == prefix.lower()
    return begins and not bare[len(prefix) : len(prefix) + 1].isalnum()


def _right_name(bare: str, name: str, prefix: str, partitions: int | None) -> str:
    """What to do about a key that only looks like one of ours."""
    found = _LOOKS_LIKE.match(bare[len(prefix) :].lower().replace("_", ":").replace("-", ":"))
    near = get_close_matches(found["kind"], [*PARTITION_TYPES, *DEPLOYMENT_TYPES], 1, 0.75) if found else []
    if found is None or not near:
        return f"find out what wrote it; DEL {quoted(name)} if nothing needs it"
    kind = near[0]
    if kind in DEPLOYMENT_TYPES:
        right = f"{prefix}:{kind}"
    else:
        number = found["number"]
        fits = number is not None and (partitions is None or int(number) < partitions)
        right = f"{{{prefix}:{int(number) if fits else '<p>'}}}:{kind}"
    if kind != "events":
        return f"the name is {right}; find out what wrote this one, then DEL {quoted(name)}"
    return f"write to {right}, with the braces, and send the input again; then DEL {quoted(name)}"
