"""The command `depthcast status`."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.cli.gateway_url import gateway_url_option
from depthcast.inspection.state import DeploymentState
from depthcast.runtime.inspect import check_partitions, read_deployment
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings

HELP: Final = """\
Show a deployment: partitions with leaders, epochs and input lag, instruments, feeders and gateways.

Input lag is the age of the oldest input that was not consumed. Rejects are counted for the last --rejects-s
seconds. Gateways are not known to Redis: name them with --gateway-url. Nothing is written. `depthcast doctor`
says what is wrong, and what to do.

\b
Examples:
  depthcast status
  depthcast status --symbols --gateway-url http://127.0.0.1:8080
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
    state = asyncio.run(_read(settings, rejects_s, gateway_url))
    if as_json:
        click.echo(json.dumps(state.to_json(), indent=2))
        return
    for line in shown(state, every_symbol=symbols):
        click.echo(line)


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
        yield state.meta_problem or f"no deployment with the prefix {state.prefix}"
    else:
        yield from _partitions(state)
    running = [name for name, seen_s in state.ingestors.items() if seen_s >= 0]
    yield f"ingestors: {', '.join(running) or 'none'}"
    bookless = f", {len(state.bookless)} of them without a book" if state.bookless else ""
    yield f"instruments: {len(state.instruments)}{bookless}"
    if every_symbol and state.instruments:
        yield from _symbols(state)
    if state.sources:
        yield from _sources(state)
    for gateway in state.gateways:
        yield f"gateway {gateway.url}: {gateway.problem or _gateway(gateway.ready, gateway.body)}"
    for what, problem, _ in state.refused:
        yield f"cannot read {what}: {problem}"


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
        info = each.info
        rows.append(
            (
                str(each.number),
                each.leader or "none",
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
    names = ["symbol", "partition", "tick-size", "lot-size", "feed", "on-cross", "book"]
    partitions = state.partitions_count
    return table(
        names,
        [
            (
                symbol,
                "–" if partitions is None else str(partition_of(symbol, partitions)),
                instrument.tick_size,
                instrument.lot_size,
                instrument.feed,
                instrument.on_cross,
                "no" if symbol in state.bookless else "yes",
            )
            for symbol, instrument in state.instruments.items()
        ],
    )


def _sources(state: DeploymentState) -> list[str]:
    rows = []
    for symbol, source in state.sources.items():
        quality = source.get("quality")
        proof = quality if isinstance(quality, dict) else {}
        seen = source.get("at")
        rows.append(
            (
                symbol,
                _cell(source.get("venue")),
                _cell(source.get("state")),
                _cell(proof.get("continuity")),
                _cell(proof.get("checksum") or "none"),
                _cell(proof.get("depth")),
                _cell(source.get("feeder")),
                f"{max(0, state.now_ms - seen // 1000)} ms ago" if isinstance(seen, int) else "–",
                _cell(source.get("remedy") or source.get("reason") or source.get("problem") or "–"),
            )
        )
    names = ["source", "venue", "state", "proven-by", "checksum", "depth", "feeder", "seen", "reason"]
    return table(names, rows)


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
