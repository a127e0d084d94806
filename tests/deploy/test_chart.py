"""The Helm chart, rendered by Helm's own library and checked against the schemas of Kubernetes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    Settings,
    file_variable,
    known_variables,
    secrets,
    variable,
)

helm = pytest.importorskip("helm_python", reason="there is no wheel of Helm's library for this platform")
kubernetes_validate = pytest.importorskip("kubernetes_validate")
yaml: Any = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "depthcast"
VERSIONS = ("1.27", kubernetes_validate.latest_version())
"""Of Kubernetes: the oldest that the chart allows, and the newest whose schemas are there."""

FILES = {file_variable(name): variable(name) for name in secrets()}
"""Variables that name the file of a secret, with those that have the secret itself."""

Values = dict[str, Any]
Manifest = dict[str, Any]
S = TypeVar("S", bound=Settings)

LOGIN = {"username": "someone", "passwordSecret": "redis-login"}
LEAST: Values = {"gateway": {"tokens": {"keysSecret": "token-keys"}}}
"""What has no default: who may read books."""
EVERYTHING: Values = {
    "image": {"pullSecrets": ["registry"]},
    "redis": {
        "url": "rediss://redis.data:6380/0",
        "port": 6380,
        "peers": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}],
        "tls": {"caSecret": "redis-ca"},
    },
    "ingestor": {
        "redis": LOGIN,
        "instruments": '["BTC-USD"]\ntick_size = "0.01"\n',
        "settings": {"entry_bytes_max": 33_554_432},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "market", "operator": "Exists"}],
        "podAnnotations": {"note": "x"},
    },
    "gateway": {
        "redis": LOGIN,
        "settings": {
            "wildcard": False,
            "trusted_proxies": "10.0.0.0/8",
            "token_issuer": "https://id.example.com",
        },
        "tokens": {"jwksUrl": "https://id.example.com:8443/keys"},
        "autoscaling": {"enabled": True, "connections": 2000, "cpuPercent": 70},
        "affinity": {"nodeAffinity": {}},
    },
    "service": {"type": "LoadBalancer", "annotations": {"note": "x"}},
    "ingress": {"enabled": True, "className": "haproxy", "annotations": {"note": "x"}, "tlsSecret": "web"},
    "networkPolicy": {
        "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "metrics": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
    "extraManifests": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": '{{ include "depthcast.name" . }}-more'},
        }
    ],
}
CASES: dict[str, Values] = {
    "defaults": LEAST,
    "everything": EVERYTHING,
    "least": {"networkPolicy": {"enabled": False}, "topologyKeys": [], "gateway": {"anonymous": True}},
    "a secret for both sides": {"gateway": {"tokens": {"hs256Secret": "shared", "hs256Key": "key"}}},
}


def rendered(values: Values) -> list[Manifest]:
    """Every manifest of a release."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="books", namespace="market")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def the(manifests: list[Manifest], kind: str, role: str) -> Manifest:
    """The manifest of a kind for a role."""
    (found,) = [
        item for item in manifests if item["kind"] == kind and item["metadata"]["name"].endswith(f"-{role}")
    ]
    return found


def pod(manifests: list[Manifest], role: str) -> Manifest:
    spec: Manifest = the(manifests, "Deployment", role)["spec"]["template"]["spec"]
    return spec


def environment(manifests: list[Manifest], role: str) -> dict[str, str]:
    (container,) = pod(manifests, role)["containers"]
    found = [(item["name"], item["value"]) for item in container["env"]]
    assert len(dict(found)) == len(found), "a variable is set twice"
    return dict(found)


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(CASES[request.param])


