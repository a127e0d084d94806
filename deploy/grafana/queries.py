"""Queries for panels, made from metrics of the registry: a query of a metric that is gone raises an error."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from prometheus_client.core import Metric

from deploy.metric_registry import labels_of

_UNITS: Final = (
    ("_seconds_total", "percentunit"),  # seconds a second
    ("_bytes_sent_total", "Bps"),
    ("_bytes_saved_total", "Bps"),
    ("_total", "cps"),
    ("_seconds", "s"),
    ("_bytes", "bytes"),
)
"""Units of Grafana by the end of a metric's name; those of counters are for their rate."""


class Query(NamedTuple):
    """What one panel shows: `legend` names each line, `text` explains it, `unit` is one of Grafana's."""

    title: str
    expr: str
    legend: str
    unit: str
    text: str


class Queries:
    """Makes queries of `metrics`, by name. `by`: labels with a line for each value; `where`: a selector."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics

    def gauge(self, title: str, name: str, *by: str, where: str = "", how: str = "max") -> Query:
        """A gauge. `how`: what becomes of lines that differ in other labels, such as `sum`."""
        return self._query(title, name, by, f"{how}{_by(by)} ({name}{where})")

    def rate(self, title: str, name: str, *by: str, where: str = "") -> Query:
        """Increase of a counter in a second."""
        return self._query(title, name, by, f"sum{_by(by)} (rate({name}{where}[$__rate_interval]))")

    def quantile(self, title: str, name: str, *by: str, share: float = 0.99, where: str = "") -> Query:
        """A quantile of a histogram. `share`: of 1."""
        rates = f"sum{_by((*by, 'le'))} (rate({name}_bucket{where}[$__rate_interval]))"
        return self._query(title, name, by, f"histogram_quantile({share}, {rates})")

    def ratio(self, title: str, above: str, below: str, *by: str, where: str = "", text: str = "") -> Query:
        """Rate of one counter divided by that of another. `where`: of the first."""
        under = self.rate(title, below, *by).expr
        over = self.rate(title, above, *by, where=where)
        return over._replace(expr=f"{over.expr} / {under}", unit="short", text=text or over.text)

    def _query(self, title: str, name: str, by: tuple[str, ...], expr: str) -> Query:
        if name not in self.metrics:
            raise KeyError(f"no process exports {name}")
        if missing := set(by) - labels_of(self.metrics[name]):
            raise KeyError(f"{name} has no label {', '.join(sorted(missing))}")
        unit = next((unit for end, unit in _UNITS if name.endswith(end)), "short")
        legend = " ".join(f"{{{{{label}}}}}" for label in by) or title
        return Query(title, expr, legend, unit, self.metrics[name].documentation)


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
