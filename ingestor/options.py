"""The options of an input entry: its field `_` (`docs/protocol.md`, section 2.1).

An option that cannot be understood refuses the entry, because its events may be wrong without it: what was
meant as one unit must not apply in part. Only a bad `ts` costs no more than itself.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from depthcast.ingestor.decoding import UndecodableError, decode_pairs, described
from depthcast.shared.doubt import REASON_CHARS_MAX, is_reason
from depthcast.shared.types import MAX_INTEGER
from depthcast.shared.whole_numbers import as_integer

OPTIONS_BYTES_MAX: Final = 1 << 12
"""Longest `_` that is decoded."""

_KNOWN: Final = frozenset(("atomic", "ts", "stale", "live"))
_NANOSECONDS_FROM: Final = 10**17


class Fault(NamedTuple):
    """A `_` that refuses its entry: as received, and what is wrong with it."""

    raw: bytes
    detail: str


class Options(NamedTuple):
    """The options of an entry.

    `ts`: source time (µs). `bad_ts`: what is wrong with each `ts` that has no effect. `fault`: the first `_`
    that cannot be understood; the other options mean nothing then. `stale`: why the books of the entry's
    symbols are in doubt from now on; `live`: they are right again, if all of their events apply.
    """

    atomic: bool = False
    ts: int | None = None
    bad_ts: tuple[str, ...] = ()
    fault: Fault | None = None
    stale: str | None = None
    live: bool = False

    @property
    def about_doubt(self) -> bool:
        """Whether the entry says that books are in doubt, or no longer."""
        return self.live or self.stale is not None


NO_OPTIONS: Final = Options()


def read_options(raws: Iterable[bytes]) -> Options:
    """Decode the `_` fields of an entry, in order; later values win."""
    atomic, ts, stale, live = False, None, None, False
    bad_ts: tuple[str, ...] = ()
    for raw in raws:
        try:
            given = _decode(raw)
            if "atomic" in given:
                atomic = _boolean("atomic", given["atomic"])
            if "live" in given:
                live = _boolean("live", given["live"])
            if "stale" in given:
                stale = _reason(given["stale"])
            _check_doubt(stale, live=live)
        except UndecodableError as error:
            return Options(fault=Fault(raw, str(error)))
        if "ts" in given:
            number = as_integer(given["ts"])
            if type(number) is int and 0 <= number <= MAX_INTEGER:
                ts = number
            else:
                bad_ts = (*bad_ts, _why_bad(number))
    return Options(atomic, ts, bad_ts, None, stale, live)


def _decode(raw: bytes) -> dict[str, Any]:
    """The known options in `raw`; raises `UndecodableError`."""
    if len(raw) > OPTIONS_BYTES_MAX:
        raise UndecodableError(f"the options have {len(raw)} bytes, more than {OPTIONS_BYTES_MAX}")
    pairs = decode_pairs(raw)
    if pairs is None:
        raise UndecodableError('the options are no map, such as {"atomic": true}')
    known: dict[str, Any] = {}
    for key, value in pairs:
        if type(key) is not str:
            raise UndecodableError(f"the options have the key {described(key)}: keys are text")
        if key in known:
            raise UndecodableError(f"the options have {described(key)} twice")
        if key in _KNOWN:
            known[key] = value
    return known


def _boolean(name: str, given: object) -> bool:
    if type(given) is not bool:
        raise UndecodableError(f"{name} is {described(given)}: it is true or false")
    return given


def _check_doubt(stale: str | None, *, live: bool) -> None:
    if live and stale is not None:
        raise UndecodableError("the options say stale and live: books are in doubt, or they are not")


def _reason(given: Any) -> str:
    if not is_reason(given):
        raise UndecodableError(
            f"stale is {described(given)}: it is a text of 1 to {REASON_CHARS_MAX} characters"
        )
    return str(given)


def _why_bad(ts: object) -> str:
    unit = "; this looks like nanoseconds" if type(ts) is int and ts >= _NANOSECONDS_FROM else ""
    return f"ts is {described(ts)}: it is in microseconds since 1970, 0 to {MAX_INTEGER}{unit}"
