"""Settings: their sources, their checks, and their help texts."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import (
    RENAMED,
    GatewaySettings,
    IngestorSettings,
    RelaySettings,
    Settings,
    VenueFeedSettings,
    describe,
    described,
    known_variables,
    option,
    variable,
)

KINDS: list[type[Settings]] = [IngestorSettings, GatewaySettings, VenueFeedSettings, RelaySettings]
EVERY = [pytest.param(item, id=f"{kind.__name__}-{item.name}") for kind in KINDS for item in fields(kind)]
BOUNDED = [
    pytest.param(kind, item, id=f"{kind.__name__}-{item.name}")
    for kind in KINDS
    for item in fields(kind)
    if item.metadata["least"] is not None
]


def test_defaults_are_the_contracts() -> None:
    settings = IngestorSettings.load({})
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert (settings.prefix, settings.partitions, settings.instruments) == ("depthcast", None, None)
    assert (settings.interval_ms, settings.snapshot_interval_ms) == (50, 5000)
    assert (settings.retention_s, settings.lease_ms, settings.rejects_max) == (30.0, 2000, 10_000)
    gateway = GatewaySettings.load({})
    assert (gateway.host, gateway.port, gateway.workers) == ("127.0.0.1", 8080, 1)
    assert (gateway.admin_host, gateway.admin_port) == ("127.0.0.1", None)


def test_an_option_wins_over_a_variable_and_that_over_the_default() -> None:
    environment = {"DEPTHCAST_INTERVAL_MS": "20", "DEPTHCAST_LEASE_MS": "500", "HOME": "/root"}
    settings = IngestorSettings.load(environment, {"interval_ms": "10", "lease_ms": None})
    assert (settings.interval_ms, settings.lease_ms, settings.snapshot_interval_ms) == (10, 500, 5000)


def test_an_empty_variable_counts_as_unset() -> None:
    settings = IngestorSettings.load({"DEPTHCAST_ADMIN_PORT": "", "DEPTHCAST_INTERVAL_MS": ""})
    assert (settings.admin_port, settings.interval_ms) == (None, 50)


def test_variables_of_the_other_process_are_no_mistake() -> None:
    assert IngestorSettings.load({"DEPTHCAST_PORT": "9000"}) == IngestorSettings()
    assert GatewaySettings.load({"DEPTHCAST_LEASE_MS": "900"}) == GatewaySettings()
    assert GatewaySettings.load({"DEPTHCAST_TEST_REDIS_URL": "x"}) == GatewaySettings()


@pytest.mark.parametrize(
    "name",
    [
        "DEPTHCAST_COMPILE",
        "DEPTHCAST_EMBEDDED_SERVER",
        "DEPTHCAST_GATEWAY_URL",
        "DEPTHCAST_PURE",
        "DEPTHCAST_TEST_REDIS_URL",
        "DEPTHCAST_WORKER",
    ],
)
def test_a_variable_that_is_no_setting_is_no_mistake(name: str) -> None:
    assert GatewaySettings.load({name: "1"}) == GatewaySettings()


@pytest.mark.parametrize(
    "name", ["DEPTHCAST_INTERVAL", "DEPTHCAST_", "DEPTHCAST_interval_ms", "DEPTHCAST_INTERVALL_MS"]
)
def test_a_misspelt_variable_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="no setting has that name") as caught:
        IngestorSettings.load({name: "5"})
    assert (caught.value.name, caught.value.value) == (name, "***"), "it may be a secret"


@pytest.mark.parametrize(
    ("kind", "name", "text", "remedy"),
    [
        (IngestorSettings, "interval_ms", "fast", "must be an integer"),
        (IngestorSettings, "interval_ms", "5.0", "must be an integer"),
        (IngestorSettings, "interval_ms", "0x10", "must be an integer"),
        (IngestorSettings, "interval_ms", "9" * 5000, "must be an integer"),
        (IngestorSettings, "interval_ms", "-1", "must be from 0 to 60000 ms"),
        (IngestorSettings, "interval_ms", "60001", "must be from 0 to 60000 ms"),
        (IngestorSettings, "retention_s", "long", "must be a number"),
        (IngestorSettings, "retention_s", "nan", "must be from 0 to 86400 s"),
        (IngestorSettings, "retention_s", "inf", "must be from 0 to 86400 s"),
        (IngestorSettings, "partitions", "0", "must be from 1 to 4096"),
        (IngestorSettings, "log_level", "loud", "must be debug, info, warning or error"),
        (IngestorSettings, "prefix", "a b", "must be non-empty, without braces or blanks"),
        (IngestorSettings, "prefix", "{a}", "must be non-empty, without braces or blanks"),
        (IngestorSettings, "redis_url", "http://x", "must begin with one of redis://"),
        (GatewaySettings, "wildcard", "maybe", "must be true or false"),
        (GatewaySettings, "port", "65536", "must be from 0 to 65535"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(
    kind: type[Settings], name: str, text: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        kind.load({variable(name): text})
    assert caught.value.name == variable(name)
    assert str(caught.value.value) == text
    assert remedy in str(caught.value)
    assert str(caught.value).startswith(f"{variable(name)}: ")


def test_an_empty_option_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="must be an integer"):
        IngestorSettings.load({}, {"interval_ms": ""})
    with pytest.raises(SettingsError, match="must be non-empty"):
        IngestorSettings.load({}, {"prefix": ""})


@pytest.mark.parametrize(("kind", "item"), BOUNDED)
def test_bounds_are_within(kind: type[Settings], item: Any) -> None:
    least, most = item.metadata["least"], item.metadata["most"]
    assert most is not None
    for good in (least, most):
        assert getattr(kind(**{item.name: good}), item.name) == good
    for bad in (least - 1, most + 1):
        with pytest.raises(SettingsError) as caught:
            kind(**{item.name: bad})
        assert f"must be from {least} to {most}" in str(caught.value)


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_what_is_true(text: str) -> None:
    assert GatewaySettings.load({"DEPTHCAST_WILDCARD": text}).wildcard is True


@pytest.mark.parametrize("text", ["0", "False", "no", "OFF"])
def test_what_is_false(text: str) -> None:
    assert GatewaySettings.load({"DEPTHCAST_WILDCARD": text}).wildcard is False


@pytest.mark.parametrize("item", EVERY)
def test_the_help_says_all_of_each(item: Any) -> None:
    text = describe(item)
    assert text.startswith(item.metadata["meaning"])
    assert f"DEPTHCAST_{item.name.upper()}" in text
    assert "default unset" in text if item.default in (None, "") else f"default {item.default}" in text
    if item.metadata["least"] is not None:
        assert f"{item.metadata['least']} to {item.metadata['most']}" in text
    if item.metadata["unit"]:
        assert f"unit {item.metadata['unit']}" in text


UNIT_ENDINGS = {"ms": "_ms", "s": "_s", "B": ("_bytes", "_bytes_max", "_bytes_min")}


@pytest.mark.parametrize("item", EVERY)
def test_a_name_says_the_unit_of_a_time_or_a_size(item: Any) -> None:
    unit = item.metadata["unit"]
    assert unit in (*UNIT_ENDINGS, "levels", "")
    assert item.name.endswith(UNIT_ENDINGS.get(unit, ""))
    if isinstance(item.default, float):
        assert unit == "s" or item.name.endswith("_share")
    assert not item.name.endswith(("_timeout", "_linger", "_interval"))


def test_every_setting_has_one_variable_and_perhaps_an_old_one() -> None:
    names = {item.name for kind in KINDS for item in fields(kind)}
    assert {name for kind in KINDS for name, _ in described(kind)} == names - {
        "redis_password",
        "source_password",
        "token_secret",
    }
    assert known_variables() == {variable(name) for name in [*names, *RENAMED]}
    assert set(RENAMED.values()) <= names
    assert names & set(RENAMED) == set()
    assert {variable(name) for name in ("redis_url", "interval_ms", "host", "workers")} <= known_variables()


RENAMED_NAMES = pytest.mark.parametrize(("old", "new"), RENAMED.items())


@RENAMED_NAMES
def test_an_old_name_still_works(old: str, new: str) -> None:
    by_variable = GatewaySettings.load({variable(old): "7"})
    by_option = GatewaySettings.load({}, {old: "7"})
    assert by_variable == by_option == GatewaySettings.load({}, {new: "7"})
    assert getattr(by_option, new) == 7


@RENAMED_NAMES
def test_an_old_name_is_reported_with_the_new_one(old: str, new: str) -> None:
    line = "{0} is now called {1}; the old name ends with the next version".format
    assert GatewaySettings.old_names({variable(old): "7"}, {}) == [line(variable(old), variable(new))]
    assert GatewaySettings.old_names({}, {old: "7", new: None}) == [line(option(old), option(new))]
    assert GatewaySettings.old_names({variable(new): "7", variable(old): ""}, {new: "7"}) == []
    assert IngestorSettings.old_names({variable(old): "7"}, {}) == []


def test_both_names_at_once_are_refused() -> None:
    both = {"DEPTHCAST_DRAIN_TIMEOUT": "1", "DEPTHCAST_DRAIN_TIMEOUT_S": "2"}
    with pytest.raises(
        SettingsError, match="is the old name of DEPTHCAST_DRAIN_TIMEOUT_S, which is set too; remove it"
    ):
        GatewaySettings.load(both)
    with pytest.raises(SettingsError, match=r"^--drain-timeout: '1' is the old name of --drain-timeout-s"):
        GatewaySettings.load({}, {"drain_timeout": "1", "drain_timeout_s": "2"})


def test_an_old_option_wins_over_a_new_variable() -> None:
    settings = GatewaySettings.load({"DEPTHCAST_DRAIN_TIMEOUT_S": "2"}, {"drain_timeout": "1"})
    assert settings.drain_timeout_s == 1


def test_they_never_change() -> None:
    with pytest.raises(FrozenInstanceError):
        IngestorSettings().interval_ms = 5  # type: ignore[misc]


def test_what_was_typed_is_known_by_its_variable() -> None:
    environment = {"DEPTHCAST_PREFIX": "x", "DEPTHCAST_LEASE_MS": "900"}
    settings = IngestorSettings.load(environment, {"interval_ms": "5", "lease_ms": "800", "prefix": None})
    assert settings.typed == {"DEPTHCAST_INTERVAL_MS": "--interval-ms", "DEPTHCAST_LEASE_MS": "--lease-ms"}
    assert settings == IngestorSettings(prefix="x", interval_ms=5, lease_ms=800), "it is no part of them"
    assert GatewaySettings.load({}, {"drain_timeout": "1"}).typed == {
        "DEPTHCAST_DRAIN_TIMEOUT_S": "--drain-timeout"
    }
    assert IngestorSettings.load(environment).typed == IngestorSettings().typed == {}


@pytest.mark.parametrize(
    ("name", "text"), [("interval_ms", "fast"), ("interval_ms", "-1"), ("prefix", "{"), ("log_level", "loud")]
)
def test_a_bad_value_names_its_option_or_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        IngestorSettings.load({}, {name: text})
    assert caught.value.name == option(name)
    with pytest.raises(SettingsError) as caught:
        IngestorSettings.load({variable(name): text})
    assert caught.value.name == variable(name)
    with pytest.raises(SettingsError) as caught:
        IngestorSettings.load({variable(name): text}, {"lease_ms": "800"})
    assert caught.value.name == variable(name), "another option was typed"


def test_the_way_to_submit_is_one_of_three_words() -> None:
    with pytest.raises(SettingsError, match="DEPTHCAST_SUBMIT") as raised:
        GatewaySettings(submit="epoll")
    assert "must be auto, send or io_uring" in str(raised.value)


def test_what_to_follow_is_one_of_two_words() -> None:
    with pytest.raises(SettingsError, match="DEPTHCAST_FOLLOW") as raised:
        GatewaySettings(follow="some")
    assert "must be all or asked" in str(raised.value)
