"""Results as files: JSON in benchmarks/results, and from them the tables and pictures of docs/performance.md.

The document is written by hand, but for what stands between `<!-- benchmark NAME -->` and `<!-- end of
benchmark -->`.
"""

import json
import re
import statistics
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import chart
from benchmarks.harness import Benchmark, Run
from benchmarks.machine import facts

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
DOCUMENT: Final = ROOT / "docs" / "performance.md"
BUSY_MOST: Final = 0.1
"""Where other work took a greater share of the machine, the document says so."""
PLACE: Final = re.compile(r"(<!-- benchmark ([\w-]+) -->\n).*?(<!-- end of benchmark -->)", re.DOTALL)


def save(benchmark: Benchmark, run: Run, seconds: float) -> Path:
    """Write one run's result."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark.name}.json"
    result = {
        "name": benchmark.name,
        "title": benchmark.title,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "rounds": run.rounds,
        "quick": run.quick,
        "busy": round(run.busy, 2),
        "machine": facts(),
        "comparisons": run.comparisons,
        "charts": run.charts,
        "absent": run.missing,
        "notes": run.notes,
    }
    if run.before is not None:
        result["before"] = True
    if run.data:
        result["data"] = run.data
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def results() -> dict[str, dict[str, Any]]:
    """All results there are, by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }


def update_document() -> None:
    """Put every result into its place in docs/performance.md, with its pictures beside it."""
    found = results()

    def filled(match: re.Match[str]) -> str:
        result = found.get(match[2])
        return match[0] if result is None else match[1] + "\n".join(lines(result)) + "\n" + match[3]

    for result in found.values():
        for picture in result["charts"]:
            _picture(picture["name"]).write_text(chart.draw(picture), encoding="utf-8")
    if "capacity" in found:
        from benchmarks.capacity.document import update_document as update_capacity

        update_capacity(found["capacity"])
    if DOCUMENT.exists():
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(PLACE.sub(filled, text), encoding="utf-8")


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Markdown of one result."""
    machine = result["machine"]
    yield ""
    name = result["name"]
    words = f"'{name} --before PYTHON'" if result.get("before") else name
    yield (
        f"`make bench ARGS={words}`, "
        f"{result['rounds']} rounds{', quick' if result['quick'] else ''}, "
        f"{result['when'][:10]}, {machine['cores']} cores of {machine['cpu']}, {machine['python']}, "
        f"{machine['system']}, commit {machine['commit']}."
    )
    if result.get("busy", 0.0) > BUSY_MOST:
        yield ""
        yield f"**Other work ran beside it**, which took {result['busy']:.0%} of the machine before the run."
    for comparison in result["comparisons"]:
        yield ""
        yield from _table(comparison)
    for picture in result["charts"]:
        yield ""
        yield f"![{picture['title']}]({_picture(picture['name']).name})"
    targets = [(part["name"], target) for part in result["comparisons"] for target in part["targets"]]
    if targets:
        yield ""
        yield "| aim | | reached | |"
        yield "| :-- | :-- | --: | :-- |"
        for name, target in targets:
            met = "yes" if target["met"] else "**no**"
            yield f"| {name} | {_aim(target)} | {_spread(target['reached'])} | {met} |"
    for name, why in result["absent"].items():
        yield ""
        yield f"Not measured: {name} ({why})."
    for note in result["notes"]:
        yield ""
        yield note
    yield ""


def _table(comparison: Mapping[str, Any]) -> Iterator[str]:
    metrics, baseline = comparison["metrics"], comparison["baseline"]
    heads = [f"{metric['title']}{', ' * bool(metric['unit'])}{metric['unit']}" for metric in metrics]
    compared = [metric for metric in metrics if metric["compared"]] if baseline else []
    ratio = [f"{metric['title']} ÷ {baseline}" for metric in compared]
    yield f"| {comparison['name']} | {' | '.join(heads + ratio)} |"
    yield "| :-- |" + " --: |" * len(heads + ratio)
    for name, samples in comparison["samples"].items():
        cells = []
        for metric in metrics:
            values = samples.get(metric["name"])
            cells.append(f"{statistics.median(values):,.{metric['digits']}f}" if values else "")
        if baseline:
            found = comparison["ratios"].get(name, {})
            cells += [
                _spread(found[metric["name"]]) if metric["name"] in found else "1" * (name == baseline)
                for metric in compared
            ]
        yield f"| {name} | {' | '.join(cells)} |"


def _spread(found: Mapping[str, float]) -> str:
    return f"{_figure(found['median'])} ({_figure(found['least'])} … {_figure(found['greatest'])})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _aim(target: Mapping[str, Any]) -> str:
    against = f" ÷ {target['to']}" if target["to"] else ""
    signs = [
        f"{sign} {target[side]:g}"
        for side, sign in (("least", "≥"), ("most", "≤"))
        if target[side] is not None
    ]
    return f"{target['metric']}: {target['of']}{against} {' and '.join(signs)}"


def _picture(name: str) -> Path:
    return DOCUMENT.with_name(f"performance-{name}.svg")
