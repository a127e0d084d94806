"""The gateway's certificate: read at start, and again when its files change or somebody asks.

Connections keep the certificate that they began with; new ones get the new one. Files that cannot be used
change nothing, so a renewal that is half done costs no client its connection.
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final, Self

from depthcast.gateway.protocol.certificate_end import first_end
from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import GatewaySettings, variable

logger = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Files are looked at this often."""
SETTINGS: Final = ("tls_cert", "tls_key", "tls_client_ca")

State = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and time of change of each file; None for one that is not there."""


class Certificates:
    """What new connections are encrypted with: `context()`. Raises `SettingsError` if a file is of no use.

    `failures`: how often the files could not be read again. `ends_at`: when the certificate, or one above it
    in its file, ends (s since 1970); 0 if that cannot be read.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.failures = 0
        self._asked = asyncio.Event()
        self._seen = _state(settings)
        self._context = make_context(settings)
        self.ends_at = _end(settings)

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self | None:
        """Those that the settings name, None without TLS."""
        return cls(settings) if settings.tls_cert else None

    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._context

    def ask(self) -> None:
        """Read the files again soon, whether they have changed or not."""
        self._asked.set()

    async def watch(self, look_s: float = LOOK_S) -> None:
        """Read the files again after they changed, or when asked, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(look_s):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            state = await asyncio.to_thread(_state, self.settings)
            if asked or state != self._seen:
                await self._read_again(state)

    async def _read_again(self, state: State) -> None:
        self._seen = state
        try:
            self._context = await asyncio.to_thread(make_context, self.settings)
        except SettingsError as error:
            self.failures += 1
            text = "the certificate was not read again; new connections get the former one"
            logger.warning(text, extra={"problem": str(error)})
        else:
            self.ends_at = await asyncio.to_thread(_end, self.settings)
            logger.info("the certificate was read again", extra={"file": self.settings.tls_cert})


def make_context(settings: GatewaySettings) -> ssl.SSLContext:
    """Read the files; raises `SettingsError` that names the one at fault."""
    cert, key, client_ca = settings.tls_cert, settings.tls_key or settings.tls_cert, settings.tls_client_ca
    for name in SETTINGS:
        _check_readable(name, getattr(settings, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, _no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise _problem(settings, error) from None
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise SettingsError(
                variable("tls_client_ca"), client_ca, "must have certificates in PEM"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _end(settings: GatewaySettings) -> float:
    try:
        return first_end(Path(settings.tls_cert).read_bytes()) or 0.0
    except OSError:
        return 0.0


def _problem(settings: GatewaySettings, error: Exception) -> SettingsError:
    name = "tls_key" if settings.tls_key else "tls_cert"
    path = getattr(settings, name)
    if not isinstance(error, ssl.SSLError):
        return SettingsError(
            variable(name), path, "has a key with a passphrase; write it without, readable by this user only"
        )
    if error.reason == "KEY_VALUES_MISMATCH":
        return SettingsError(variable(name), path, f"has not the key of the certificate {settings.tls_cert}")
    wanted = f"{settings.tls_cert} a certificate and {path} its private key"
    return SettingsError(variable("tls_cert"), settings.tls_cert, f"cannot be used: {wanted}, both in PEM")


def _no_passphrase() -> str:
    """Called for a key that needs a passphrase, which the library would ask the terminal for."""
    raise ValueError("the key has a passphrase")


def _check_readable(name: str, path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(variable(name), path, f"cannot be read: {problem}") from None


def _state(settings: GatewaySettings) -> State:
    return tuple(_file_state(getattr(settings, name)) for name in SETTINGS)


def _file_state(path: str) -> tuple[int, int, int] | None:
    if not path:
        return None
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
