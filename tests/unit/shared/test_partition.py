"""Which partition a symbol belongs to: the contract's examples."""

from depthcast.shared.partition import partition_of


def test_examples() -> None:
    assert (partition_of("BTC-USD", 4), partition_of("BTC-USD", 16)) == (0, 0)
    assert (partition_of("ETH-USD", 4), partition_of("ETH-USD", 16)) == (3, 15)


def test_one_partition_holds_everything_and_many_share_evenly() -> None:
    symbols = [f"SYM-{number}" for number in range(4000)]
    assert {partition_of(symbol, 1) for symbol in symbols} == {0}
    counts = [0] * 16
    for symbol in symbols:
        counts[partition_of(symbol, 16)] += 1
    assert min(counts) > 150
