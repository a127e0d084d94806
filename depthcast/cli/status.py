"""The command `depthcast status`."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.cli.gateway_url import gateway_url_option
from depthcast.inspection.findings import SEEN_S
from depthcast.inspection.keys import quoted
from depthcast.inspection.state import SECOND_MS, DeploymentState
from depthcast.runtime.inspect import check_partitions, read_deployment
from depthcast.shared.consumer_entry import CONSUMERS_MAX
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about

WAITING_SHOWN: Final = 10
"""Changes that wait are shown for so many symbols."""

PARTITIONS_SHOWN: Final = 4
"""The lags of replicas are shown for so many partitions of a gateway; `--json` has all."""

CONSUMERS_SHOWN: Final = CONSUMERS_MAX

UNREAD: Final = "could not be read"
"""In a column: `?`."""

HELP: Final = """\
Show a deployment: partitions with leaders, epochs and input lag, listings, feeders, gateways and consumers.

Input lag is the age of the oldest input that was not consumed. The lag of a consumer, one with a name, is the
age of the newest entry that it has delivered, in its slowest partition. Of a gateway that reads from
replicas, replica-lag says how far these are behind, by partition. Rejects are counted for the last
--rejects-s seconds. Gateways list themselves in Redis; ask one that may not write there with --gateway-url.
Nothing is written. `depthcast doctor` says what is wrong, and what to do.

Exit status: 0 all was read, 1 there is no deployment, something could not be read, or a gateway that was
named does not answer.

\b
Examples:
  depthcast status
  depthcast status --symbols
  depthcast status --gateway-url http://127.0.0.1:8080
  depthcast status --json | jq '.partitions[] | select(.input_lag_ms > 1000)'