def test_helm_finds_nothing_wrong() -> None:
    for values in CASES.values():
        found = helm.lint(CHART, values, strict=True)
        assert [message for message in found["messages"] if message["severity"] > 1] == []
        assert not found["errors"]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_everything_in_it(manifests: list[Manifest], version: str) -> None:
    assert len(manifests) >= 6
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_would_be_noticed() -> None:
    manifest = the(rendered(LEAST), "Deployment", "gateway")
    manifest["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def loaded(kind: type[S], given: dict[str, str]) -> S:
    """The settings of a process; files of secrets are not there, so each is replaced by what may be in it."""
    return kind.load(
        {FILES.get(name, name): "x" * 32 if name in FILES else value for name, value in given.items()}
    )


@pytest.mark.parametrize(("role", "kind"), [("ingestor", IngestorSettings), ("gateway", GatewaySettings)])
def test_processes_take_their_settings(manifests: list[Manifest], role: str, kind: type[Settings]) -> None:
    given = environment(manifests, role)
    assert given.keys() <= known_variables() | FILES.keys()
    settings = loaded(kind, given)
    assert settings.partitions == 2
    assert settings.admin_host == "0.0.0.0"  # noqa: S104  # the network policy says who may


@pytest.mark.parametrize("role", ["ingestor", "gateway"])
def test_a_pod_can_do_little(manifests: list[Manifest], role: str) -> None:
    spec = pod(manifests, role)
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    mounted = {item["name"] for item in container["volumeMounts"]}
    assert mounted == {item["name"] for item in spec["volumes"]}


@pytest.mark.parametrize("role", ["ingestor", "gateway"])
def test_selectors_find_the_pods_of_their_role_alone(manifests: list[Manifest], role: str) -> None:
    labels = the(manifests, "Deployment", role)["spec"]["template"]["metadata"]["labels"]
    other = "gateway" if role == "ingestor" else "ingestor"
    others = the(manifests, "Deployment", other)["spec"]["template"]["metadata"]["labels"]
    for selector in selectors(manifests, role):
        assert selector.items() <= labels.items()
        assert not selector.items() <= others.items()


def selectors(manifests: list[Manifest], role: str) -> Iterator[dict[str, str]]:
    yield the(manifests, "Deployment", role)["spec"]["selector"]["matchLabels"]
    yield the(manifests, "PodDisruptionBudget", role)["spec"]["selector"]["matchLabels"]
    for item in pod(manifests, role).get("topologySpreadConstraints", []):
        yield item["labelSelector"]["matchLabels"]
    if role == "gateway":
        yield the(manifests, "Service", role)["spec"]["selector"]
    for item in manifests:
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"].endswith(role):
            yield item["spec"]["podSelector"]["matchLabels"]


def test_a_gateway_has_time_to_say_good_bye(manifests: list[Manifest]) -> None:
    spec = pod(manifests, "gateway")
    (container,) = spec["containers"]
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    settings = loaded(GatewaySettings, environment(manifests, "gateway"))
    assert command == "sleep"
    assert int(seconds) + settings.drain_timeout_s + 5 < spec["terminationGracePeriodSeconds"]


def test_while_autoscaling_is_on_nothing_else_says_how_many() -> None:
    off, on = rendered(LEAST), rendered(EVERYTHING)
    assert the(off, "Deployment", "gateway")["spec"]["replicas"] == 3
    assert "replicas" not in the(on, "Deployment", "gateway")["spec"]
    metrics = the(on, "HorizontalPodAutoscaler", "gateway")["spec"]["metrics"]
    assert [item["type"] for item in metrics] == ["Pods", "Resource"]
    assert metrics[0]["pods"]["metric"]["name"] == "depthcast_gateway_connections"


def test_who_reads_books_needs_a_token_unless_one_value_says_otherwise() -> None:
    """No key is in a manifest: gateways read files of a Secret, or fetch public keys."""
    found = {name: environment(rendered(values), "gateway") for name, values in CASES.items()}
    words = ("_KEYS", "_JWKS_URL", "_SECRET_FILE", "_ANONYMOUS")
    folder = "/etc/depthcast/token-keys"
    assert {
        name: [value for word in words for key, value in given.items() if key.endswith(word)]
        for name, given in found.items()
    } == {
        "defaults": [f"{folder}/keys.json", "false"],
        "everything": ["https://id.example.com:8443/keys", "false"],
        "least": ["true"],
        "a secret for both sides": [f"{folder}/key", "false"],
    }
    assert found["everything"]["DEPTHCAST_TOKEN_ISSUER"] == "https://id.example.com"
    for name, secret in (("defaults", "token-keys"), ("a secret for both sides", "shared")):
        spec = pod(rendered(CASES[name]), "gateway")
        (volume,) = [item for item in spec["volumes"] if item["name"] == "token-keys"]
        assert volume["secret"] == {"secretName": secret, "defaultMode": 0o440}
        mounted = {item["mountPath"]: item for item in spec["containers"][0]["volumeMounts"]}
        assert mounted[folder]["readOnly"] is True
        assert "token-keys" not in str(pod(rendered(CASES[name]), "ingestor"))


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ({}, "set gateway.anonymous to true if everybody may read every book"),
        ({"tokens": {"keysSecret": "a", "hs256Secret": "b"}}, "keep one of"),
    ],
)
def test_nobody_says_who_may_read_by_accident(gateway: Values, said: str) -> None:
    with pytest.raises(helm.HelmRenderError, match=said):
        rendered({"gateway": gateway})


