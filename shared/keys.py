"""Names of the Redis keys (`docs/protocol.md`, section 2)."""

from typing import NamedTuple


class DeploymentKeys(NamedTuple):
    """Keys that belong to the deployment as a whole."""

    prefix: str

    @property
    def meta(self) -> str:
        return f"{self.prefix}:meta"

    @property
    def instruments(self) -> str:
        return f"{self.prefix}:instruments"

    @property
    def incarnation(self) -> str:
        """Random name of the deployment's data; a different name means that Redis lost everything."""
        return f"{self.prefix}:incarnation"

    @property
    def ingestors(self) -> str:
        """Sorted set of ingestors by the time of their last heartbeat."""
        return f"{self.prefix}:ingestors"

    @property
    def gateways(self) -> str:
        """Sorted set of gateways, each described in JSON, by the time when it was last heard of."""
        return f"{self.prefix}:gateways"

    @property
    def consumers(self) -> str:
        """Hash: name of a consumer → JSON about how far it is; only consumers with a name are in it."""
        return f"{self.prefix}:consumers"

    @property
    def revoked(self) -> str:
        """Sorted set of revoked tokens, by the time (s since 1970) at which an entry may be forgotten."""
        return f"{self.prefix}:revoked"

    @property
    def sources(self) -> str:
        """Hash: symbol → JSON about the process that feeds it from a venue."""
        return f"{self.prefix}:sources"

    @property
    def relays(self) -> str:
        """Hash of a copy: name of a relay → JSON about how far it is."""
        return f"{self.prefix}:relays"

    def producer(self, name: str) -> str:
        """The last append of a producer, so that one with an unknown outcome can be repeated; private."""
        return f"{self.prefix}:producers:{name}"

    def partition(self, number: int) -> "PartitionKeys":
        """The keys of partition `number`."""
        return PartitionKeys(f"{{{self.prefix}:{number}}}")


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
