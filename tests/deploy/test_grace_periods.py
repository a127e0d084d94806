"""Whoever ends a gateway gives it the time that draining takes by its settings."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthcast.gateway.runtime.drain import drained_within_s
from depthcast.shared.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
MARGIN_S = 3.0
"""What the end of a process takes beyond draining: HTTP answers, Redis, Python itself."""


def settings_of(variables: Mapping[str, Any]) -> GatewaySettings:
    named = {name: str(value) for name, value in variables.items() if name.startswith("DEPTHCAST_DRAIN")}
    return GatewaySettings.load(named)


def of_composition() -> tuple[GatewaySettings, float]:
    gateway = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["gateway"]
    return settings_of(gateway["environment"]), float(gateway["stop_grace_period"].removesuffix("s"))


def of_chart() -> tuple[GatewaySettings, float]:
    path = ROOT / "deploy" / "helm" / "depthcast" / "values.yaml"
    gateway = yaml.safe_load(path.read_text(encoding="utf-8"))["gateway"]
    named = {f"DEPTHCAST_{name.upper()}": value for name, value in gateway["settings"].items()}
    return settings_of(named), gateway["terminationGracePeriodSeconds"] - gateway["preStopSeconds"]


def of_systemd() -> tuple[GatewaySettings, float]:
    text = (ROOT / "deploy" / "systemd" / "depthcast-gateway@.service").read_text(encoding="utf-8")
    named = dict(re.findall(r"^Environment=(DEPTHCAST_\w+)=(.*)$", text, re.MULTILINE))
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    return settings_of(named), float(seconds)


@pytest.mark.parametrize("grace", [of_composition, of_chart, of_systemd])
def test_a_gateway_has_time_to_drain(grace: Any) -> None:
    settings, given_s = grace()
    assert drained_within_s(settings) + MARGIN_S <= given_s


def test_proxies_notice_within_the_delay() -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")
    ((interval_s, fall),) = re.findall(r"check inter (\d+)s fall (\d+)", text)
    # The first check that fails may come a whole interval later.
    assert of_composition()[0].drain_delay_s >= int(interval_s) * int(fall)
    path = ROOT / "deploy" / "helm" / "depthcast" / "templates" / "_helpers.tpl"
    assert "readinessProbe" in path.read_text(encoding="utf-8")
