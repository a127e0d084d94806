"""Checks of the composition and its files, without a container engine."""

import re
import shlex
from pathlib import Path

import pytest

from deploy.upgrade.composition import PROXY_STATS
from depthcast.ingestor.runtime.registry import read_instruments_file
from depthcast.shared.partition import partition_of
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    Settings,
    file_variable,
    known_variables,
    secrets,
)
from depthcast.shared.types import Symbol

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PROXY = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
REDIS = (DEPLOY / "redis.conf").read_text(encoding="utf-8")
SECRETS = (DEPLOY / "make-secrets.sh").read_text(encoding="utf-8")
FILES = frozenset(file_variable(name) for name in secrets())


def services() -> dict[str, str]:
    """Text of each service, by name; the file keeps to two spaces a level."""
    body = re.search(r"^services:\n(.*?)^\S", COMPOSE, re.MULTILINE | re.DOTALL)
    assert body is not None
    parts = re.split(r"^  (\w+):\n", body[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SERVICES = services()
ONCE = "secrets"
"""The service that ends when it is done."""
TOOL = "token"
"""The service that somebody runs for one command."""
OBSERVE = ("prometheus", "grafana")


def settings_in(text: str, **given: str) -> dict[str, str]:
    """The DEPTHCAST_ variables that a part of the composition sets; `given`: those of whoever starts it."""
    found = re.findall(r'^ +(DEPTHCAST_\w+): "?([^"\n]*?)"?$', text, re.MULTILINE)
    return {
        name: re.sub(r"\$\{(\w+):-(.*?)\}", lambda word: given.get(word[1], word[2]), value)
        for name, value in found
    }


COMMON = settings_in(COMPOSE.split("\nservices:\n")[0])
OF_THE_IMAGE = dict(re.findall(r"(DEPTHCAST_\w+)=(\S+)", DOCKERFILE))


def environment(service: str, **given: str) -> dict[str, str]:
    """What a process is told, but for files of secrets, which are not there."""
    variables = OF_THE_IMAGE | COMMON | settings_in(SERVICES[service], **given)
    return {name: value for name, value in variables.items() if name not in FILES}


USERS = {"ingestor": "ingestor", "gateway": "gateway", "feed": "feed", TOOL: "operator"}
PROCESSES = pytest.mark.parametrize(
    ("service", "kind"),
    [("ingestor", IngestorSettings), ("gateway", GatewaySettings), ("feed", Settings), (TOOL, Settings)],
)


def test_the_composition_has_every_part() -> None:
    assert list(SERVICES) == ["secrets", "redis", "ingestor", "gateway", "proxy", "feed", TOOL, *OBSERVE]
    replicas = {name: re.findall(r"replicas: (\d)", text) for name, text in SERVICES.items()}
    assert {name: found for name, found in replicas.items() if found} == {"ingestor": ["2"], "gateway": ["3"]}


@PROCESSES
def test_every_process_takes_its_settings(service: str, kind: type[Settings]) -> None:
    settings = kind.load(environment(service))
    assert settings.partitions == 2
    assert f"//depthcast-{USERS[service]}:@redis:6379/0?ssl_ca_certs=/secrets/ca.pem&" in settings.redis_url
    assert settings.redis_url.startswith("rediss://")


def test_who_reads_books_needs_a_token_unless_one_switch_says_otherwise() -> None:
    settings = GatewaySettings.load(environment("gateway"))
    assert (settings.takes_tokens, settings.anonymous) == (True, False)
    settings = GatewaySettings.load(environment("gateway", DEPTHCAST_ANONYMOUS="true"))
    assert settings.anonymous is True
    assert COMPOSE.count("${DEPTHCAST_") == 1


def test_every_variable_that_is_set_is_a_setting() -> None:
    named = set(re.findall(r"DEPTHCAST_\w+", COMPOSE + DOCKERFILE))
    assert named <= known_variables() | FILES


def test_the_proxy_and_the_health_checks_use_the_ports_that_are_served() -> None:
    gateway = GatewaySettings.load(environment("gateway"))
    assert f"server-template gateway- 8 gateway:{gateway.port}\n" in PROXY
    assert re.findall(r"^    bind (\S+)", PROXY, re.MULTILINE) == [":8080", ":8443", ":8404"]
    assert set(re.findall(r"127\.0\.0\.1:(\d+)/(?:healthz|readyz)", COMPOSE)) == {str(gateway.admin_port)}
    assert "http://proxy:8404/stats;csv" in PROXY_STATS


@pytest.mark.parametrize("kind", [IngestorSettings, GatewaySettings, Settings])
def test_metrics_are_on_loopback_unless_they_are_asked_for(kind: type[Settings]) -> None:
    # Whatever else a gateway needs to be reached by others.
    settings = kind.load(OF_THE_IMAGE | {"DEPTHCAST_HOST": "127.0.0.1"})
    assert (settings.admin_host, settings.admin_port) == ("127.0.0.1", 9100)
    assert re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE) == [str(GatewaySettings().port)]


def test_only_the_proxy_is_published_and_by_default_on_this_machine_only() -> None:
    published = {
        name: re.findall(r'^ +- "(\S+:\d+)"$|ports: \["(\S+)"\]', text, re.MULTILINE)
        for name, text in SERVICES.items()
        if "ports:" in text
    }
    assert {name: ["".join(found) for found in all_found] for name, all_found in published.items()} == {
        "proxy": [
            "127.0.0.1:${PUBLISHED_PORT:-8080}:8080",
            "${PUBLISHED_ADDRESS:-127.0.0.1}:${PUBLISHED_TLS_PORT:-8443}:8443",
        ],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    reachable = [name for name, text in SERVICES.items() if "outside]" in text]
    assert reachable == list(published)
    assert "inside: {internal: true}" in COMPOSE


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_is_limited_checked_restarted_and_stopped_in_time(service: str) -> None:
    shared = COMPOSE.split("x-container:")[1].split("\nservices:\n")[0]
    text = SERVICES[service] + (
        shared if re.search(r"<<: \*(?:depthcast|container)", SERVICES[service]) else ""
    )
    again = ('restart: "no"',) if service in (ONCE, TOOL) else ("healthcheck:", "restart: unless-stopped")
    limits = ("memory:", "cpus:", "pids:", "cap_drop: [ALL]", "read_only: true", "no-new-privileges:true")
    for word in (*limits, *again):
        assert word in text, word
    assert "logging: *logging" in text
    grace = re.search(r"stop_grace_period: (\d+)s", text)
    assert grace is not None
    # The contract gives every process 10 s to end.
    assert int(grace[1]) > 10
    assert ("cap_add: [CHOWN]" in text) == (service == ONCE)


def test_who_is_watched_needs_no_watcher() -> None:
    assert [name for name, text in SERVICES.items() if "profiles: [observe]" in text] == list(OBSERVE)
    for name, text in SERVICES.items():
        if name not in OBSERVE:
            assert not re.search(rf"^      ({'|'.join(OBSERVE)}):", text, re.MULTILINE)


def test_redis_keeps_what_it_is_given() -> None:
    for words in ("appendonly yes", "maxmemory-policy noeviction", "maxmemory 512mb", "dir /data"):
        assert f"\n{words}\n" in REDIS
    assert "redis-data:/data" in SERVICES["redis"]


@pytest.mark.parametrize("service", [name for name in SERVICES if name != ONCE])
def test_a_service_sees_its_own_secrets_only(service: str) -> None:
    mounted = re.findall(r"(secrets-\w+):/secrets:ro", SERVICES[service])
    assert re.findall(r"secrets-\w+", SERVICES[service].replace("volume secrets-", "")) == mounted
    assert mounted in ([], [f"secrets-{service}"])


def test_every_folder_of_secrets_is_made() -> None:
    (folders,) = re.findall(r'^FOLDERS="(.*)"$', SECRETS, re.MULTILINE)
    made = re.findall(r"- secrets-(\w+):/secrets/(\w+)\n", SERVICES[ONCE])
    assert [name for name, folder in made if name == folder] == folders.split()
    volumes = COMPOSE.split("\nvolumes:\n")[1]
    assert re.findall(r"^  secrets-(\w+): \{\}$", volumes, re.MULTILINE) == folders.split()


def test_the_image_is_built_once() -> None:
    """Images built side by side differ and share a name: the next `up` would replace containers."""
    assert [name for name, text in SERVICES.items() if "build:" in text] == [ONCE]
    assert COMPOSE.count("build:") == 1
    ours = [name for name, text in SERVICES.items() if "<<: *depthcast" in text]
    assert ours == ["ingestor", "gateway", "feed", TOOL]


def test_images_are_named_by_public_name_and_version() -> None:
    images = re.findall(r"^ +image: (\S+)$", COMPOSE, re.MULTILINE) + re.findall(
        r"^FROM (\S+)", DOCKERFILE, re.MULTILINE
    )
    assert len(images) == 7
    assert all(re.fullmatch(r"(?:[a-z]+/)?[a-z]+:v?\d[\w.-]*", image) for image in images), images


def test_the_image_says_what_is_in_it() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)[.\w]*=", DOCKERFILE))
    assert labels == {"title", "description", "licenses", "version", "revision", "base"}
    (version,) = re.findall(r"^ARG VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"image: depthcast:{version}\n" in COMPOSE
    assert "--output-file /app/sbom.cdx.json /app/bin/python" in DOCKERFILE
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


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
    mounted = re.findall(r'[" ](\./[^:]+):', COMPOSE)
    assert len(mounted) == 7
    assert all((ROOT / path).exists() for path in mounted)
