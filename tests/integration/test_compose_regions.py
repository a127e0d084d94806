"""Checks of the composition of two regions, without a container engine."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from depthcast.ingestor.runtime.registry import read_instruments_file
from depthcast.relay.sources import one_source
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    RelaySettings,
    Settings,
    known_variables,
)

ROOT = Path(__file__).parents[2]
REGIONS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "two-regions.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = REGIONS["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("depthcast:")}
MAIN: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
IN_THE_IMAGE = {"DEPTHCAST_HOST": "0.0.0.0", "DEPTHCAST_ADMIN_PORT": "9100"}  # noqa: S104  # as the image says
KINDS: dict[str, type[Settings]] = {
    "ingestor": IngestorSettings,
    "gateway": GatewaySettings,
    "relay": RelaySettings,
    "feed": Settings,
}


@pytest.mark.parametrize("name", OURS)
def test_every_process_would_start(name: str) -> None:
    environment = OURS[name]["environment"]
    assert set(environment) <= known_variables()
    settings = KINDS[OURS[name]["command"][0]].load({**IN_THE_IMAGE, **environment})
    host = settings.redis_url.split("//")[1].split(":")[0]
    assert set(OURS[name]["networks"]) & set(SERVICES[host]["networks"]), "it reaches its server"
    assert host in OURS[name]["depends_on"]


def test_only_relays_reach_both_regions() -> None:
    both = {name for name, service in SERVICES.items() if {"tokyo", "frankfurt"} <= set(service["networks"])}
    assert both == {"relay"}
    assert all(REGIONS["networks"][name]["internal"] for name in ("tokyo", "frankfurt"))
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8081:8080"]


def test_a_relay_copies_from_one_region_to_the_other() -> None:
    settings = RelaySettings.load({**IN_THE_IMAGE, **OURS["relay"]["environment"]})
    source = one_source(settings)
    assert (source.name, source.settings.redis_url) == ("tokyo", "redis://tokyo-redis:6379/0")
    assert settings.redis_url == "redis://frankfurt-redis:6379/0"
    assert OURS["relay"]["deploy"]["replicas"] == 2


def test_it_uses_the_images_of_the_composition_and_its_instruments() -> None:
    assert {service["image"] for service in OURS.values()} == {MAIN["services"]["ingestor"]["image"]}
    redis = {service["image"] for name, service in SERVICES.items() if name.endswith("-redis")}
    assert redis == {MAIN["services"]["redis"]["image"]}
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
    (volume,) = OURS["tokyo-ingestor"]["volumes"]
    path = (ROOT / "deploy" / volume.split(":")[0]).resolve()
    assert read_instruments_file(str(path))
    built = OURS["relay"]["build"]
    assert (ROOT / "deploy" / built["context"]).resolve() == ROOT
    assert (ROOT / built["dockerfile"]).is_file()
