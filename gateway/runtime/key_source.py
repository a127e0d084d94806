"""Keeps the keys of tokens current: those of a file that may change, or of a JWKS URL that rotates them.

Nothing waits for a source. Keys that cannot be read again stay in use. While a source has never answered,
every token is refused for now.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from depthcast.gateway.runtime.token_keys import Key, KeysError, parse_jwk_set, parse_keys, secret_key
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import GatewaySettings, variable

logger = logging.getLogger(__name__)

FILE_POLL_S: Final = 2.0
FILE_BYTES_MAX: Final = 262_144
FETCH_TIMEOUT_S: Final = 5.0
RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 60.0
REFETCH_S: Final = 10.0
"""An unknown key brings the next fetch forward, but not to less than this after the last one."""


class KeySource(Protocol):
    """The keys that tokens are checked with now; `keys` is None until they are known.

    `failing_since`: when they could first not be read (monotonic s); None while they can.
    """

    keys: list[Key] | None
    failing_since: float | None

    def look_again(self) -> bool:
        """A token names a key that is not known; returns whether the keys are being read again for it."""
        ...

    async def run(self) -> None:
        """Keep `keys` current until cancelled."""
        ...


class FixedKeys:
    """Keys that do not change: a secret of the settings."""

    def __init__(self, keys: list[Key]) -> None:
        self.keys: list[Key] | None = keys
        self.failing_since: float | None = None

    def look_again(self) -> bool:
        return False

    async def run(self) -> None:
        await asyncio.Event().wait()


class FileKeys:
    """The keys in a file, read again whenever it changes; raises `SettingsError` if it is wrong at first."""

    def __init__(self, path: str, poll_s: float = FILE_POLL_S) -> None:
        self.path = Path(path)
        self.poll_s = poll_s
        self.failing_since: float | None = None
        self._read = b""
        try:
            self._read = self._bytes()
            self.keys: list[Key] | None = parse_keys(self._read)
        except OSError as error:
            raise SettingsError(
                variable("token_keys"), path, f"cannot be read: {error.strerror or type(error).__name__}"
            ) from None
        except KeysError as error:
            raise SettingsError(variable("token_keys"), path, str(error)) from None

    def _bytes(self) -> bytes:
        with self.path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise KeysError(f"has more than {FILE_BYTES_MAX} bytes")
        return raw

    def look_again(self) -> bool:
        return False  # it is looked at every two seconds

    async def run(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(self.poll_s)
            try:
                raw = await asyncio.to_thread(self._bytes)
                if raw != self._read:
                    self.keys, self._read = parse_keys(raw), raw
                    logger.info("read the keys of tokens again", extra={"keys": len(self.keys)})
                said, self.failing_since = "", None
            except (OSError, KeysError) as error:
                said = _say_once(said, str(error), str(self.path))
                self.failing_since = self.failing_since or asyncio.get_running_loop().time()


class UrlKeys:
    """The keys of a JWK set at an https address, fetched again after each interval."""

    def __init__(self, url: str, interval_s: float) -> None:
        self.url = url
        self.interval_s = interval_s
        self.keys: list[Key] | None = None
        self._wanted = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.failing_since: float | None = self._loop.time()
        self._fetched_at = -REFETCH_S

    def look_again(self) -> bool:
        if not self._wanted.is_set() and self._loop.time() - self._fetched_at >= REFETCH_S:
            self._wanted.set()
        return self._wanted.is_set()

    async def run(self) -> None:
        backoff, said = Backoff(RETRY_FIRST_S, RETRY_MOST_S, no_jitter), ""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(FETCH_TIMEOUT_S)) as http:
            while True:
                try:
                    self.keys = parse_jwk_set(await self._fetch(http), public_only=True)
                    backoff.reset()
                    wait_s, said, self.failing_since = self.interval_s, "", None
                except (aiohttp.ClientError, OSError, KeysError) as error:
                    said = _say_once(said, str(error) or type(error).__name__, self.url)
                    wait_s = backoff.next_s()
                    self.failing_since = self.failing_since or self._loop.time()
                self._fetched_at = self._loop.time()
                self._wanted.clear()
                await self._sleep(wait_s)

    async def _fetch(self, http: aiohttp.ClientSession) -> bytes:
        async with http.get(self.url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise KeysError(f"answers {answer.status}")
            raw = bytearray()
            async for piece in answer.content.iter_any():
                raw += piece
                if len(raw) > FILE_BYTES_MAX:
                    raise KeysError(f"answers with more than {FILE_BYTES_MAX} bytes")
            return bytes(raw)

    async def _sleep(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wanted.wait()
        except TimeoutError:
            pass


def key_source(settings: GatewaySettings) -> KeySource | None:
    """Make the source that the settings name, None if they name none; raises `SettingsError`."""
    if settings.token_secret:
        try:
            return FixedKeys([secret_key(settings.token_secret)])
        except KeysError as error:
            raise SettingsError(variable("token_secret"), "***", str(error)) from None
    if settings.token_keys:
        return FileKeys(settings.token_keys)
    if settings.token_jwks_url:
        return UrlKeys(settings.token_jwks_url, settings.token_keys_interval_s)
    return None


def _say_once(said: str, problem: str, of: str) -> str:
    if problem != said:
        logger.error("the keys of tokens stay as they are", extra={"of": of, "problem": problem})
    return problem
