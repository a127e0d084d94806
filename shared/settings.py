"""Settings: one frozen, typed dataclass per process, read once at start from options and the environment.

`--help` and the checks are made from each field's unit, bounds and meaning. An option wins over
`DEPTHCAST_<NAME>`, and that wins over the default. Unknown `DEPTHCAST_` variables are refused: failing to
start is better than ignoring a misspelt setting.

A secret is on no command line, in no text made of settings, and in no error. Its variable may be replaced by
`DEPTHCAST_<NAME>_FILE`, which `depthcast.shared.runtime.environment` reads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Final, Self, get_args, get_type_hints

from depthcast.shared.errors import DeploymentMismatch, SettingsError
from depthcast.shared.networks import is_loopback, jwks_problem, parse_networks
from depthcast.shared.origins import Origins, frame_sources
from depthcast.shared.redis_url import (
    HIDDEN,
    has_credentials,
    problem_of,
    with_credentials,
    with_tls_files,
    without_credentials,
)

VARIABLE_PREFIX: Final = "DEPTHCAST_"
NOT_SETTINGS: Final = frozenset(
    {
        "DEPTHCAST_COMPILE",
        "DEPTHCAST_EMBEDDED_SERVER",
        "DEPTHCAST_GATEWAY_URL",
        "DEPTHCAST_PURE",
        "DEPTHCAST_TEST_REDIS_URL",
        "DEPTHCAST_TOKEN",
        "DEPTHCAST_TOKEN_FILE",
        "DEPTHCAST_WORKER",
    }
)
"""Other variables with the prefix: for builds, the server to embed, the gateway to watch and its token, the
modules to import, tests, workers."""

RENAMED: Final = {
    "stall_timeout": "stall_timeout_s",
    "close_linger": "close_linger_s",
    "subscribe_timeout": "subscribe_timeout_s",
    "channel_linger": "channel_linger_s",
    "drain_timeout": "drain_timeout_s",
}
"""Old name → new name. Both work in this version; the next version drops the old name."""


REDIS_TLS: Final = ("redis_tls_ca", "redis_tls_cert", "redis_tls_key")
ADDRESSES: Final = ("redis_url", "source_url")
"""Secrets that have an option all the same, where they have no credentials."""

WITHIN_REDIS_URL: Final = ("redis_username", "redis_password", *REDIS_TLS)
"""Settings that become a part of `redis_url`, from which alone connections are made; then they are empty."""


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    secret: bool = False,
) -> Any:
    """Make the dataclass field of a setting; `least` and `most` bound numbers, both included."""
    metadata = {"meaning": meaning, "unit": unit, "least": least, "most": most, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """Settings that every process of a deployment has."""

    redis_url: str = setting(
        "redis://127.0.0.1:6379/0",
        "Redis >= 7.0 or Valkey >= 7.2; rediss:// for TLS, unix:// for a socket, "
        "redis+sentinel://host:port,host:port/service for a master that sentinels name, "
        "redis+cluster://host:port,host:port for a cluster",
        secret=True,
    )
    redis_username: str = setting("", "user at Redis, if the address names none")
    redis_password: str = setting(
        "", "password at Redis, of any characters, if the address has none", secret=True
    )
    redis_tls_ca: str = setting(
        "",
        "file of the authorities, in PEM, that the certificate of a rediss:// server may be of; those of the "
        "system when unset",
    )
    redis_tls_cert: str = setting(
        "", "file of our certificate for a rediss:// server that asks for one, in PEM"
    )
    redis_tls_key: str = setting(
        "", "file of its private key, in PEM, without a passphrase; redis_tls_cert when unset"
    )
    prefix: str = setting("depthcast", "key prefix: one per deployment")
    partitions: int | None = setting(
        None, "number of partitions, fixed for a deployment; 1 for a new one", least=1, most=4096
    )
    admin_host: str = setting("127.0.0.1", "address for metrics and health")
    admin_port: int | None = setting(None, "port for metrics and health; off when unset", least=0, most=65535)
    log_level: str = setting("info", "debug, info, warning or error")
    catalog_interval_s: float = setting(
        60.0,
        "instruments are read when they change, and after this time in any case",
        unit="s",
        least=1,
        most=86_400,
    )
    trace_share: float = setting(
        0.0,
        "share of input entries that OpenTelemetry traces, which depthcast[traces] brings; 0: none",
        least=0,
        most=1,
    )

    typed: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Variable → option, as it was typed, of each setting that `load` took from an option."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item, getattr(self, item.name))
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(
                variable("log_level"), self.log_level, "must be debug, info, warning or error"
            )
        _check_prefix("prefix", self.prefix)
        if self.redis_username or self.redis_password:
            self._merge_credentials()
        if any(getattr(self, name) for name in REDIS_TLS):
            self._merge_tls_files()
        _check_redis_url(self.redis_url)

    def _merge_credentials(self) -> None:
        """Put user and password into the address, which is all that connections are made from."""
        address = self.redis_url.partition("?")[0]
        if "@" in address or "password=" in self.redis_url or "username=" in self.redis_url:
            name = variable("redis_password" if self.redis_password else "redis_username")
            raise SettingsError(name, HIDDEN, f"is set, but {variable('redis_url')} has credentials too")
        merged = with_credentials(self.redis_url, self.redis_username, self.redis_password)
        for name, value in (("redis_url", merged), ("redis_username", ""), ("redis_password", "")):
            object.__setattr__(self, name, value)

    def _merge_tls_files(self) -> None:
        """Put the files of TLS into the address, unless it would not use them."""
        name = next(name for name in REDIS_TLS if getattr(self, name))
        if self.redis_tls_key and not self.redis_tls_cert:
            problem = "is set, but redis_tls_cert is not: a key is of no use without its certificate"
            raise SettingsError(variable("redis_tls_key"), self.redis_tls_key, problem)
        try:
            merged = with_tls_files(self.redis_url, *(getattr(self, name) for name in REDIS_TLS))
        except ValueError as error:
            problem = f"is set, but the address of Redis {error}"
            raise SettingsError(variable(name), getattr(self, name), problem) from None
        for item, value in (("redis_url", merged), *((item, "") for item in REDIS_TLS)):
            object.__setattr__(self, item, value)

    @classmethod
    def load(cls, environment: Mapping[str, str], options: Mapping[str, str | None] | None = None) -> Self:
        """Read settings from text: `options` by field name win over `environment`; raises `SettingsError`.

        A setting's old name (`RENAMED`) still works; `old_names` lists those that were used.
        """
        for name in environment:
            if (
                name.startswith(VARIABLE_PREFIX)
                and name not in NOT_SETTINGS
                and name not in known_variables()
            ):
                # Its value may be the secret of a misspelt name.
                raise SettingsError(name, HIDDEN, "is set, but no setting has that name; see --help")
        given = options or {}
        _check_command_line(given)
        texts, typed = cls._texts(environment, given)
        types = get_type_hints(cls)
        with errors_about(typed):
            settings = cls(**{name: _convert(name, text, types[name]) for name, text in texts.items()})
        object.__setattr__(settings, "typed", typed)
        return settings

    @classmethod
    def _texts(
        cls, environment: Mapping[str, str], given: Mapping[str, str | None]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The text of each setting that is set, and `typed`."""
        texts: dict[str, str] = {}
        typed: dict[str, str] = {}
        for item in fields(cls):
            found = _one_of([(name, given.get(name)) for name in names(item.name)], option)
            if found is not None:
                typed[variable(item.name)] = option(found[0])
            else:
                variables = [(name, environment.get(variable(name)) or None) for name in names(item.name)]
                found = _one_of(variables, variable)
            if found is not None:
                texts[item.name] = found[1]
        return texts, typed

    @classmethod
    def old_names(cls, environment: Mapping[str, str], options: Mapping[str, str | None]) -> list[str]:
        """Return a line for each old name in use here, which says the new name."""
        own = {item.name for item in fields(cls)}
        renamed = [(old, new) for old, new in RENAMED.items() if new in own]
        return [
            *(_use(option(old), option(new)) for old, new in renamed if options.get(old) is not None),
            *(_use(variable(old), variable(new)) for old, new in renamed if environment.get(variable(old))),
        ]


