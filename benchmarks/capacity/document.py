"""The tables of docs/capacity.md, made from benchmarks/results/capacity.json.

The document is written by hand, but for what stands between `<!-- capacity NAME -->` and `<!-- end of
capacity -->`. `python -m benchmarks --report` writes these parts anew.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.capacity.check import TOLERANCE, Comparison
from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.plan import Plan, plan
from depthcast.capacity.text import ASSUMPTIONS, MONTH_S, count, demand_lines, plan_rows, short

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "capacity.md"
PLACE: Final = re.compile(r"(<!-- capacity ([\w-]+) -->\n).*?(<!-- end of capacity -->)", re.DOTALL)
CLIENTS: Final = (10_000, 1_000_000, 100_000_000)
RATES: Final = {1_000: 10.0, 100_000: 1.0}
"""Broadcasts a second of a symbol, by number of symbols: of many, most are quiet."""
POPULAR: Final = 10.0
BUSY_LOAD: Final = 2.0
"""Load average ÷ cores from which on other work ran too: the measurement alone has about one job for each."""
MACHINES: Final = Machines()
EXAMPLE: Final = Demand(clients=1_000_000, symbols=1_000)
TITLES: Final = {
    "ingestor": ("an ingestor that leads", "µs of CPU"),
    "standby": ("an ingestor that follows", "µs of CPU"),
    "redis": ("Redis", "µs of CPU"),
    "gateway": ("a gateway worker", "µs of CPU"),
    "bytes": ("messages", "B"),
    "memory": ("memory", "B"),
    "latency": ("handing work to another process", "µs"),
}


def updated(text: str, result: Mapping[str, Any]) -> str:
    """The document with the parts of this result."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "costs": lambda: _costs(result),
        "check": lambda: _check(result),
        "machines": lambda: _machines(_plans(result)),
        "saturation": lambda: _saturation(_plans(result)),
        "units": lambda: _units(_plans(result)),
        "bytes": lambda: _bytes(_plans(result)),
        "example": lambda: _example(result),
        "assumptions": lambda: (f"- {text}" for text in ASSUMPTIONS),
    }

    def filled(match: re.Match[str]) -> str:
        return match[1] + "\n" + "\n".join(made[match[2]]()) + "\n\n" + match[3]

    return PLACE.sub(filled, text)


def update_document(result: Mapping[str, Any]) -> None:
    """Write the document anew."""
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8"), result), encoding="utf-8")


def demands() -> Iterator[Demand]:
    """The demands of the tables."""
    for symbols, rate in RATES.items():
        for clients in CLIENTS:
            yield Demand(clients=clients, symbols=symbols, broadcasts_per_s=rate, popular_per_s=POPULAR)


def _plans(result: Mapping[str, Any]) -> list[Plan]:
    costs = UnitCosts.from_json(result["data"]["costs"])
    return [plan(demand, MACHINES, costs) for demand in demands()]


def _who(made: Plan) -> str:
    return f"{count(made.demand.clients)} clients, {count(made.demand.symbols)} symbols"


def _costs(result: Mapping[str, Any]) -> Iterator[str]:
    machine = result["machine"]
    yield (
        f"`depthcast bench capacity`, {result['rounds']} rounds{', quick' if result['quick'] else ''}, "
        f"{result['when'][:10]}, {machine['cores']} cores of {machine['cpu']}, {machine['python']}, "
        f"{machine['system']}, commit {machine['commit']}, load average {machine['load_average']:g}."
    )
    for group, (title, unit) in TITLES.items():
        yield ""
        yield f"| {title} | {unit} |"
        yield "| :-- | --: |"
        for name, cost in result["data"]["costs"][group].items():
            yield f"| {name.replace('_', ' ')} | {_figure(cost)} |"


def _check(result: Mapping[str, Any]) -> Iterator[str]:
    data = result["data"]
    yield "| held-out load | measured | simulated | difference | |"
    yield "| :-- | --: | --: | --: | :-- |"
    found = [Comparison(*row) for row in data["check"]]
    for one in found:
        met = "yes" if one.good else "**no**"
        yield f"| {one.name} | {one.measured:.3f} | {one.simulated:.3f} | {one.error:+.0%} | {met} |"
    yield ""
    yield _verdict([one.good for one in found], result["machine"])
    yield ""
    yield (
        f"The last column says whether the difference is at most {TOLERANCE:.0%}. "
        "Greatest CPU of a round ÷ least, median of all loads, by process: "
        f"{', '.join(f'{name} {ratio:.2f}' for name, ratio in _scatter(data['spread']).items())}."
    )


