"""Which deployments a relay copies: one that settings name, or those of a TOML file."""

import tomllib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from depthcast.shared.errors import SettingsError
from depthcast.shared.redis_url import HIDDEN, without_credentials
from depthcast.shared.settings import RelaySettings, Settings, errors_about, variable

_FIELDS: Final = {
    "redis_url": "url",
    "redis_username": "username",
    "redis_password": "password_file",
    "redis_tls_ca": "tls_ca",
    "redis_tls_cert": "tls_cert",
    "redis_tls_key": "tls_key",
}
"""Setting of a process → what it is called in the file of sources."""

KEYS: Final = (*_FIELDS.values(), "prefix", "name")


class Source(NamedTuple):
    """One deployment to copy.

    - `settings`: address and key prefix at the source.
    - `prefix`: key prefix of the copy.
    - `name`: what the copy says that it is a copy of.
    """

    settings: Settings
    prefix: str
    name: str


def one_source(settings: RelaySettings) -> Source:
    """Return the source that settings name; raises `SettingsError`."""
    if not settings.source_url:
        raise SettingsError(
            variable("source_url"), "", "is not set: name the Redis to copy from, or several in sources"
        )
    named = {variable(f"redis_{name}"): variable(f"source_{name}") for name in
             ("url", "username", "password", "tls_ca", "tls_cert", "tls_key")}  # fmt: skip
    named[variable("prefix")] = variable("source_prefix")
    with errors_about(named):
        found = Settings(
            redis_url=settings.source_url,
            redis_username=settings.source_username,
            redis_password=settings.source_password,
            redis_tls_ca=settings.source_tls_ca,
            redis_tls_cert=settings.source_tls_cert,
            redis_tls_key=settings.source_tls_key,
            prefix=settings.source_prefix or settings.prefix,
        )
    return _checked(settings, Source(found, settings.prefix, settings.source_name or name_of(found)))


def parse_sources(settings: RelaySettings, text: str, passwords: Mapping[str, str]) -> list[Source]:
    """Return the sources of a file with this text; raises `SettingsError`.

    `passwords`: the password in each file that the text names.
    """
    tables = _tables(settings, text)
    if not tables:
        raise _wrong(
            settings, "names no source: it has a table for each, called after the prefix of its copy"
        )
    return [_of_table(settings, prefix, table, passwords) for prefix, table in tables.items()]


def password_files(settings: RelaySettings, text: str) -> list[str]:
    """Return the files of passwords that the text of a file of sources names; raises `SettingsError`."""
    tables = _tables(settings, text).values()
    return [str(table["password_file"]) for table in tables if table.get("password_file")]


def name_of(source: Settings) -> str:
    """Return the name of a source that is given none: its address, without credentials, and its prefix."""
    return f"{_address(source)} {source.prefix}"


def _address(source: Settings) -> str:
    return without_credentials(source.redis_url).partition("?")[0].replace(f"{HIDDEN}@", "", 1)


def _tables(settings: RelaySettings, text: str) -> dict[str, dict[str, Any]]:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(settings, f"is no TOML: {error}") from None
    for prefix, table in found.items():
        if not isinstance(table, dict):
            raise _wrong(settings, f"has {prefix} outside of a table: each source is a table")
        for key, value in table.items():
            if key not in KEYS:
                raise _wrong(settings, f"[{prefix}] has {key}: a source has {', '.join(KEYS)}")
            if not isinstance(value, str) or not value:
                raise _wrong(settings, f"[{prefix}] has an empty {key}, or one that is no text")
        if "url" not in table:
            raise _wrong(settings, f"[{prefix}] has no url")
    return found


def _of_table(
    settings: RelaySettings, prefix: str, table: Mapping[str, str], passwords: Mapping[str, str]
) -> Source:
    given = {field: table[key] for field, key in _FIELDS.items() if key in table}
    if "redis_password" in given:
        given["redis_password"] = passwords[given["redis_password"]]
    named = {variable(field): f"{settings.sources} [{prefix}] {key}" for field, key in _FIELDS.items()}
    named[variable("prefix")] = f"{settings.sources} [{prefix}] prefix"
    with errors_about(named):
        Settings(prefix=prefix)
        found = Settings(prefix=table.get("prefix", prefix), **given)  # type: ignore[arg-type] # all are text
    return _checked(settings, Source(found, prefix, table.get("name") or name_of(found)))


def _checked(settings: RelaySettings, source: Source) -> Source:
    if _address(source.settings) == _address(settings) and source.settings.prefix == source.prefix:
        raise SettingsError(
            variable("source_url"),
            without_credentials(settings.source_url or source.settings.redis_url),
            "is the target too: nothing can be copied onto itself",
        )
    return source


def _wrong(settings: RelaySettings, problem: str) -> SettingsError:
    return SettingsError(variable("sources"), settings.sources, problem)