@dataclass(frozen=True)
class IngestorSettings(Settings):
    """Settings of `depthcast ingestor`."""

    instruments: str | None = setting(None, "TOML file of instruments to register at start")
    interval_ms: int = setting(
        50, "broadcast interval; 0 = one broadcast for each input entry", unit="ms", least=0, most=60_000
    )
    snapshot_interval_ms: int = setting(
        5000, "time between a symbol's snapshots and checkpoints", unit="ms", least=50, most=3_600_000
    )
    retention_s: float = setting(30.0, "minimum history kept in deltas", unit="s", least=0, most=86_400)
    lease_ms: int = setting(2000, "leader lease", unit="ms", least=100, most=60_000)
    rejects_max: int = setting(
        10_000, "entries kept in each partition's rejects stream, approximately", least=1, most=10_000_000
    )
    input_batch: int = setting(500, "input entries read at once", least=1, most=100_000)
    pending_rejects_max: int = setting(
        10_000, "rejects waiting to be published before reading of input pauses", least=1, most=1_000_000
    )
    entry_bytes_max: int = setting(
        16_777_216,
        "largest input entry; a larger one is rejected as too_big",
        unit="B",
        least=1024,
        most=268_435_456,
    )
    entry_values_max: int = setting(
        10_000,
        "fields of an input entry; one with more is rejected as too_many_values",
        least=1,
        most=1_000_000,
    )
    array_events_max: int = setting(
        1_000_000,
        "events of one array; one with more is rejected as too_many_events",
        least=1,
        most=100_000_000,
    )
    levels_max: int = setting(
        1_000_000,
        "levels of a book's side; further ones are rejected as too_many_levels",
        unit="levels",
        least=1,
        most=100_000_000,
    )
    orders_max: int = setting(
        2_000_000,
        "orders of a book; further ones are rejected as too_many_orders",
        least=1,
        most=100_000_000,
    )
    symbols_max: int = setting(
        50_000,
        "symbols of a partition; events of further ones are rejected as unknown_symbol",
        least=1,
        most=1_000_000,
    )


