"""A short run of chaos on real processes; `make chaos` runs longer, with failovers and failing links."""

import pytest

from tests.chaos.cluster import running_cluster
from tests.chaos.node_faults import KILLED, PARTED
from tests.chaos.nodes import NodeServers
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


IN_A_CLUSTER = (
    "slot moved",
    KILLED,
    "slot moved, and an ingestor killed meanwhile",
    "slot moved halfway, and left so for a while",
    PARTED,
    "node failover",
    "slot of the deployment moved",
)
IN_EACH_RUN = ("slot moved, and an ingestor killed meanwhile", PARTED, "slot of the deployment moved")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "count"),
    [
        pytest.param(IN_EACH_RUN, 0, id="some"),
        pytest.param(IN_A_CLUSTER, 0, id="each", marks=pytest.mark.deep),
        pytest.param((), 100, id="many", marks=[pytest.mark.deep, pytest.mark.timeout(1200)]),
    ],
)
async def test_in_a_cluster_whose_nodes_fail_and_whose_slots_move(
    faults: tuple[str, ...], count: int
) -> None:
    """`count`: so many seeded faults instead of some or one of each that only a cluster has."""
    async with (
        running_cluster(
            NodeServers(),
            partitions=4 if count else 2,
            ingestors=3 if count else 2,
            gateways=1,
            settings=SETTINGS,
            gateway_settings={},
        ) as cluster,
        chaos(cluster, seed=3, calm_s=(0.1, 0.4)) as run,
    ):
        if count:
            await run.for_faults(count, lambda _: None)
        else:
            for fault in faults:
                await run.go_on(fault)
        report = await reconcile(run)
    assert report.good, "\n".join(report.lines())
    assert report.faults.total() == (count or len(faults))
    assert report.events > 300
