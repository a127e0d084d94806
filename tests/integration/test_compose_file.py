"""Checks of the composition and its files, without a container engine."""

import re
import shlex
from pathlib import Path

import pytest

from depthcast.ingestor.runtime.registry import read_instruments_file
from depthcast.shared.partition import partition_of
from depthcast.shared.settings import GatewaySettings, IngestorSettings, Settings, known_variables
from depthcast.shared.types import Symbol

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PROXY = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")


def services() -> dict[str, str]:
    """Text of each service, by name; the file keeps to two spaces a level."""
    body = re.search(r"^services:\n(.*?)^\S", COMPOSE, re.MULTILINE | re.DOTALL)
    assert body is not None
    parts = re.split(r"^  (\w+):\n", body[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SERVICES = services()


def settings_in(text: str) -> dict[str, str]:
    """The DEPTHCAST_ variables that a part of the composition sets."""
    return dict(re.findall(r'^ +(DEPTHCAST_\w+): "?([^"\n]*?)"?$', text, re.MULTILINE))


COMMON = settings_in(COMPOSE.split("\nservices:\n")[0])
OF_THE_IMAGE = dict(re.findall(r"(DEPTHCAST_\w+)=(\S+)", DOCKERFILE))


def environment(service: str) -> dict[str, str]:
    return OF_THE_IMAGE | COMMON | settings_in(SERVICES[service])


def test_the_composition_has_every_part() -> None:
    assert sorted(SERVICES) == ["feed", "gateway", "ingestor", "proxy", "redis"]


@pytest.mark.parametrize(
    ("service", "kind"), [("ingestor", IngestorSettings), ("gateway", GatewaySettings), ("feed", Settings)]
)
def test_every_process_takes_its_settings(service: str, kind: type[Settings]) -> None:
    settings = kind.load(environment(service))
    assert settings.partitions == 2
    assert settings.redis_url.startswith("redis://redis:")


def test_every_variable_that_is_set_is_a_setting() -> None:
    named = set(re.findall(r"DEPTHCAST_\w+", COMPOSE + DOCKERFILE))
    assert named <= known_variables()


def test_the_proxy_and_the_health_checks_use_the_ports_that_are_served() -> None:
    gateway = GatewaySettings.load(environment("gateway"))
    assert f"server-template gateway- 8 gateway:{gateway.port}\n" in PROXY
    assert "bind :8080\n" in PROXY
    assert set(re.findall(r"127\.0\.0\.1:(\d+)/(?:healthz|readyz)", COMPOSE)) == {str(gateway.admin_port)}


@pytest.mark.parametrize(
    ("service", "kind"), [("ingestor", IngestorSettings), ("gateway", GatewaySettings), ("feed", Settings)]
)
def test_metrics_are_on_loopback_unless_they_are_asked_for(service: str, kind: type[Settings]) -> None:
    settings = kind.load(environment(service))
    assert (settings.admin_host, settings.admin_port) == ("127.0.0.1", 9100)
    assert re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE) == [str(GatewaySettings().port)]


def test_only_the_proxy_is_published_and_by_default_on_this_machine_only() -> None:
    published = {name: text for name, text in SERVICES.items() if "ports:" in text}
    assert list(published) == ["proxy"]
    assert "${PUBLISHED_ADDRESS:-127.0.0.1}:${PUBLISHED_PORT:-8080}:8080" in published["proxy"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_is_limited_checked_restarted_and_stopped_in_time(service: str) -> None:
    shared = COMPOSE.split("x-depthcast:")[1].split("\nservices:\n")[0]
    text = SERVICES[service] + (shared if "*depthcast" in SERVICES[service] else "")
    for word in ("memory:", "cpus:", "pids:", "healthcheck:", "restart: unless-stopped", "cap_drop: [ALL]"):
        assert word in text, word
    assert "logging: *logging" in text
    grace = re.search(r"stop_grace_period: (\d+)s", text)
    assert grace is not None
    # The contract gives every process 10 s to end.
    assert int(grace[1]) > 10


def test_redis_keeps_what_it_is_given() -> None:
    for words in ("--appendonly yes", "--maxmemory-policy noeviction", "--maxmemory 512mb"):
        assert f"- {words}\n" in SERVICES["redis"]
    assert "redis-data:/data" in SERVICES["redis"]


def test_images_are_named_by_public_name_and_version() -> None:
    images = re.findall(r"^ +image: (\S+)$", COMPOSE, re.MULTILINE) + re.findall(
        r"^FROM (\S+)", DOCKERFILE, re.MULTILINE
    )
    assert all(re.fullmatch(r"[a-z]+:\d[\w.-]*", image) for image in images), images


def test_the_instruments_load_and_use_every_partition() -> None:
    instruments = read_instruments_file(str(DEPLOY / "instruments.toml"))
    assert {partition_of(symbol, 2) for symbol in instruments} == {0, 1}
    # The feed's health check looks at partition 0.
    assert partition_of(Symbol("BTC-USD"), 2) == 0
    assert "BTC-USD" in instruments


def test_what_the_image_is_built_from_reaches_its_build() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in shlex.split(line)[1:-1]
        if word != "."
    }
    assert copied <= allowed
    assert {"pyproject.toml", "README.md", "LICENSE", "web"} <= allowed
    assert [name for name in sorted(allowed) if not (ROOT / name).exists()] == []


def test_mounted_files_exist() -> None:
    mounted = re.findall(r'"(\./[^:]+):', COMPOSE)
    assert sorted(mounted) == ["./deploy/haproxy.cfg", "./deploy/instruments.toml"]
    assert all((ROOT / path).is_file() for path in mounted)