@dataclass(frozen=True)
class RelaySettings(Settings):
    """Settings of `depthcast relay`; those that every process has are about the copy."""

    source_url: str = setting("", "Redis to copy from, as redis_url", secret=True)
    source_username: str = setting("", "user at source_url, if the address names none")
    source_password: str = setting(
        "", "password at source_url, of any characters, if the address has none", secret=True
    )
    source_tls_ca: str = setting("", "as redis_tls_ca, for source_url")
    source_tls_cert: str = setting("", "as redis_tls_cert, for source_url")
    source_tls_key: str = setting("", "as redis_tls_key, for source_url")
    source_prefix: str = setting("", "key prefix at source_url; prefix when unset")
    source_name: str = setting(
        "", "what the copy says that it is a copy of; address and prefix of the source when unset"
    )
    sources: str = setting("", "TOML file of several sources, instead of the settings of one")
    relay_lease_ms: int = setting(
        5000, "a relay that was not heard of for this long is replaced by another one", unit="ms",
        least=500, most=600_000,
    )  # fmt: skip
    snapshot_poll_ms: int = setting(
        1000, "time between two looks for new snapshots", unit="ms", least=50, most=60_000
    )
    relay_batch_entries: int = setting(200, "entries read from the source at once", least=1, most=10_000)
    relay_batch_bytes: int = setting(
        1_048_576,
        "bytes of entries or snapshots written in one step, if that is not less than one of them",
        unit="B",
        least=1024,
        most=268_435_456,
    )

    relay_read_bytes_max: int = setting(
        16_777_216,
        "bytes of entries or snapshots read from the source at once; one of them is read, whatever its size",
        unit="B",
        least=65_536,
        most=1_073_741_824,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source_prefix:
            _check_prefix("source_prefix", self.source_prefix)
        if self.source_url and (problem := problem_of(self.source_url)) is not None:
            raise SettingsError(variable("source_url"), without_credentials(self.source_url), problem)
        if self.sources:
            for name in ("source_url", "source_prefix", "source_name"):
                if getattr(self, name):
                    value = HIDDEN if name == "source_url" else getattr(self, name)
                    problem = f"is set, but {variable('sources')} too; keep one of them"
                    raise SettingsError(variable(name), value, problem)


@dataclass(frozen=True)
class VenueFeedSettings(Settings):
    """Settings of `depthcast feed live`."""

    ws_url: str | None = setting(None, "WebSocket address of the venue; without it, the venue's public one")
    rest_url: str | None = setting(None, "HTTP address of the venue; without it, the venue's public one")
    silence_s: float | None = setting(
        None,
        "a connection on which nothing comes for this long is dead; without it, a value for the venue",
        unit="s",
        least=0.1,
        most=3600,
    )
    quiet_s: float | None = setting(
        None,
        "a book without a message for this long is checked, 0 = never; without it, a value for the venue",
        unit="s",
        least=0,
        most=86_400,
    )
    connection_lifetime_s: float | None = setting(
        None,
        "a connection is replaced before this age, 0 = never; without it, the time that the venue allows",
        unit="s",
        least=0,
        most=604_800,
    )
    snapshot_wait_s: float = setting(
        10.0, "a snapshot that does not come for this long is requested again", unit="s", least=0.1, most=600
    )
    pending_events_max: int = setting(
        100_000,
        "events of a partition that wait while Redis is away; beyond, books are written whole afterwards",
        least=1,
        most=100_000_000,
    )
    retry_max_s: float = setting(
        30.0,
        "longest wait before the venue is asked again: to connect, to subscribe, for its list",
        unit="s",
        least=0.1,
        most=3600,
    )
    instruments_interval_s: float = setting(
        300.0,
        "the venue's list of instruments is read again this often, 0 = only when a number does not fit",
        unit="s",
        least=0,
        most=86_400,
    )
    relist: bool | None = setting(
        None,
        "whether other sizes at the venue begin a new listing; without it, where --register is in force",
    )


READ_FROM: Final = ("primary", "replica")
"""Values of the setting `read_from`."""

REPLICA_LAG_MAX_MS: Final = 2000
"""Default of the setting `replica_lag_max_ms`."""


@dataclass(frozen=True)
class GatewaySettings(Settings):
    """Settings of `depthcast gateway`."""

    read_from: str = setting(
        "primary", "primary or replica: where books are read; with replica, at the primary while none will do"
    )
    replica_lag_max_ms: int = setting(
        REPLICA_LAG_MAX_MS,
        "a replica that is further behind its primary is not read from",
        unit="ms",
        least=10,
        most=600_000,
    )

    host: str = setting("127.0.0.1", "address to serve on")
    port: int = setting(8080, "port to serve on; 0 takes a free one", least=0, most=65535)
    tls_cert: str = setting(
        "",
        "file of the certificate and the chain behind it, in PEM: serve https and wss instead of http and ws",
    )
    tls_key: str = setting("", "file of its private key, in PEM, without a passphrase; tls_cert when unset")
    tls_client_ca: str = setting(
        "", "file of authorities, in PEM: only clients with a certificate of one of them may connect"
    )
    workers: int = setting(1, "gateway processes sharing the port", least=1, most=256)
    heartbeat_ms: int = setting(
        5000,
        "a client gets a heartbeat if nothing was sent to it for this long",
        unit="ms",
        least=100,
        most=600_000,
    )
    stale_ms: int = setting(
        5000,
        "books whose newest entry was written longer ago are reported stale",
        unit="ms",
        least=100,
        most=600_000,
    )
    input_lag_max_ms: int = setting(
        5000,
        "books are reported stale while their oldest unread input is older",
        unit="ms",
        least=100,
        most=86_400_000,
    )
    input_age_max_ms: int | None = setting(
        None,
        "a book whose last input is older is reported stale; off when unset, because markets may be quiet",
        unit="ms",
        least=100,
        most=86_400_000,
    )
    stall_timeout_s: float = setting(
        30.0,
        "a client that reads nothing for this long is closed with 4410",
        unit="s",
        least=0.1,
        most=86_400,
    )
    close_linger_s: float = setting(
        30.0,
        "time that a closed client has to read what was already sent to it",
        unit="s",
        least=0,
        most=86_400,
    )
    subscribe_timeout_s: float = setting(
        30.0,
        "a client that has not subscribed within this time of connecting is closed with 4408",
        unit="s",
        least=0.1,
        most=86_400,
    )
    connections_max: int = setting(
        20_000,
        "WebSockets and event streams per worker; more are closed with 1013 or answered 503",
        least=1,
        most=1_000_000,
    )
    tcp_connections_max: int = setting(
        25_000,
        "TCP connections per worker; for one more, the one that waits longest for its request is ended",
        least=16,
        most=1_000_000,
    )
    connections_per_address_max: int = setting(
        1_000,
        "connections of an address (IPv6: of a /64) per worker; more are closed with 4429 or answered 429",
        least=1,
        most=1_000_000,
    )
    connects_per_address_per_s: int = setting(
        50,
        "new connections of an address a second per worker, and connections_per_address_max at once; more "
        "are ended unread",
        least=1,
        most=1_000_000,
    )
    connections_per_token_max: int = setting(
        1_000,
        "WebSockets and event streams per worker with the same token, or of the same subject where tokens "
        "are checked; more are closed with 4429 or answered 429",
        least=1,
        most=1_000_000,
    )
    connections_per_origin_max: int = setting(
        20_000,
        "WebSockets and event streams per worker of pages of the same origin; more are closed with 4429 or "
        "answered 429",
        least=1,
        most=1_000_000,
    )
    trusted_proxies: str = setting(
        "",
        "networks of proxies that say for whom they connect, such as 10.0.0.0/8,::1: by PROXY protocol v2, "
        "or by X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto; they may name requests by "
        "X-Request-ID",
    )
    origins: str = setting(
        "self",
        "origins whose pages may open a WebSocket or an event stream: self, * for any, null, or such as "
        "https://example.com, separated by commas; programs send no Origin and may",
    )
    log_addresses: bool = setting(
        True, "whether lines of the log that are about a client have its address; false: no address anywhere"
    )
    frame_origins: str = setting(
        "",
        "origins whose pages may show the gateway's page in a frame: self, * for any, or such as "
        "https://example.com, separated by commas; none when empty",
    )
    anonymous: bool | None = setting(
        None,
        "whether everybody may read every book without a token; without it, only where no keys of tokens are "
        "set and host is a loopback address",
    )
    token_keys: str = setting(
        "",
        "file with the keys that tokens are checked with: public keys as PEM, or a JWK set; read again when "
        "it changes",
    )
    token_jwks_url: str = setting(
        "", "address (https) of a JWK set with the keys that tokens are checked with"
    )
    token_secret: str = setting(
        "", "secret of at least 32 bytes that tokens are signed with, by HS256", secret=True
    )
    token_keys_interval_s: float = setting(
        300.0, "time after which token_jwks_url is fetched again", unit="s", least=1, most=86_400
    )
    token_audience: str = setting("depthcast", "what a token must name as its audience (aud)")
    token_issuer: str = setting("", "what a token must name as its issuer (iss); any when empty")
    token_warning_s: float = setting(
        30.0,
        "a client is told this long before its token expires, so that it can send another one",
        unit="s",
        least=0,
        most=3600,
    )
    auth_timeout_s: float = setting(
        10.0,
        "a client that has not sent its token within this time of connecting is closed with 4401",
        unit="s",
        least=0.1,
        most=3600,
    )
    head_timeout_s: float = setting(
        10.0,
        "time that a client has to send the head of a request, from connecting or from its first byte",
        unit="s",
        least=0.1,
        most=3600,
    )
    keepalive_timeout_s: float = setting(
        75.0, "an HTTP connection without a request for this long is closed", unit="s", least=0.1, most=86_400
    )
    request_line_bytes_max: int = setting(
        4_096, "longest first line of a request; a longer one is answered 414", unit="B", least=128, most=8000
    )
    head_bytes_max: int = setting(
        16_384, "longest head of a request; a longer one is answered 431", unit="B", least=1024, most=2**20
    )
    headers_max: int = setting(64, "headers of a request; more are answered 431", least=16, most=128)
    http_requests_max: int = setting(
        256, "HTTP requests a worker serves at a time; more are answered 503", least=1, most=1_000_000
    )
    http_requests_per_s: int = setting(
        500,
        "HTTP requests a worker serves per second, twice as many at once; more are answered 429",
        least=1,
        most=1_000_000,
    )
    http_answer_bytes_max: int = setting(
        33_554_432,
        "bytes of HTTP answers that wait in a worker for clients to read them; more are answered 503",
        unit="B",
        least=1024,
        most=2**36,
    )
    subscriptions_max: int = setting(5_000, "subscriptions per connection", least=1, most=1_000_000)
    subscription_changes_per_s: int = setting(
        500,
        "subscriptions a connection may begin or end per second, and at once twice `subscriptions_max`; "
        "beyond that they are refused as rate_limited, and in the end it is closed with 4429",
        least=1,
        most=1_000_000,
    )
    views_max: int = setting(
        20_000,
        "views (a symbol at a depth, as it is or grouped) a worker keeps, also for clients that resume",
        least=1,
        most=10_000_000,
    )
    groups_max: int = setting(
        1_000,
        "grouped books (a symbol in one group) a worker keeps, of all symbols",
        least=1,
        most=1_000_000,
    )
    groups_per_symbol_max: int = setting(
        32,
        "groups in which a worker keeps the book of one symbol; each of its broadcasts changes all of them",
        least=1,
        most=1_000_000,
    )
    wildcard: bool = setting(True, 'whether clients may subscribe to ["*"]')
    interval_max_ms: int = setting(
        60_000, "a subscription's interval_ms is clamped to this", unit="ms", least=1, most=3_600_000
    )
    full_depth_max: int = setting(
        20_000,
        "most levels per side at depth 0 and of a book that is grouped; larger ones are refused",
        unit="levels",
        least=1,
        most=10_000_000,
    )
    part_levels_max: int = setting(
        1_000,
        "most levels, both sides together, of one message of a snapshot that a client wants in parts",
        unit="levels",
        least=1,
        most=10_000_000,
    )
    message_bytes_max: int = setting(
        1_048_576,
        "longest message accepted from a client; a longer one is closed with 1009",
        unit="B",
        least=128,
        most=2**26,
    )
    message_timeout_s: float = setting(
        30.0,
        "a client that has not completed a message within this time is closed with 4410",
        unit="s",
        least=0.1,
        most=86_400,
    )
    messages_per_s: int = setting(
        200,
        "messages a second from a client, control frames included, in the long run; more wait, and with more "
        "than 64 KiB waiting it is closed with 4429",
        least=1,
        most=10**9,
    )
    messages_burst_max: int = setting(
        10_000, "messages from a client at once, beyond the rate", least=1, most=10**9
    )
    input_bytes_per_s: int = setting(
        262_144,
        "bytes a second from a client, inflated, in the long run; more wait, as for messages_per_s",
        least=128,
        most=10**12,
    )
    input_bytes_burst_max: int = setting(
        4_194_304,
        "bytes from a client at once, beyond the rate; at least message_bytes_max",
        least=128,
        most=10**12,
    )
    input_buffer_bytes_max: int = setting(
        33_554_432,
        "bytes of unfinished messages and requests in a worker; beyond, the largest are closed with 1013",
        unit="B",
        least=2**20,
        most=2**36,
    )
    output_buffer_bytes_max: int = setting(
        268_435_456,
        "bytes that clients of a worker left unread in it; beyond, those that left most are disconnected",
        unit="B",
        least=2**20,
        most=2**36,
    )
    write_buffer_bytes: int = setting(
        8_192,
        "bytes a client may leave unread in the gateway before its updates conflate",
        unit="B",
        least=1024,
        most=2**26,
    )
    send_buffer_bytes: int = setting(
        16_384, "kernel send buffer per client", unit="B", least=2048, most=2**26
    )
    submit: str = setting(
        "send",
        "how the kernel is handed a broadcast: send: by one call for each client; io_uring: by one for many, "
        "where that is allowed; auto: by io_uring if it works",
    )
    deflate_bytes_min: int = setting(
        512,
        "book messages from this size on are compressed, once for all clients that negotiate it; 0 = never",
        unit="B",
        least=0,
        most=2**26,
    )
    gateways_max: int = setting(
        1_000,
        "gateways that Redis lists for `depthcast status`; beyond, those heard of longest ago are left out",
        least=1,
        most=100_000,
    )
    history_deltas: int = setting(
        256, "view deltas kept per channel, for slow and resuming clients", least=1, most=1_000_000
    )
    history_deltas_total: int = setting(
        1_000_000,
        "view deltas kept by a worker for all channels together; with many channels, each keeps fewer",
        least=1,
        most=1_000_000_000,
    )
    book_history_s: float = setting(
        10.0,
        "time for which the changes of every book are kept, for clients that come from another gateway; "
        "0: not at all",
        unit="s",
        least=0,
        most=600,
    )
    book_history_bytes_max: int = setting(
        67_108_864,
        "bytes of these changes in a worker, of all books; beyond, the oldest go earlier",
        unit="B",
        least=0,
        most=68_719_476_736,
    )
    channel_linger_s: float = setting(
        60.0,
        "time that a channel without subscriptions is kept, for clients that resume",
        unit="s",
        least=0,
        most=86_400,
    )
    follow: str = setting(
        "all",
        "all: every book is kept up to date; asked: only those that somebody asks for, or did so within "
        "follow_linger_s",
    )
    follow_linger_s: float = setting(
        60.0,
        "with follow=asked, time that a book is kept up to date after its last subscription, view or request",
        unit="s",
        least=0,
        most=86_400,
    )
    follow_wait_s: float = setting(
        5.0,
        "with follow=asked, time that a request waits for books that have to be taken up first",
        unit="s",
        least=0,
        most=60,
    )
    drain_delay_s: float = setting(
        3.0,
        "on SIGTERM, time until the first client is closed with 1012: not ready meanwhile, so that balancers "
        "send nobody any more",
        unit="s",
        least=0,
        most=600,
    )
    drain_spread_s: float = setting(
        5.0,
        "then, time over which the close frames of all clients are spread evenly",
        unit="s",
        least=0,
        most=3600,
    )
    drain_timeout_s: float = setting(
        5.0, "then, time that clients have to read their close frame", unit="s", least=0, most=9
    )
    cors_origin: str = setting(
        "",
        "Access-Control-Allow-Origin of the HTTP endpoints, such as * ; when empty, the page's origin if "
        "origins names it",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) and not self.tls_cert:
                problem = "is set, but tls_cert is not, so there is no TLS; set it too, or remove this"
                raise SettingsError(variable(name), getattr(self, name), problem)
        for name, parse in (
            ("trusted_proxies", parse_networks),
            ("origins", Origins),
            ("frame_origins", frame_sources),
        ):
            text = getattr(self, name)
            try:
                parse(text)
            except ValueError as error:
                raise SettingsError(variable(name), text, f"cannot be understood: {error}") from error
        if self.follow not in ("all", "asked"):
            raise SettingsError(variable("follow"), self.follow, "must be all or asked")
        check_read_from(self.read_from)
        if self.submit not in ("auto", "send", "io_uring"):
            raise SettingsError(variable("submit"), self.submit, "must be auto, send or io_uring")
        self._check_tokens()

    @property
    def takes_tokens(self) -> bool:
        """Whether tokens are checked."""
        return bool(self.token_keys or self.token_jwks_url or self.token_secret)

    def _check_tokens(self) -> None:
        named = [name for name in ("token_keys", "token_jwks_url", "token_secret") if getattr(self, name)]
        if len(named) > 1:
            others = " and ".join(map(variable, named[1:]))
            raise SettingsError(variable(named[0]), HIDDEN, f"is set, but {others} too; keep one of them")
        if self.token_jwks_url and (problem := jwks_problem(self.token_jwks_url)) is not None:
            shown = without_credentials(self.token_jwks_url)
            raise SettingsError(variable("token_jwks_url"), shown, problem)
        if not self.token_audience:
            raise SettingsError(variable("token_audience"), "", "must not be empty")
        if not named and self.anonymous is not True and not is_loopback(self.host):
            raise SettingsError(
                variable("host"),
                self.host,
                "can be reached by others, and no tokens are asked for: name keys in "
                f"{variable('token_keys')} (depthcast token keygen makes some), or set "
                f"{variable('anonymous')}=true if everybody may read every book",
            )
        if not named and self.anonymous is False:
            raise SettingsError(
                variable("anonymous"), False, f"leaves nobody: name keys in {variable('token_keys')}"
            )


def check_read_from(value: str) -> None:
    """Raise `SettingsError` for a `read_from` that is none of its values."""
    if value not in READ_FROM:
        raise SettingsError(variable("read_from"), value, f"must be {' or '.join(READ_FROM)}")


@contextmanager
def errors_about(typed: Mapping[str, str]) -> Iterator[None]:
    """Let errors about settings name the option that was typed, instead of the variable.

    `typed`: as in `Settings`.
    """
    try:
        yield
    except (SettingsError, DeploymentMismatch) as error:
        if error.name not in typed:
            raise
        raise error.about(typed[error.name]) from error


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return VARIABLE_PREFIX + name.upper()


def option(name: str) -> str:
    """Return the command line option of a setting."""
    return f"--{name.replace('_', '-')}"


def file_variable(name: str) -> str:
    """Return the environment variable that names the file of a secret setting."""
    return f"{variable(name)}_FILE"


def secrets() -> tuple[str, ...]:
    """Return the names of all secret settings of all processes."""
    kinds = (IngestorSettings, GatewaySettings, VenueFeedSettings, RelaySettings)
    return tuple(
        dict.fromkeys(item.name for kind in kinds for item in fields(kind) if item.metadata["secret"])
    )


def has_option(item: "Field[Any]") -> bool:
    """Return whether a setting has a command line option: a secret has none, unless it is an address."""
    return not item.metadata["secret"] or item.name in ADDRESSES


def names(name: str) -> list[str]:
    """Return a setting's name, followed by its old one if it was renamed."""
    return [name, *(old for old, new in RENAMED.items() if new == name)]


def known_variables() -> frozenset[str]:
    """Return the environment variables of all settings of all processes, old names included."""
    kinds = (IngestorSettings, GatewaySettings, VenueFeedSettings, RelaySettings)
    return frozenset(variable(name) for kind in kinds for item in fields(kind) for name in names(item.name))


def describe(item: "Field[Any]") -> str:
    """Return a setting's help text: meaning, unit, bounds, default, variable."""
    meta = item.metadata
    parts = []
    if meta["unit"]:
        parts.append(f"unit {meta['unit']}")
    if meta["least"] is not None:
        parts.append(f"{meta['least']} to {meta['most']}")
    default = "unset" if item.default in (None, "", MISSING) else item.default
    parts += [f"default {default}", variable(item.name)]
    if item.metadata["secret"]:
        parts[-1] += f" or {file_variable(item.name)}"
    return f"{meta['meaning']} [{'; '.join(parts)}]"


def described(kind: type[Settings]) -> Iterator[tuple[str, str]]:
    """Yield (name, help text) of each setting of a process that has an option."""
    for item in fields(kind):
        if has_option(item):
            yield item.name, describe(item)


def _use(old: str, new: str) -> str:
    return f"{old} is now called {new}; the old name ends with the next version"


def _one_of(given: Sequence[tuple[str, str | None]], shown: Callable[[str], str]) -> tuple[str, str] | None:
    """The name of a setting that is used, and its text; raises `SettingsError` if two names are."""
    texts = [(name, text) for name, text in given if text is not None]
    if len(texts) > 1:
        (new, _), (old, text) = texts
        raise SettingsError(shown(old), text, f"is the old name of {shown(new)}, which is set too; remove it")
    return texts[0] if texts else None


def _convert(name: str, text: str, kind: Any) -> Any:
    options = [option for option in get_args(kind) or (kind,) if option is not NoneType]
    wanted = options[0]
    if wanted is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise SettingsError(variable(name), text, "must be true or false")
    try:
        return wanted(text)
    except ValueError:
        word = "an integer" if wanted is int else "a number"
        raise SettingsError(variable(name), text, f"must be {word}") from None


def _check_prefix(name: str, prefix: str) -> None:
    if not prefix or any(character in prefix for character in "{} \t\n"):
        raise SettingsError(variable(name), prefix, "must be non-empty, without braces or blanks")


def _check_redis_url(url: str) -> None:
    if (problem := problem_of(url)) is not None:
        raise SettingsError(variable("redis_url"), without_credentials(url), problem)


def _check_command_line(given: Mapping[str, str | None]) -> None:
    for address in ADDRESSES:
        url = given.get(address)
        if url is not None and problem_of(url) is None and has_credentials(url):
            name, password = variable(address), variable(address.replace("_url", "_password"))
            raise SettingsError(
                option(address),
                without_credentials(url),
                "has credentials, which everybody on this machine can see on a command line: set "
                f"{name}, {password}, or a file with one of them in {name}_FILE or {password}_FILE",
            )


def _check(item: "Field[Any]", value: Any) -> None:
    least, most = item.metadata["least"], item.metadata["most"]
    if value is None or least is None:
        return
    if not least <= value <= most:
        unit = f" {item.metadata['unit']}" if item.metadata["unit"] else ""
        raise SettingsError(variable(item.name), value, f"must be from {least} to {most}{unit}")
