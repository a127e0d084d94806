"""Turns traces on, if the setting `trace_share` says so."""

from typing import TYPE_CHECKING

from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import variable

if TYPE_CHECKING:
    from depthcast.shared.runtime.open_telemetry import Traces


def start(tier: str, prefix: str, share: float) -> "Traces | None":
    """Return what writes the spans of this process, None if nothing is traced; raises `SettingsError`."""
    if not share:
        return None
    try:
        from depthcast.shared.runtime.open_telemetry import Traces, to_collector
    except ModuleNotFoundError as error:
        remedy = "needs OpenTelemetry: pip install 'depthcast[traces]'"
        raise SettingsError(variable("trace_share"), share, remedy) from error
    return Traces(to_collector(), tier, prefix, share)
