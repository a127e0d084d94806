"""Option types that the commands `depthcast feed …` have in common."""

from typing import Any

import click


class Speed(click.ParamType[float]):
    """A factor, or `max` for as fast as possible, which is infinity."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            speed = float("inf") if value == "max" else float(value)
        except ValueError:
            speed = 0.0
        if not speed > 0:
            self.fail(f"{value!r} is neither a number above 0 nor max", param, ctx)
        return speed
