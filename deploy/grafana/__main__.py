"""Writes the dashboards into `deploy/grafana/dashboards/`, or into the folder that is named."""

import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common as viz
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.grafana.contents import Page, pages
from deploy.grafana.queries import Queries, Query
from deploy.metric_registry import exported

FOLDER: Final = Path(__file__).parent / "dashboards"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${source}")
PANEL_HEIGHT: Final = 8
PANEL_WIDTH: Final = 8
"""Three panels in a line of 24."""


def written() -> dict[str, str]:
    """Return the files by their names."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {
        f"depthcast-{page.name}.json": encoder.encode(dashboard(page).build()) + "\n"
        for page in pages(Queries(exported()))
    }


def dashboard(page: Page) -> Dashboard:
    """Return a dashboard; the data source of Prometheus is chosen at its top."""
    made = (
        Dashboard(page.title)
        .uid(f"depthcast-{page.name}")
        .tags(["depthcast"])
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for title, queries in page.rows.items():
        made = made.with_row(Row(title))
        for query in queries:
            made = made.with_panel(panel(query))
    return made


def panel(query: Query) -> Panel:
    """Return a panel with one query."""
    return (
        Panel()
        .title(query.title)
        .description(query.text)
        .datasource(SOURCE)
        .unit(query.unit)
        .min(0)
        .height(PANEL_HEIGHT)
        .span(PANEL_WIDTH)
        .legend(viz.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(True))
        .tooltip(viz.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .with_target(Dataquery().datasource(SOURCE).expr(query.expr).legend_format(query.legend).ref_id("A"))
    )


def main(folder: Path = FOLDER) -> None:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
