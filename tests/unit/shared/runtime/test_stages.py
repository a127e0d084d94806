"""Times by stage: what counts, and under which labels."""

from prometheus_client import CollectorRegistry

from depthcast.shared.runtime.stages import BUCKETS, PARTITIONS_MAX, PLAUSIBLE_S, Stage, StageTimes

STAGE = Stage.READ_TO_WRITTEN


def value(registry: CollectorRegistry, end: str, partition: str = "0", **labels: str) -> float | None:
    found = {"stage": "read_to_written", "partition": partition, **labels}
    return registry.get_sample_value(f"depthcast_stage_seconds{end}", found)


def test_a_time_counts_in_its_bucket() -> None:
    registry = CollectorRegistry()
    times = StageTimes(registry)
    times.observe(STAGE, 0, 0.02)
    assert (value(registry, "_count"), value(registry, "_sum")) == (1, 0.02)
    assert [value(registry, "_bucket", le=le) for le in ("0.01", "0.025", "+Inf")] == [0, 1, 1]


def test_a_negative_time_counts_as_0() -> None:
    registry = CollectorRegistry()
    StageTimes(registry).observe(STAGE, 0, -3.0)
    assert (value(registry, "_count"), value(registry, "_sum")) == (1, 0)


def test_a_time_that_is_none_does_not_count() -> None:
    registry = CollectorRegistry()
    times = StageTimes(registry)
    times.observe(STAGE, 0, 5e8)
    assert value(registry, "_count") is None
    times.observe(STAGE, 0, PLAUSIBLE_S)
    assert value(registry, "_count") == 1


def test_many_partitions_share_their_last_series() -> None:
    registry = CollectorRegistry()
    times = StageTimes(registry, worker="3")
    for partition in (PARTITIONS_MAX - 1, PARTITIONS_MAX, PARTITIONS_MAX + 7):
        times.observe(STAGE, partition, 1.0)
    assert value(registry, "_count", str(PARTITIONS_MAX - 1), worker="3") == 1
    assert value(registry, "_count", "others", worker="3") == 2
    series = len(BUCKETS) + len(("+Inf", "_sum", "_count"))
    (family,) = registry.collect()
    plain = [sample for sample in family.samples if not sample.name.endswith("_created")]
    assert len(plain) == 2 * series
