"""Which partition a symbol belongs to: the contract's examples."""

from collections import Counter

import pytest

from depthcast.shared.partition import partition_of


def test_examples() -> None:
    assert (partition_of("BTC-USD", 4), partition_of("BTC-USD", 16)) == (0, 0)
    assert (partition_of("ETH-USD", 4), partition_of("ETH-USD", 16)) == (3, 15)


@pytest.mark.parametrize("partitions", [2, 4, 16])
def test_partitions_share_symbols_as_evenly_as_chance_would(partitions: int) -> None:
    """By the chi-squared test: of even shares, one in a thousand is further off than this."""
    symbols = [f"SYM-{number}" for number in range(4000)]
    counts = Counter(partition_of(symbol, partitions) for symbol in symbols)
    assert sorted(counts) == list(range(partitions))
    even = len(symbols) / partitions
    limit = {2: 10.8, 4: 16.3, 16: 37.7}[partitions]
    assert sum((count - even) ** 2 / even for count in counts.values()) < limit


def test_one_partition_has_everything() -> None:
    assert {partition_of(f"SYM-{number}", 1) for number in range(100)} == {0}
