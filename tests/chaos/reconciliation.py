"""Reconciles the final state with the input: counts, rejects and every reader against the naive model."""

from collections import Counter
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.codec import decode_info
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import connect, execute, newest_entry, parse_entries
from depthcast.shared.types import EntryInfo
from tests.chaos.node_faults import NODE_LOSSES
from tests.chaos.oracle import Oracle, RejectOf
from tests.chaos.report import Report
from tests.chaos.run import Chaos
from tests.chaos.watchers import ClientWatch, ConsumerWatch
from tests.waiting import eventually

LOSING: Final = ("Redis failover by sentinel", *NODE_LOSSES)
"""Faults by which Redis may lose acknowledged input."""

SETTLED_S: Final = 60.0
CONVERGED_S: Final = 30.0


async def reconcile(run: Chaos) -> Report:
    """End the load, wait until all is quiet, and compare it with the expected result of the input."""
    await run.quiet()
    cluster, report = run.cluster, run.report
    await eventually(lambda: _copied(run), timeout_s=SETTLED_S, message="the input log is read")
    oracles = [run.journal.oracle(number, cluster.kinds) for number in range(cluster.partitions)]
    async with connect(cluster.redis.url) as client:
        for partition, oracle in enumerate(oracles):
            keys = run.journal.keys.partition(partition)
            info = await _consumed(client, keys, run.journal.last(partition))
            _compare_counts(report, partition, oracle, info)
            await _compare_rejects(report, client, keys, oracle)
            _account_for_input(run, partition)
    books = {symbol: oracles[partition_of(symbol, len(oracles))] for symbol in cluster.kinds}
    for watch in run.watches:
        await _converged(report, watch, books)
    _collect(run)
    return report


async def _copied(run: Chaos) -> bool:
    try:
        await run.journal.complete()
    except RedisUnavailable:
        return False
    return True


async def _consumed(client: Redis, keys: PartitionKeys, wanted: Position) -> EntryInfo:
    """Wait until input up to `wanted` was consumed and published."""

    async def there() -> EntryInfo | None:
        try:
            newest = await newest_entry(client, keys.deltas)
        except RedisUnavailable:
            return None
        info = decode_info(dict(newest[1])[b"_"]) if newest else None
        return info if info is not None and Position.parse(info.src) >= wanted else None

    info = await eventually(there, timeout_s=SETTLED_S, message=f"{keys.events} is consumed up to {wanted}")
    assert info is not None
    return info


def _compare_counts(report: Report, partition: int, oracle: Oracle, info: EntryInfo) -> None:
    found = info.applied, info.rejected, info.ignored
    difference = sum(found) - sum(oracle.counts)
    report.events += sum(oracle.counts)
    report.lost += max(0, -difference)
    report.repeated += max(0, difference)
    report.check(
        found == oracle.counts,
        f"partition {partition}: applied, rejected, ignored are {found} instead of {oracle.counts}",
    )


async def _compare_rejects(report: Report, client: Redis, keys: PartitionKeys, oracle: Oracle) -> None:
    reply = await execute(client, "XRANGE", keys.rejects, "-", "+")
    found = Counter(_reject(dict(fields)) for _, fields in parse_entries(reply))
    lost, repeated = oracle.rejects - found, found - oracle.rejects
    report.rejects += oracle.rejected
    report.lost += lost.total()
    report.repeated += repeated.total()
    for what, which in (("lost", lost), ("repeated or invented", repeated)):
        report.check(not which, f"{keys.rejects}: {what}: {which.most_common(3)}")


def _reject(fields: dict[bytes, bytes]) -> RejectOf:
    symbol, reason, source = (fields[name].decode() for name in (b"symbol", b"reason", b"source"))
    return symbol, reason, source, int(fields[b"index"]), int(fields[b"count"])


def _account_for_input(run: Chaos, partition: int) -> None:
    """Acknowledged input is in the log, unless a failover lost it."""
    report, producer = run.report, run.producers[partition]
    copies, lost = run.journal.copies[partition], run.journal.lost[partition]
    report.acknowledged += len(producer.acknowledged)
    report.unknown += producer.unknown
    gone = [position for position in producer.acknowledged if position not in copies]
    if any(report.faults[name] for name in LOSING):
        report.failover_lost += len(gone)
    else:
        report.check(not gone, f"partition {partition}: {len(gone)} acknowledged entries are not in the log")
    unacknowledged = lost - set(gone)
    report.check(
        len(unacknowledged) <= producer.unknown,
        f"partition {partition}: {len(unacknowledged)} entries vanished, {producer.unknown} were unknown",
    )


async def _converged(report: Report, watch: ClientWatch | ConsumerWatch, books: dict[str, Oracle]) -> None:
    try:
        await eventually(lambda: watch.wrong(books) is None, timeout_s=CONVERGED_S)
    except AssertionError:
        report.wrong.append(watch.wrong(books) or f"{watch.watch.name} converged late")


def _collect(run: Chaos) -> None:
    report = run.report
    for watch in (reader.watch for reader in run.watches):
        report.silences_s[watch.name] = watch.silence_s
        report.regressions += watch.regressions
        report.went_back += watch.went_back
        report.check(not watch.problem, f"{watch.name} ended: {watch.problem}")
    for client in run.clients:
        counters = client.client.counters
        report.mismatches += counters.mismatches
        report.gaps += counters.gaps
        report.reconnects += counters.reconnects
    report.mismatches += run.mismatches.count
    report.resyncs += run.tap.consumer.resyncs
    for process in run.cluster.gateways:
        report.resyncs += process.count("loading snapshots")
        report.mismatches += process.count("digest mismatch at")