"""


@click.command("status", help=HELP)
@click.option("--symbols", is_flag=True, help="List every symbol.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--rejects-s", type=click.FloatRange(min=0), default=3600.0, show_default=True, metavar="S",
    help="Count rejects of the last so many seconds.",
)  # fmt: skip
@gateway_url_option("--gateway-url", help="A gateway to ask; may be given several times.", multiple=True)
@deployment_options
def status(
    *, symbols: bool, as_json: bool, rejects_s: float, gateway_url: Sequence[str], **named: Any
) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})
    with errors_about(settings.typed):
        state = asyncio.run(_read(settings, rejects_s, gateway_url))
    if as_json:
        click.echo(json.dumps(state.to_json(), indent=2))
    else:
        for line in shown(state, every_symbol=symbols):
            click.echo(line)
    unanswered = any(gateway.problem for gateway in state.gateways)
    sys.exit(1 if state.partitions_count is None or state.refused or unanswered else 0)


async def _read(settings: Settings, rejects_s: float, gateways: Sequence[str]) -> DeploymentState:
    async with redis.connect(settings.redis_url) as client:
        state = await read_deployment(
            client, settings.redis_url, settings.prefix, rejects_s=rejects_s, gateways=gateways
        )
    await check_partitions(state, settings.partitions)
    return state


def shown(state: DeploymentState, *, every_symbol: bool) -> Iterator[str]:
    """The lines that show `state`."""
    yield f"{state.version or 'server'} at {state.address}, prefix {state.prefix}"
    for name, problem in state.server.items():
        yield f"  {name}: {problem}"
    if state.partitions_count is None:
        yield state.meta_problem or _undeployed(state)
    else:
        yield from _partitions(state)
    if state.copy_of is None:
        yield f"ingestors: {', '.join(_ingestors(state)) or _none(state, state.keys.ingestors)}"
    else:
        yield f"a copy of {state.copy_of}; relays: {len(state.relays) or _none(state, state.keys.relays)}"
        if state.relays:
            yield from _relays(state)
    bookless = f", {len(state.bookless)} of them without a book" if state.bookless else ""
    malformed = f"; malformed: {', '.join(state.malformed)}" if state.malformed else ""
    count = UNREAD if state.unreadable(state.keys.instruments) else len(state.instruments)
    yield f"instruments: {count}{bookless}{malformed}"
    if every_symbol and state.instruments:
        yield from _symbols(state)
    yield from _waiting_changes(state)
    if any(map(state.unreadable, state.keys.all_sources())):
        yield f"sources: some {UNREAD}"
    if state.sources:
        yield from _sources(state)
    yield f"gateways: {_gateways(state)}"
    if state.listed_gateways:
        yield from _listed_gateways(state)
    yield from _consumers(state)
    for gateway in state.gateways:
        yield f"gateway {gateway.url}: {gateway.problem or _gateway(gateway.ready, gateway.body)}"
    for probe in state.refused:
        yield f"cannot read {probe.what}: {probe.problem}{probe.remedy and f'; {probe.remedy}'}"


def _gateways(state: DeploymentState) -> str:
    """How many gateways list themselves, with how many clients."""
    if state.unreadable(state.keys.gateways):
        return UNREAD
    clients = sum(each.entry.clients for each in state.listed_gateways if not each.late)
    return f"{len(state.listed_gateways) or 'none'} listed, {clients} clients"


def _undeployed(state: DeploymentState) -> str:
    """Why there is nothing of partitions to show."""
    if state.unreadable(state.keys.meta):
        return f"whether there is a deployment with the prefix {state.prefix} could not be read"
    return f"no deployment with the prefix {state.prefix}"


def _none(state: DeploymentState, key: str) -> str:
    """What is shown where a key has nothing: that it could not be read is no zero."""
    return UNREAD if state.unreadable(key) else "none"


def _ingestors(state: DeploymentState) -> Iterator[str]:
    for name, seen_s in state.ingestors.items():
        if seen_s >= 0:
            yield name if seen_s <= SEEN_S else f"{name} (last heard of {seen_s:.0f} s ago)"


def _partitions(state: DeploymentState) -> list[str]:
    names = [
        "partition",
        "leader",
        "epoch",
        "written",
        "input-lag",
        "unread",
        "applied",
        "rejected",
        "lately",
    ]
    rows = []
    for each in state.partitions:
        info, keys = each.info, state.keys.partition(each.number)
        rows.append(
            (
                str(each.number),
                each.leader or ("?" if state.unreadable(keys.leader) else "none"),
                "–" if each.position is None else str(each.position.epoch),
                "–" if each.age_ms is None else f"{each.age_ms} ms ago",
                "–" if each.lag_ms is None else f"{each.lag_ms} ms",
                "–" if each.unread is None else str(each.unread),
                "–" if info is None else str(info.applied),
                "–" if info is None else str(info.rejected),
                ", ".join(f"{count} {reason}" for reason, count in each.rejects.most_common()) or "–",
            )
        )
    return table(names, rows)


def _symbols(state: DeploymentState) -> list[str]:
    names = ["symbol", "partition", "listing", "tick-size", "lot-size", "feed", "on-cross", "book", "state"]
    partitions, rows = state.partitions_count, []
    for each in state.registered():
        listed = state.instruments[each.symbol] if each.listing is None else each.listing.instrument
        rows.append(
            (
                each.symbol,
                "–" if partitions is None else str(partition_of(each.symbol, partitions)),
                "–" if each.listing is None else str(each.listing.number),
                listed.tick_size,
                listed.lot_size,
                listed.feed,
                listed.on_cross,
                _has_book(state, each.symbol),
                each.state,
            )
        )
    return table(names, rows)


def _has_book(state: DeploymentState, symbol: str) -> str:
    if state.partitions_count is None:
        return "?"
    keys = state.keys.partition(partition_of(symbol, state.partitions_count))
    if state.unreadable(keys.snapshots(symbol)):
        return "?"
    return "no" if symbol in state.bookless else "yes"


def _waiting_changes(state: DeploymentState) -> Iterator[str]:
    """What books stand for is not what is wanted: the first of them, with what applies the change."""
    waiting = [each for each in state.registered() if each.awaits_empty_book]
    for each in waiting[:WAITING_SHOWN]:
        remedy = f"depthcast instruments set {each.symbol} --relist{state.options}"
        yield f"{each.symbol}: a change waits until its book is empty ({each.difference}); now: {remedy}"
    if len(waiting) > WAITING_SHOWN:
        yield f"{len(waiting) - WAITING_SHOWN} more changes wait: --symbols shows them"


def _sources(state: DeploymentState) -> list[str]:
    rows = []
    for symbol, source in state.sources.items():
        quality = source.get("quality")
        proof = quality if isinstance(quality, dict) else {}
        seen_ms, now = state.source_age_ms(symbol), source.get("state")
        gone = now not in ("ended", "refused", "gone") and not state.is_fed(symbol)
        rows.append(
            (
                symbol,
                _cell(source.get("venue")),
                f"gone (was {_cell(now)})" if gone else _cell(now),
                _cell(proof.get("continuity")),
                _cell(proof.get("checksum") or "none"),
                _cell(proof.get("depth")),
                _cell(source.get("feeder")),
                "–" if seen_ms is None else _ago(seen_ms),
                _why(state, symbol, source),
            )
        )
    names = ["source", "venue", "state", "proven-by", "checksum", "depth", "feeder", "seen", "reason"]
    return table(names, rows)


def _why(state: DeploymentState, symbol: str, source: Mapping[str, Any]) -> str:
    """Why a source is not as it should be."""
    if other := state.other_feeder(symbol):
        return f"two feeds: {other} writes it too; end one"
    if symbol in state.intruders:
        return f"another producer wrote {state.intruders[symbol]}; end one"
    return _cell(source.get("remedy") or source.get("reason") or source.get("problem") or "–")


def _relays(state: DeploymentState) -> list[str]:
    rows = []
    for name, relay in state.relays.items():
        lags = [ms for ms in relay.lag_ms.values() if ms is not None]
        rows.append(
            (
                name,
                relay.version,
                ", ".join(map(str, relay.lag_ms)) or "none",
                f"{max(lags)} ms" if lags else "–",
                _ago(state.relay_age_ms(name)),
                relay.problem or "–",
            )
        )
    return table(["relay", "version", "copies", "lag", "seen", "problem"], rows)


def _listed_gateways(state: DeploymentState) -> list[str]:
    names = [
        "gateway", "address", "version", "state", "clients", "books", "stale", "newest", "lag",
        "replica-lag", "up", "seen",
    ]  # fmt: skip
    rows = []
    for each in state.listed_gateways:
        entry = each.entry
        rows.append(
            (
                entry.id if entry.worker is None else f"{entry.id} (worker {entry.worker})",
                entry.address,
                entry.version,
                each.state,
                str(entry.clients),
                str(entry.books),
                str(entry.stale),
                _ago(entry.silence_ms),
                f"{entry.lag_ms} ms",
                _replica_lag(entry.replica_lag_ms),
                f"{entry.uptime_ms // SECOND_MS} s",
                _ago(each.seen_ms),
            )
        )
    return table(names, rows)


def _replica_lag(lag_ms: Mapping[str, int | None] | Mapping[int, int | None]) -> str:
    """How far the replicas are behind that a gateway or a consumer reads from, by partition."""
    known = [f"{number}: {'?' if ms is None else ms} ms" for number, ms in lag_ms.items()]
    more = len(known) - PARTITIONS_SHOWN
    return ", ".join(known[:PARTITIONS_SHOWN]) + (f" and {more} more" if more > 0 else "") or "–"


def _consumers(state: DeploymentState) -> Iterator[str]:
    """The consumers that name themselves, as many as metrics have."""
    if state.other_consumers:
        shown, more = state.other_consumers[:CONSUMERS_SHOWN], len(state.other_consumers) - CONSUMERS_SHOWN
        others = f"{', '.join(map(quoted, shown))}{f' and {more} more' if more > 0 else ''}"
        yield f"consumers: no consumer wrote {others}; HDEL them from {state.prefix}:consumers"
    if state.unreadable(state.keys.consumers):
        yield f"consumers: {UNREAD}"
    if not state.consumers:
        return
    yield f"consumers: {len(state.consumers)} with a name"
    rows = []
    for each in state.consumers[:CONSUMERS_SHOWN]:
        known = [(lag_ms, number) for number, lag_ms in each.lag_ms.items() if lag_ms is not None]
        lag_ms, slowest = max(known, default=(None, None))
        rows.append(
            (
                each.name,
                each.entry.version,
                "–" if lag_ms is None else f"{lag_ms} ms",
                "–" if slowest is None else str(slowest),
                str(len(each.lag_ms)),
                _replica_lag(dict(sorted(each.entry.replica_lag_ms.items()))),
                _ago(each.seen_ms),
            )
        )
    yield from table(
        ["consumer", "version", "lag", "in-partition", "partitions", "replica-lag", "seen"], rows
    )
    if (more := len(state.consumers) - CONSUMERS_SHOWN) > 0:
        yield f"{more} more consumers: --json has them"


def _ago(ms: int) -> str:
    return f"{ms} ms ago" if ms < 10 * SECOND_MS else f"{ms // SECOND_MS} s ago"


def _cell(value: object) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)


def _gateway(ready: bool, body: Mapping[str, Any]) -> str:
    details = ", ".join(f"{name} {_cell(value)}" for name, value in body.items() if name != "workers")
    return f"{'ready' if ready else 'not ready'}{details and f' ({details})'}"


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines, the names first."""
    lines = [names, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
