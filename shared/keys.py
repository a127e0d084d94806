"""Names of the Redis keys (`docs/protocol.md`, section 2)."""

from collections.abc import Iterable
from typing import NamedTuple

from depthcast.shared.partition import partition_of
from depthcast.shared.redis_url import is_cluster


class DeploymentKeys(NamedTuple):
    """Keys that belong to the deployment as a whole.

    - `clustered`: it is in a cluster, so the keys that one step reads or writes have a common hash tag.
    - `tags`: the hash tag of each partition, with braces; empty where they follow from the prefix. In a
      cluster they are known once `meta` was read.
    """

    prefix: str
    clustered: bool = False
    tags: tuple[str, ...] = ()

    @classmethod
    def at(cls, redis_url: str, prefix: str) -> "DeploymentKeys":
        """The keys of the deployment with this prefix at an address."""
        return cls(prefix, is_cluster(redis_url))

    @property
    def base(self) -> str:
        """What the keys of the deployment as a whole begin with."""
        return f"{{{self.prefix}}}" if self.clustered else self.prefix

    @property
    def meta(self) -> str:
        return f"{self.base}:meta"

    @property
    def instruments(self) -> str:
        return f"{self.base}:instruments"

    @property
    def incarnation(self) -> str:
        """Random name of the deployment's data; a different name means that Redis lost everything."""
        return f"{self.base}:incarnation"

    @property
    def ingestors(self) -> str:
        """Sorted set of ingestors by the time of their last heartbeat."""
        return f"{self.base}:ingestors"

    @property
    def gateways(self) -> str:
        """Sorted set of gateways, each described in JSON, by the time when it was last heard of."""
        return f"{self.base}:gateways"

    @property
    def consumers(self) -> str:
        """Hash: name of a consumer → JSON about how far it is; only consumers with a name are in it."""
        return f"{self.base}:consumers"

    @property
    def revoked(self) -> str:
        """Sorted set of revoked tokens, by the time (s since 1970) at which an entry may be forgotten."""
        return f"{self.base}:revoked"

    @property
    def sources(self) -> str:
        """Hash: symbol → JSON about the process that feeds it from a venue."""
        return f"{self.base}:sources"

    @property
    def relays(self) -> str:
        """Hash of a copy: name of a relay → JSON about how far it is."""
        return f"{self.base}:relays"

    def sources_of(self, symbol: str) -> str:
        """The hash `sources` that has a symbol: one for all, in a cluster one for each partition.

        Who marks a book writes to both that hash and the input log in one step.
        """
        if not self.clustered:
            return self.sources
        return f"{self.tags[partition_of(symbol, len(self.tags))]}:sources"

    def all_sources(self) -> list[str]:
        """Every hash `sources`."""
        return [f"{tag}:sources" for tag in self.tags] if self.clustered else [self.sources]

    def producer(self, name: str, number: int) -> str:
        """The last append of a producer, so that one with an unknown outcome can be repeated; private.

        One for all partitions, in a cluster one for each.
        """
        base = self.tags[number] if self.clustered else self.base
        return f"{base}:producers:{name}"

    def partition(self, number: int) -> "PartitionKeys":
        """The keys of partition `number`."""
        return PartitionKeys(self.tags[number] if self.tags else default_tag(self.prefix, number))

    def deployed(self, partitions: int, tags: Iterable[str] = ()) -> "DeploymentKeys":
        """The keys of a deployment whose `meta` was read: its partitions, and the tags there, if any."""
        of_prefix = (default_tag(self.prefix, number) for number in range(partitions))
        return self._replace(tags=tuple(tags) or tuple(of_prefix)) if self.clustered else self


def default_tag(prefix: str, number: int) -> str:
    """The hash tag of a partition for which `meta` has none."""
    return f"{{{prefix}:{number}}}"


class PartitionKeys(NamedTuple):
    """Keys of one partition; their common hash tag `tag` puts them into one cluster slot."""

    tag: str

    @property
    def events(self) -> str:
        return f"{self.tag}:events"

    @property
    def deltas(self) -> str:
        return f"{self.tag}:deltas"

    @property
    def rejects(self) -> str:
        return f"{self.tag}:rejects"

    @property
    def leader(self) -> str:
        return f"{self.tag}:leader"

    @property
    def feeders(self) -> str:
        """Hash: symbol → the feeder that may write its events, and the number of its last entry."""
        return f"{self.tag}:feeders"

    @property
    def applying(self) -> str:
        """The large input entry that the leader applied last; private."""
        return f"{self.tag}:applying"

    @property
    def symbols(self) -> str:
        """The symbols of the last leadership, so that a lost book is not taken for a new one; private."""
        return f"{self.tag}:symbols"

    @property
    def listings(self) -> str:
        """The listing of each symbol that the partition ever had, withdrawn ones too; private."""
        return f"{self.tag}:listings"

    def snapshots(self, symbol: str) -> str:
        """Stream of full-book snapshots of `symbol`."""
        return f"{self.tag}:snapshots:{symbol}"

    def checkpoint(self, symbol: str) -> str:
        """The ingestor's private recovery state of `symbol`."""
        return f"{self.tag}:checkpoint:{symbol}"
