"""Judges an attack, and prints it as a row of the table."""

from typing import Final

from tests.attack.stage import Run
from tests.attack.wire import Outcome

SILENCE_MS: Final = 50.0
"""So much longer may the good client's longest silence be than without the attack, or at a gateway beside."""
MEMORY_BYTES: Final = 32 << 20
"""So much more may a gateway hold afterwards: the allocator keeps some of what was once used."""
PEAK_BYTES: Final = 256 << 20
"""So much more may it hold during an attack."""
CPU: Final = 0.10
"""So much more of a core may it use afterwards than the gateway beside, which nobody attacks."""
DESCRIPTORS: Final = 8
"""So many more may be open afterwards."""
LAST_S: Final = 1.0
"""Over this time at the end it is judged what an attack left behind."""
MB: Final = 1e6


def left_behind(run: Run) -> list[str]:
    """What is not as it was before the attack."""
    last, found = run.end - LAST_S, []
    before, after = run.rss(*run.calm), run.rss(last, run.end)
    if after > before + MEMORY_BYTES:
        found.append(f"{(after - before) / MB:.0f} MB not given back")
    if run.cpu(last, run.end) > run.cpu_beside(last, run.end) + CPU:
        found.append(f"{run.cpu(last, run.end):.0%} of a core afterwards")
    if _descriptors(run, last, run.end) > _descriptors(run, *run.calm) + DESCRIPTORS:
        found.append("descriptors not closed")
    if run.silence_ms("good", last, run.end) > allowed_ms(run, last, run.end) + LAST_S * 100:
        found.append("the good client still waits")
    return found


def allowed_ms(run: Run, begin: float, end: float) -> float:
    """The longest silence that is none of the attack's: without it, or at the gateway beside meanwhile."""
    return max(run.silence_ms("good", *run.calm), run.silence_ms("beside", begin, end)) + SILENCE_MS


def problems(run: Run) -> list[str]:
    """Everything that is wrong."""
    begin, stop = run.attacked
    found = []
    if run.ended is not None:
        found.append(f"the gateway ended with status {run.ended}")
    if run.silence_ms("good", begin, stop) > allowed_ms(run, begin, stop):
        found.append("silence")
    if run.silence_ms("good", stop, run.end) > allowed_ms(run, stop, run.end):
        found.append("silence after")
    if run.lost():
        found.append(f"the good client was dropped: {', '.join(map(str, run.lost()))}")
    if run.knocks()[1]:
        found.append(f"somebody new came in vain: {run.knocks()[1]}")
    if run.rss(begin, run.end) > run.rss(*run.calm) + PEAK_BYTES:
        found.append("peak of memory")
    if not run.attack.refused(list(run.outcome)):
        found.append("no refusal")
    return found + left_behind(run)


HEAD: Final = (
    "| attack | longest silence: without / with / after (beside) | median | HTTP for somebody new "
    "| RSS MB: before / peak / after | CPU: with / after (beside) | open files: peak / after "
    "| what the attacker got | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def row(run: Run) -> str:
    """One row of the table."""
    begin, stop = run.attacked
    last = run.end - LAST_S
    silences = (run.silence_ms("good", *times) for times in (run.calm, (begin, stop), (stop, run.end)))
    wait, vain = run.knocks()
    memory = (run.rss(*run.calm), run.rss(begin, run.end), run.rss(last, run.end))
    cells = [
        run.attack.name,
        f"{' / '.join(map(_ms, silences))} ({_ms(run.silence_ms('beside', begin, run.end))})",
        _ms(run.latency_ms(begin, run.end)),
        _ms(wait) + (f", {vain} × in vain" if vain else ""),
        " / ".join(f"{size / MB:.0f}" for size in memory),
        f"{run.cpu(begin, stop):.0%} / {run.cpu(last, run.end):.0%} ({run.cpu_beside(last, run.end):.0%})",
        f"{_descriptors(run, begin, run.end)} / {_descriptors(run, last, run.end)}",
        received(run.outcome),
        "; ".join(problems(run)) or "good",
    ]
    return f"| {' | '.join(cells)} |"


def received(outcome: Outcome) -> str:
    """What the attacker got, the most frequent first."""
    return ", ".join(f"{kind} × {count}" for kind, count in outcome.most_common(6)) or "nothing"


def _ms(value: float) -> str:
    if value == float("inf"):
        return "nothing came"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _descriptors(run: Run, begin: float, end: float) -> int:
    return max((sample.descriptors for sample in run.samples if begin <= sample.at <= end), default=0)
