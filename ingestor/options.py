"""The options of an input entry: its field `_` (`docs/protocol.md`, section 2.1).

An option that cannot be understood refuses the entry, because its events may be wrong without it: what was
meant as one unit must not apply in part. Only a bad `ts` costs no more than itself.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from depthcast.ingestor.decoding import UndecodableError, as_map, decode_pairs, described
from depthcast.shared.doubt import REASON_CHARS_MAX, is_reason
from depthcast.shared.errors import InstrumentsError
from depthcast.shared.instruments import Instrument, from_table
from depthcast.shared.listing import is_number
from depthcast.shared.types import MAX_INTEGER
from depthcast.shared.whole_numbers import as_integer

OPTIONS_BYTES_MAX: Final = 1 << 12
"""Longest `_` that is decoded."""

_KNOWN: Final = frozenset(("atomic", "ts", "stale", "live", "listing", "relist"))
_NANOSECONDS_FROM: Final = 10**17


class Fault(NamedTuple):
    """A `_` that refuses its entry: as received, and what is wrong with it."""

    raw: bytes
    detail: str


class Options(NamedTuple):
    """The options of an entry.

    `ts`: source time (µs). `bad_ts`: what is wrong with each `ts` that has no effect. `fault`: the first `_`
    that cannot be understood; the other options mean nothing then. `stale`: why the books of the entry's
    symbols are in doubt from now on; `live`: they are right again, if all of their events apply. `listing`:
    the number of the listing that the arrays are meant for, of all or by symbol. `relist`: listings to begin
    before the arrays apply.
    """

    atomic: bool = False
    ts: int | None = None
    bad_ts: tuple[str, ...] = ()
    fault: Fault | None = None
    stale: str | None = None
    live: bool = False
    listing: int | Mapping[str, int] | None = None
    relist: tuple[Instrument, ...] = ()

    @property
    def about_doubt(self) -> bool:
        """Whether the entry says that books are in doubt, or no longer."""
        return self.live or self.stale is not None

    def is_meant_for(self, symbol: str, number: int) -> bool:
        """Whether an array of `symbol` may apply to the listing `number`."""
        wanted = self.listing
        if wanted is None:
            return True
        return number == (wanted if isinstance(wanted, int) else wanted.get(symbol, number))


NO_OPTIONS: Final = Options()


def read_options(raws: Iterable[bytes]) -> Options:
    """Decode the `_` fields of an entry, in order; later values win."""
    atomic, ts, stale, live = False, None, None, False
    bad_ts: tuple[str, ...] = ()
    listing: int | Mapping[str, int] | None = None
    relist: tuple[Instrument, ...] = ()
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
            if "listing" in given:
                listing = _listing(given["listing"])
            if "relist" in given:
                relist = _relist(given["relist"])
        except UndecodableError as error:
            return Options(fault=Fault(raw, str(error)))
        if "ts" in given:
            number = as_integer(given["ts"])
            if type(number) is int and 0 <= number <= MAX_INTEGER:
                ts = number
            else:
                bad_ts = (*bad_ts, _why_bad(number))
    return Options(atomic, ts, bad_ts, None, stale, live, listing, relist)


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


def _listing(given: object) -> int | Mapping[str, int]:
    number = as_integer(given)
    if is_number(number):
        return number
    table = as_map(given)
    if table is None:
        raise UndecodableError(
            f"listing is {described(given)}: it is a number from 1, or a map of them by symbol"
        )
    numbers = {symbol: as_integer(value) for symbol, value in table.items()}
    for symbol, value in numbers.items():
        if not is_number(value):
            raise UndecodableError(
                f"listing of {described(symbol)} is {described(value)}: it is a number from 1"
            )
    return numbers


def _relist(given: object) -> tuple[Instrument, ...]:
    table = as_map(given)
    if table is None:
        raise UndecodableError(f"relist is {described(given)}: it is a map of instruments by symbol")
    wanted = []
    for symbol, value in table.items():
        instrument = as_map(value)
        if instrument is None:
            raise UndecodableError(f"relist of {described(symbol)} is {described(value)}: it is a map")
        try:
            wanted.append(from_table(symbol, instrument | {"listing": as_integer(instrument.get("listing"))}))
        except InstrumentsError as error:
            raise UndecodableError(f"relist of {described(symbol)}: {error.problem}") from error
        if not wanted[-1].listing:
            raise UndecodableError(f"relist of {described(symbol)} has no listing: it is the number to begin")
    return tuple(wanted)


def _why_bad(ts: object) -> str:
    unit = "; this looks like nanoseconds" if type(ts) is int and ts >= _NANOSECONDS_FROM else ""
    return f"ts is {described(ts)}: it is in microseconds since 1970, 0 to {MAX_INTEGER}{unit}"
