"""Slots of a cluster: the slot of a key, and hash tags for partitions whose slots are evenly spaced.

Pure. Source: "Redis cluster specification", https://redis.io/docs/latest/operate/oss_and_stack/reference,
sections "Key distribution model" and "Hash tags".
"""

import json
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

SLOTS: Final = 16_384


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key: CRC16 of what is between its first braces, else of all, mod 16384."""
    raw = key.encode() if isinstance(key, str) else key
    begin = raw.find(b"{")
    end = raw.find(b"}", begin + 1)
    return crc_hqx(raw[begin + 1 : end] if begin >= 0 and end > begin + 1 else raw, 0) % SLOTS


def wanted_slot(number: int, partitions: int) -> int:
    """Return the slot for a partition: the middle of its part of all slots.

    Masters with equal ranges of slots then have equal numbers of partitions, or numbers that differ by 1.
    """
    return (2 * number + 1) * SLOTS // (2 * partitions)


def spread_tags(prefix: str, partitions: int) -> Iterator[str]:
    """Yield a hash tag for each partition: `{prefix:number:n}` with the least n that gives its slot."""
    for number in range(partitions):
        begin = crc_hqx(f"{prefix}:{number}:".encode(), 0)
        wanted = wanted_slot(number, partitions)
        ending = next(n for n in count() if crc_hqx(b"%d" % n, begin) % SLOTS == wanted)
        yield f"{{{prefix}:{number}:{ending}}}"


def tags_text(tags: Sequence[str]) -> str:
    """Return the tags as the hash `meta` has them: a JSON array, without braces."""
    return json.dumps([tag[1:-1] for tag in tags], separators=(",", ":"))


def parse_tags(text: bytes, partitions: int) -> tuple[str, ...]:
    """Return the tags in `text`, with braces; raises `ValueError` unless they are so many different ones."""
    names = json.loads(text)
    if not isinstance(names, list) or not all(map(_is_tag, names)) or len(set(names)) != len(names):
        raise ValueError("no JSON array of different texts without braces")
    if len(names) != partitions:
        raise ValueError(f"{len(names)} tags, and {partitions} partitions")
    return tuple(f"{{{name}}}" for name in names)


def _is_tag(name: object) -> bool:
    return isinstance(name, str) and name != "" and not {"{", "}"} & set(name)
