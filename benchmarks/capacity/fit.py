"""Least squares with costs of at least zero, by coordinate descent.

The error of a row counts in relation to its target and the mean of all targets, so that neither the small
rows nor the large ones decide alone.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SWEEPS_MAX: Final = 20_000
TOLERANCE: Final = 1e-10


class Fit(NamedTuple):
    """Cost by feature, and the error of each row, relative to the target or the mean, whichever is more."""

    costs: dict[str, float]
    errors: list[float]

    @property
    def worst(self) -> float:
        """The greatest relative error."""
        return max(map(abs, self.errors))


def fit(rows: Sequence[Mapping[str, float]], targets: Sequence[float], names: Sequence[str]) -> Fit:
    """Costs ≥ 0 whose sums come closest to the targets, which are above zero.

    A feature that no row has costs nothing.
    """
    scales = {name: max(abs(row.get(name, 0.0)) for row in rows) or 1.0 for name in names}
    mean = sum(targets) / len(targets)
    table = [
        [row.get(name, 0.0) / scales[name] / (target + mean) for name in names]
        for row, target in zip(rows, targets, strict=True)
    ]
    found = _solve(table, [target / (target + mean) for target in targets])
    costs = {name: value / scales[name] for name, value in zip(names, found, strict=True)}
    sums = [sum(costs[name] * row.get(name, 0.0) for name in names) for row in rows]
    errors = [(total - target) / max(target, mean) for total, target in zip(sums, targets, strict=True)]
    return Fit(costs, errors)


def _solve(table: Sequence[Sequence[float]], aims: Sequence[float]) -> list[float]:
    """Minimise the squares of `table · x − aims`, x ≥ 0: by one coordinate at a time."""
    size = len(table[0])
    normal = [[sum(row[i] * row[j] for row in table) for j in range(size)] for i in range(size)]
    wanted = [sum(row[i] * aim for row, aim in zip(table, aims, strict=True)) for i in range(size)]
    found = [0.0] * size
    for _ in range(SWEEPS_MAX):
        moved = 0.0
        for i in range(size):
            if normal[i][i] == 0:
                continue
            rest = sum(normal[i][j] * found[j] for j in range(size)) - normal[i][i] * found[i]
            new = max(0.0, (wanted[i] - rest) / normal[i][i])
            moved = max(moved, abs(new - found[i]))
            found[i] = new
        if moved < TOLERANCE:
            break
    return found
