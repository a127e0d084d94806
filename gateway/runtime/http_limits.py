"""Bounds what HTTP requests may cost a worker: at a time, in a second, and in answers that nobody reads."""

from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.allowance import Allowance
from depthcast.shared.settings import GatewaySettings

SECONDS_AT_ONCE: Final = 2
"""So many seconds' requests may come at once."""
RATES_MAX: Final = 10_000
"""Addresses whose rates are kept."""
LEVELS_PER_REQUEST: Final = 1_000
"""Encoding so many levels counts as one more request."""
BUSY_RETRY_S: Final = 1
ANSWER_BYTES_PER_S_MIN: Final = 16_384
"""Beside the time-out for stalls, a client has the time that an answer takes at this rate."""


class NotNow(Exception):
    """A request that is refused for now; the client may come again after `retry_s` seconds."""

    def __init__(self, status: int, code: str, message: str, retry_s: int) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.retry_s = retry_s
        super().__init__(message)


class HttpLimits:
    """The requests being served: `serving`, and the bytes of their answers that were not taken yet.

    One client address gets at most half of each, so that no single one keeps others out. `make_room` ends a
    connection whose client has stopped reading, and returns whether there was one.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        counters: GatewayCounters,
        now: float,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.make_room = make_room
        self.settings = settings
        self._serving_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self.counters = counters
        self.serving = 0
        self.answer_bytes = 0
        per_s = settings.http_requests_per_s
        self._requests = Allowance(per_s, SECONDS_AT_ONCE * per_s, now)
        self._rates: dict[str | None, Allowance] = {}
        self._requests_of_unknown = Allowance(per_s, SECONDS_AT_ONCE * per_s, now)

    def enter(self, now: float, address: str | None = None) -> None:
        """Begin to serve a request, until `leave`; raises `NotNow`, and then it did not begin."""
        most = self.settings.http_requests_max
        share = address is not None and self._serving_of[address] >= (most + 1) // 2
        if share or (self.serving >= most and not self.make_room()):
            self.counters.limit_http_requests += 1
            raise NotNow(
                503, "unavailable", f"{most} requests are being served; try again later", BUSY_RETRY_S
            )
        rate = self._rate_of(address, now)
        if not self._may_ask(rate, now):
            self.counters.limit_http_rate += 1
            text = f"more than {self.settings.http_requests_per_s} requests a second; try again later"
            wait_s = max(rate.wait_s(1), self._requests.wait_s(1))
            raise NotNow(429, "rate_limited", text, ceil(wait_s) or 1)
        self.serving += 1
        _add(self._serving_of, address, 1)

    def _may_ask(self, rate: Allowance, now: float) -> bool:
        """Count one more request; an address that has asked little is served however much others ask."""
        if not rate.take(1, now):
            return False
        if rate.wait_s(rate.most / 2):
            return self._requests.take(1, now)
        self._requests.use(1)
        return True

    def leave(self, address: str | None = None) -> None:
        """Note that a request was served."""
        self.serving -= 1
        _add(self._serving_of, address, -1)

    def encoded(self, levels: int, address: str | None = None) -> None:
        """Count a body that had to be encoded as more than one request, by its levels."""
        self._requests.use(levels / LEVELS_PER_REQUEST)
        if address in self._rates:
            self._rates[address].use(levels / LEVELS_PER_REQUEST)

    def _rate_of(self, address: str | None, now: float) -> Allowance:
        """The allowance of one address: half of all."""
        if address is None:
            return self._requests_of_unknown
        found = self._rates.get(address)
        if found is None:
            if len(self._rates) >= RATES_MAX:
                self._forget(now)
            found = self._rates[address] = self._half(now)
        return found

    def _half(self, now: float) -> Allowance:
        per_s = self.settings.http_requests_per_s / 2
        return Allowance(per_s, max(1.0, SECONDS_AT_ONCE * per_s), now)

    def _forget(self, now: float) -> None:
        """Forget the addresses that have their whole allowance again, or all if none has."""
        for address, rate in tuple(self._rates.items()):
            if rate.take(0, now) and not rate.wait_s(rate.most):
                del self._rates[address]
        if len(self._rates) >= RATES_MAX:
            self._rates.clear()

    def hold(self, size: int, address: str | None = None) -> None:
        """Keep an answer of `size` bytes until `release`; raises `NotNow` if too many wait to be read."""
        most = self.settings.http_answer_bytes_max
        of = self._bytes_of[address] if address is not None else 0
        share = of > 0 and of + size > most // 2
        if share or (self.answer_bytes and self.answer_bytes + size > most and not self.make_room()):
            self.counters.limit_http_answer_bytes += 1
            raise NotNow(
                503,
                "unavailable",
                f"answers of {most} bytes wait for their clients; try again later",
                BUSY_RETRY_S,
            )
        self.answer_bytes += size
        _add(self._bytes_of, address, size)

    def release(self, size: int, address: str | None = None) -> None:
        """Note that an answer of `size` bytes was taken, or given up."""
        self.answer_bytes -= size
        _add(self._bytes_of, address, -size)

    def time_to_read_s(self, size: int) -> float:
        """How long a client has to read an answer of `size` bytes."""
        return self.settings.stall_timeout_s + size / ANSWER_BYTES_PER_S_MIN


def _add(counts: Counter[str], key: str | None, count: int) -> None:
    if key is not None:
        counts[key] += count
        if not counts[key]:
            del counts[key]
