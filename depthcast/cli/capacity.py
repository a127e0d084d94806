"""The command `depthcast capacity`: a plan from measured costs."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import click

from depthcast.capacity.checks import parse_count
from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.plan import Plan, plan
from depthcast.capacity.text import ASSUMPTIONS, terminal
from depthcast.capacity.tiers import CannotCarry
from depthcast.shared.errors import SettingsError

RESULT: Final = Path(__file__).parents[2] / "benchmarks" / "results" / "capacity.json"
HELP: Final = """\
Plan machines: how many ingestors, Redis nodes and gateways carry so many clients and symbols.

Costs come from a result of `depthcast bench capacity`, by default that of the checkout. Numbers may end in
k, M or G. docs/capacity.md explains the model; the plan ends with what it assumes.

\b
Examples:
  depthcast capacity --clients 1M --symbols 1k
  depthcast capacity --clients 100M --symbols 100k --broadcasts-per-s 1 --network-gbit 25
  depthcast capacity --clients 50k --symbols 200 --results my-machine.json --json
"""
TEXTS: Final = {
    "clients": "Clients connected at a time.",
    "symbols": "Books there are.",
    "subscriptions": "Symbols that each client reads.",
    "broadcasts_per_s": "Broadcasts a second of a symbol, mean of all.",
    "popular_per_s": "The same of the symbols that clients read; 0 for the mean.",
    "events_per_broadcast": "Level events that a broadcast merges.",
    "events_per_entry": "Level events of an input entry.",
    "levels_changed": "Levels in a broadcast.",
    "depth": "Depth of the subscriptions, levels per side.",
    "book_levels": "Levels of a book, per side.",
    "interval_ms": "Broadcast interval, ms.",
    "popularity": "Exponent of Zipf's law by which clients choose symbols; 0 for all equal.",
    "list_clients": "Clients of a worker with the same list of symbols.",
    "cores": "Cores of a machine.",
    "network_gbit": "Network of a machine, Gbit/s in each direction.",
    "memory_gb": "Memory of a machine, GB.",
    "share": "Share of each core, network and memory that is used, at most 0.7.",
}
NUMBERS: Final = (*fields(Demand), *(field for field in fields(Machines) if field.name != "readers"))
Decorated = Callable[..., Any]


def number_options(command: Decorated) -> Decorated:
    """An option for each number of `Demand` and `Machines`."""
    for field in reversed(NUMBERS):
        name = f"--{field.name.replace('_', '-')}"
        option = click.option(
            name, metavar="N", default=f"{field.default:g}", show_default=True, help=TEXTS[field.name]
        )
        command = option(command)
    return command


@click.command("capacity", help=HELP)
@number_options
@click.option(
    "--readers", default="worker", show_default=True, metavar="worker|machine",
    help="Whether each gateway worker reads the streams, or one reader for all workers of a machine.",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="Result of depthcast bench capacity. [default: that of the checkout]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def capacity(*, readers: str, results: Path | None, as_json: bool, **given: str) -> None:
    """See `HELP`."""
    values = {field.name: _number(field.name, given[field.name], field.type) for field in NUMBERS}
    machine_names = {field.name for field in fields(Machines)}
    try:
        demand = Demand(**{name: value for name, value in values.items() if name not in machine_names})
        machines = Machines(
            readers=readers, **{name: value for name, value in values.items() if name in machine_names}
        )
    except SettingsError as error:
        raise error.about(f"--{error.name.replace('_', '-')}") from None
    try:
        made = plan(demand, machines, read_costs(results or RESULT))
    except CannotCarry as problem:
        raise click.ClickException(
            f"no number of machines carries this: {problem}. Lower --broadcasts-per-s, or use faster machines"
        ) from None
    lines = [json.dumps(to_json(made), indent=2)] if as_json else terminal(made)
    for line in lines:
        click.echo(line)


def _number(name: str, text: str, kind: Any) -> Any:
    value = parse_count(f"--{name.replace('_', '-')}", text)
    return int(value) if kind is int and value == int(value) else value


def read_costs(path: Path) -> UnitCosts:
    """Costs from a result file; raises `SettingsError`."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = f"cannot be read ({error.strerror}): run `depthcast bench capacity` in a checkout"
        raise SettingsError("--results", str(path), remedy) from None
    except ValueError:
        raise SettingsError("--results", str(path), "is not JSON") from None
    if not isinstance(result, dict) or not isinstance(result.get("data"), dict):
        raise SettingsError("--results", str(path), "is no result of `depthcast bench capacity`")
    return UnitCosts.from_json(result["data"].get("costs"))


def to_json(made: Plan) -> dict[str, Any]:
    """All of a plan."""
    return {
        "demand": asdict(made.demand),
        "machine": asdict(made.machines),
        "deployments": made.deployments,
        "divided_for": made.divided_for,
        "connections_per_client": made.connections,
        "machines": made.totals,
        "ingestor": asdict(made.ingestor),
        "redis": asdict(made.redis),
        "gateway": asdict(made.gateway),
        "bytes_per_s": made.links,
        "loads": made.loads,
        "saturates_first": made.first,
        "assumptions": list(ASSUMPTIONS),
    }
