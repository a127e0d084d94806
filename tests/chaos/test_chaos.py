"""A short run of chaos on real processes; `make chaos` runs longer, with failovers and failing links."""

import pytest

from tests.chaos.cluster import running_cluster
from tests.chaos.reconciliation import reconcile
from tests.chaos.run import chaos
from tests.chaos.servers import OneServer

SETTINGS = {"lease_ms": 400, "interval_ms": 20, "snapshot_interval_ms": 500, "rejects_max": 10_000_000}
FAULTS = (
    "ingestor kill -9",
    "Redis restart with its file",
    "ingestor SIGSTOP past the lease",
    "gateway kill -9",
    "ingestor kill -9",
    "links cut",
)


@pytest.mark.slow
async def test_everybody_ends_with_the_right_books_and_every_event_counts_once() -> None:
    async with (
        running_cluster(
            OneServer(), partitions=2, ingestors=2, gateways=1, settings=SETTINGS, gateway_settings={}
        ) as cluster,
        chaos(cluster, seed=1, calm_s=(0.1, 0.4)) as run,
    ):
        for fault in FAULTS:
            await run.go_on(fault)
        report = await reconcile(run)
    assert report.good, "\n".join(report.lines())
    assert report.events > 300
    assert len(report.takeovers) >= FAULTS.count("ingestor kill -9")
