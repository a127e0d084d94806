"""Which deployments a relay copies, and what is refused."""

import pytest

from depthcast.relay.sources import one_source, parse_sources, password_files
from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import RelaySettings

FILE = """
[tokyo]
url = "rediss://tokyo:6379/0"
username = "reader"
password_file = "/secret"
prefix = "depthcast"
[osaka]
url = "redis://osaka:6379/0"
name = "Osaka"
"""


def test_one_source_by_settings() -> None:
    settings = RelaySettings(source_url="redis://tokyo:6379/0", source_password="p@ss", prefix="eu")
    source = one_source(settings)
    assert source.settings.redis_url == "redis://:p%40ss@tokyo:6379/0"
    assert (source.settings.prefix, source.prefix, source.name) == ("eu", "eu", "redis://tokyo:6379/0 eu")
    named = one_source(
        RelaySettings(source_url="redis://tokyo:6379/0", source_prefix="jp", source_name="Tokyo")
    )
    assert (named.settings.prefix, named.prefix, named.name) == ("jp", "depthcast", "Tokyo")


def test_several_sources_by_a_file() -> None:
    settings = RelaySettings(sources="sources.toml")
    assert password_files(settings, FILE) == ["/secret"]
    tokyo, osaka = parse_sources(settings, FILE, {"/secret": "x"})
    assert tokyo.settings.redis_url == "rediss://reader:x@tokyo:6379/0"
    assert (tokyo.settings.prefix, tokyo.prefix, tokyo.name) == (
        "depthcast", "tokyo", "rediss://tokyo:6379/0 depthcast",
    )  # fmt: skip
    assert (osaka.settings.prefix, osaka.prefix, osaka.name) == ("osaka", "osaka", "Osaka")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no source"),
        ("[tokyo", "is no TOML"),
        ("url = 'x'", "has url outside of a table"),
        ("[a]\nurl = 'redis://h'\nhost = 'h'", r"\[a\] has host: a source has url"),
        ("[a]\nurl = ''", "has an empty url"),
        ("[a]\nurl = 7", "no text"),
        ("[a]\nprefix = 'b'", r"\[a\] has no url"),
        ("[a]\nurl = 'http://h'", r"f.toml \[a\] url"),
        ("['a b']\nurl = 'redis://h'", r"f.toml \[a b\] prefix"),
        ("[depthcast]\nurl = 'redis://127.0.0.1:6379/0'", "is the target too"),
    ],
)
def test_a_file_that_is_wrong_names_what_is(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_sources(RelaySettings(sources="f.toml"), text, {})


def test_settings_of_one_source_that_are_wrong() -> None:
    with pytest.raises(SettingsError, match="DEPTHCAST_SOURCE_URL: '' is not set"):
        one_source(RelaySettings())
    with pytest.raises(SettingsError, match=r"DEPTHCAST_SOURCE_URL.*is the target too"):
        one_source(RelaySettings(source_url=RelaySettings.redis_url))
    with pytest.raises(SettingsError, match="DEPTHCAST_SOURCE_PREFIX"):
        one_source(RelaySettings(source_url="redis://h", source_prefix="{a}"))
    with pytest.raises(SettingsError, match=r"DEPTHCAST_SOURCE_URL.*DEPTHCAST_SOURCES too"):
        RelaySettings(source_url="redis://h", sources="f.toml")
    with pytest.raises(SettingsError, match="DEPTHCAST_SOURCE_URL"):
        RelaySettings(source_url="http://h")
    with pytest.raises(SettingsError, match=r"--source-url.*DEPTHCAST_SOURCE_PASSWORD"):
        RelaySettings.load({}, {"source_url": "redis://:secret@h"})