@pytest.mark.parametrize(
    ("url", "port"), [("https://id.example.com/keys", 443), ("https://id:8443/keys", 8443)]
)
def test_gateways_reach_the_address_of_their_keys(url: str, port: int) -> None:
    def reached(role: str, tokens: Values) -> list[Any]:
        policy = the(rendered({"gateway": {"tokens": tokens}}), "NetworkPolicy", role)
        return [each["port"] for rule in policy["spec"]["egress"] for each in rule["ports"]]

    assert reached("gateway", {"jwksUrl": url}) == [6379, 53, 53, port]
    assert reached("ingestor", {"jwksUrl": url}) == reached("gateway", {"keysSecret": "x"}) == [6379, 53, 53]


def test_the_values_of_the_how_to_install_something() -> None:
    how_to = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8").split("## On Kubernetes")[1]
    first, more = re.findall(r"^```yaml\n(.*?)^```$", how_to, re.MULTILINE | re.DOTALL)
    found = rendered(yaml.safe_load(first) | yaml.safe_load(more))
    assert environment(found, "gateway")["DEPTHCAST_TOKEN_KEYS"] == "/etc/depthcast/token-keys/keys.json"
    (monitor,) = [item for item in found if item["kind"] == "PodMonitor"]
    labels = the(found, "Deployment", "gateway")["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ports = pod(found, "gateway")["containers"][0]["ports"]
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in {port["name"] for port in ports}


def test_secrets_are_files() -> None:
    found = rendered(EVERYTHING)
    for role in ("ingestor", "gateway"):
        given = environment(found, role)
        assert given["DEPTHCAST_REDIS_PASSWORD_FILE"] == "/etc/depthcast/redis-password/password"
        assert given["DEPTHCAST_REDIS_URL"].endswith("?ssl_ca_certs=/etc/depthcast/redis-ca/ca.crt")
        paths = {item["mountPath"] for item in pod(found, role)["containers"][0]["volumeMounts"]}
        assert {"/etc/depthcast/redis-password", "/etc/depthcast/redis-ca"} <= paths


@pytest.mark.parametrize(
    "values",
    [
        {"redis": {"url": "redis://:password@redis:6379/0"}},
        {"gateway": {"settings": {"Wrong-Name": 1}}},
        {"gateway": {"replica": 3}},
        {"gateway": {"settings": {"anonymous": True}}},
        {"settings": {"token_secret": "in the open"}},
        {"gateway": {"tokens": {"jwksUrl": "http://id.example.com/keys"}}},
        {"image": {"pullPolicy": "Sometimes"}},
    ],
)
def test_wrong_values_are_refused(values: Values) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(values)


def test_autoscaling_without_a_target_is_refused() -> None:
    values = {"gateway": {"anonymous": True, "autoscaling": {"enabled": True, "connections": 0}}}
    with pytest.raises(helm.HelmRenderError, match="needs a target"):
        rendered(values)


def test_the_chart_and_the_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{chart["appVersion"]}"\n' in pyproject


def test_numbers_and_switches_reach_the_process_as_they_are_written() -> None:
    found = rendered(EVERYTHING)
    assert environment(found, "ingestor")["DEPTHCAST_ENTRY_BYTES_MAX"] == "33554432"
    gateway = environment(found, "gateway")
    assert gateway["DEPTHCAST_WILDCARD"] == "false"
    assert "DEPTHCAST_TRUSTED_PROXIES" not in environment(rendered(LEAST), "gateway"), (
        "an empty value is none"
    )