def _verdict(good: Sequence[bool], machine: Mapping[str, Any]) -> str:
    """Whether this result passes its own check, and whether the machine was calm enough to say much."""
    verdict = "This result passes the check" if all(good) else "**This result fails the check**"
    said = f"{verdict}: {sum(good)} of {len(good)} numbers agree within {TOLERANCE:.0%}."
    load, cores = machine["load_average"], machine["cores"]
    if load >= BUSY_LOAD * cores:
        said += (
            f" **The machine was busy with other work**: after the run its load average was {load:g} "
            f"on {cores} cores. All costs and plans on this page come from that run; "
            "measure again on a calm machine."
        )
    return said


def _scatter(spread: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in next(iter(spread.values())) if name != "cpu_clients"]
    middle = len(spread) // 2
    return {name.removeprefix("cpu_"): sorted(of[name] for of in spread.values())[middle] for name in names}


def _machines(plans: list[Plan]) -> Iterator[str]:
    yield (
        "| | deployments | partitions | ingestors, cores | Redis masters + replicas | gateway workers "
        "| machines: ingestors | Redis | gateways |"
    )
    yield "| :-- |" + " --: |" * 8
    for made in plans:
        many, totals = made.deployments, made.totals
        cells = [
            f"{many:,}",
            f"{made.ingestor.partitions * many:,}",
            f"{made.ingestor.processes * many:,}, {made.ingestor.cores * many:.1f}",
            f"{made.redis.primaries * many:,} + {made.redis.replicas * many:,}",
            f"{made.gateway.workers * many:,}",
            *(f"{totals[name]:,}" for name in ("ingestor", "redis", "gateway")),
        ]
        yield f"| {_who(made)} | {' | '.join(cells)} |"


def _saturation(plans: list[Plan]) -> Iterator[str]:
    names = list(plans[0].loads)
    yield f"| demand ÷ one unit | {' | '.join(names)} | saturates first | a worker is full by |"
    yield "| :-- |" + " --: |" * len(names) + " :-- | :-- |"
    for made in plans:
        cells = [short(made.loads[name]) for name in names]
        yield f"| {_who(made)} | {' | '.join(cells)} | {made.first} | {made.gateway.decided_by} |"


def _units(plans: list[Plan]) -> Iterator[str]:
    shown = [plans[1], plans[len(CLIENTS) + 1]]
    yield f"| one unit is full with | {' | '.join(map(_who, shown))} |"
    yield "| :-- |" + " --: |" * len(shown)
    for name in shown[0].saturation:
        yield f"| {name} | {' | '.join(short(made.saturation[name]) for made in shown)} |"


def _bytes(plans: list[Plan]) -> Iterator[str]:
    names = list(plans[0].links)
    yield f"| a second | {' | '.join(names)} | to clients in 30 days |"
    yield "| :-- |" + " --: |" * (len(names) + 1)
    for made in plans:
        cells = [short(value, "B") for value in made.links.values()]
        month = short(made.links["gateways to clients"] * MONTH_S, "B")
        yield f"| {_who(made)} | {' | '.join(cells)} | {month} |"


def _example(result: Mapping[str, Any]) -> Iterator[str]:
    made = plan(EXAMPLE, MACHINES, UnitCosts.from_json(result["data"]["costs"]))
    yield " ".join(demand_lines(made.demand, made.machines))
    yield ""
    yield "| | |"
    yield "| :-- | :-- |"
    for name, value in plan_rows(made):
        yield f"| {name} | {value} |"
    yield ""
    yield from _steps(made)


def _steps(made: Plan) -> Iterator[str]:
    """How the number of workers comes about, with the numbers of this result."""
    cpu, client, gateway = made.costs.gateway, made.client, made.gateway
    each = {
        f"{client.writes:.1f} writes × {_figure(cpu.write)}": client.writes * cpu.write,
        f"{short(client.bytes, 'B')} × {_figure(cpu.byte)}": client.bytes * cpu.byte,
        f"{client.frames:.0f} joined frames × {_figure(cpu.join)}": client.frames * cpu.join,
        f"the connection {_figure(cpu.connection_second)}": cpu.connection_second,
    }
    yield "The gateway workers, step by step:"
    yield ""
    yield f"1. A client costs a worker {' + '.join(each)} = {sum(each.values()):,.0f} µs a second."
    yield f"2. Reading all symbols costs {gateway.fixed_share:.1%} of a core, whoever is connected."
    changes = min(gateway.followed * made.demand.read_per_s, made.rates.broadcasts)
    yield (
        f"3. The {gateway.followed:,.0f} symbols that its clients read have {changes:,.0f} broadcasts "
        f"a second, each of which costs {_figure(cpu.made)} µs more: "
        f"{changes * cpu.made / 1e4:.1f} % of a core."
    )
    yield (
        f"4. So {gateway.clients_per_worker:,.0f} clients fill {made.machines.share:.0%} of a core (by "
        f"{gateway.decided_by}), and {count(made.demand.clients)} clients need {gateway.workers:,} workers."
    )


def _figure(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
