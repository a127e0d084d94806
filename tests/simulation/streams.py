"""A Redis stream: entries in order of their IDs, and trimming by whole nodes.

A real server keeps entries in nodes of up to `stream-node-max-entries` entries or `stream-node-max-bytes`
bytes, and approximate trimming (`~`) takes whole nodes only; so does this one.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Final

Id = tuple[int, int]
Fields = list[bytes]
"""Names and values in turn."""

MOST: Final = 2**64 - 1
ZERO: Final[Id] = (0, 0)
NODE_BYTES: Final = 4096


@dataclass
class Node:
    """A node: its index, the number of entries it ever held, and their bytes."""

    number: int
    entries: int = 0
    size: int = 0


@dataclass
class Stream:
    """The entries kept, and totals of those removed."""

    node_entries: int = 100
    ids: list[Id] = field(default_factory=list)
    fields: list[Fields] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    last_id: Id = ZERO
    max_deleted: Id = ZERO
    added: int = 0

    def copy(self) -> "Stream":
        """An independent copy; entries never change, so they are shared."""
        return Stream(
            self.node_entries,
            self.ids[:],
            self.fields[:],
            self.nodes[:],
            self.last_id,
            self.max_deleted,
            self.added,
        )

    def add(self, stream_id: Id, fields: Fields) -> None:
        """Append an entry; the caller has checked that its ID is the largest."""
        size = sum(map(len, fields))
        node = self.nodes[-1] if self.nodes else None
        if node is None or node.entries >= self.node_entries or node.size + size >= NODE_BYTES:
            node = Node(node.number + 1 if node else 0)
        node.entries += 1
        node.size += size
        self.ids.append(stream_id)
        self.fields.append(fields)
        self.nodes.append(node)
        self.last_id = stream_id
        self.added += 1

    def next_id(self, now_ms: int) -> Id:
        """The ID that `*` stands for now."""
        ms, n = self.last_id
        return (now_ms, 0) if now_ms > ms else (ms, n + 1)

    def between(self, first: Id, last: Id, count: int | None, *, newest: bool = False) -> list[int]:
        """Indexes of the entries from `first` to `last`, both included, at most `count` of them."""
        places = range(bisect_left(self.ids, first), bisect_right(self.ids, last))
        ordered = places[::-1] if newest else places
        return list(ordered if count is None else ordered[:count])

    def after(self, stream_id: Id, count: int | None) -> list[int]:
        """Indexes of the entries after `stream_id`."""
        start = bisect_right(self.ids, stream_id)
        stop = len(self.ids) if count is None else min(len(self.ids), start + count)
        return list(range(start, stop))

    def trim(self, going: int, *, approximate: bool) -> int:
        """Remove the first `going` entries, or as many of them as make whole nodes."""
        if approximate:
            while 0 < going < len(self.nodes) and self.nodes[going - 1] is self.nodes[going]:
                going -= 1
        for part in (self.ids, self.fields, self.nodes):
            del part[:going]
        return going

    def beyond_length(self, length: int) -> int:
        """The number of entries beyond `length`."""
        return max(len(self.ids) - length, 0)

    def before(self, stream_id: Id) -> int:
        """The number of entries with a smaller ID."""
        return bisect_left(self.ids, stream_id)

    def delete(self, stream_id: Id) -> bool:
        """Remove one entry; returns whether it existed."""
        place = bisect_left(self.ids, stream_id)
        if place == len(self.ids) or self.ids[place] != stream_id:
            return False
        for part in (self.ids, self.fields, self.nodes):
            del part[place]
        self.max_deleted = max(self.max_deleted, stream_id)
        return True
