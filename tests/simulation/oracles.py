"""Checks at the end: every event counted once, all replicas equal to a naive model, a valid history."""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from depthcast.shared.codec import decode_info
from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.replica import Replica
from depthcast.shared.types import EntryInfo
from tests.book_model import OPS, ModelBook, No, brute_digest, doubt_after, named, whole
from tests.ingestor_runs import History, check_history
from tests.simulation.decisions import Begun, Decisions
from tests.simulation.journal import Entry, Journal
from tests.simulation.producers import KEYS, Corpus
from tests.simulation.streams import Id

Levels = dict[str, dict[int, int]]
Reject = tuple[str, str, str, int, int]
"""Symbol, reason, source, index, count."""

Counts = tuple[int, int, int]
"""Events applied, rejected, ignored."""

NOT_OURS = ("unknown_symbol", "wrong_partition")


@dataclass
class Expected:
    """The expected result of one partition's input log. `inputs`: ms of each symbol's last input."""

    src: str = "0-0"
    lost: int = 0
    applied: int = 0
    rejected: int = 0
    ignored: int = 0
    rejects: list[Reject] = field(default_factory=list)
    models: dict[str, ModelBook] = field(default_factory=dict)
    books: dict[str, Levels] = field(default_factory=dict)
    order_counts: dict[str, Levels] = field(default_factory=dict)
    """The number of orders at each level, of orders feeds."""
    digests: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        return self.applied, self.rejected, self.ignored


class Model:
    """Computes the expected state of one partition. `late`: symbols registered during the run.

    The program decides whether an early event of a late symbol is refused, and says so once in `rejects`.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        instruments: Mapping[str, Instrument],
        corpus: Corpus,
        late: set[str],
    ) -> None:
        self.number = number
        self.partitions = partitions
        self.instruments = instruments
        self.corpus = corpus
        self.late = late

    def begin(self) -> Expected:
        """Start from empty books."""
        models = {
            symbol: ModelBook(instrument.feed, instrument.on_cross)
            for symbol, instrument in self.instruments.items()
            if partition_of(symbol, self.partitions) == self.number
        }
        return Expected(models=models)

    def apply(
        self,
        result: Expected,
        log: Iterable[Entry],
        refused: Mapping[tuple[str, str], str],
        begun: Mapping[str, Sequence[Begun]] = MappingProxyType({}),
    ) -> None:
        """Apply the log.

        - `refused`: the reason by (symbol, source) where a late symbol was refused.
        - `begun`: the listings of late symbols, with the inputs after which they began or ended.
        """
        waiting = [(it.after, symbol, it.listing) for symbol, places in begun.items() for it in places]
        waiting.sort(key=lambda item: item[0])
        for stream_id, fields in log:
            while waiting and waiting[0][0] < stream_id:
                self._begin_book(result, *waiting.pop(0)[1:])
            result.src = f"{stream_id[0]}-{stream_id[1]}"
            self._apply(result, list(zip(fields[::2], fields[1::2], strict=True)), refused)
        for _, symbol, listing in waiting:
            self._begin_book(result, symbol, listing)
        result.books = {symbol: model.levels() for symbol, model in result.models.items()}
        by_order = {symbol: model for symbol, model in result.models.items() if model.feed == "orders"}
        result.order_counts = {symbol: model.order_counts() for symbol, model in by_order.items()}
        result.digests = {symbol: brute_digest(levels) for symbol, levels in result.books.items()}

    def _begin_book(self, result: Expected, symbol: str, listing: Listing) -> None:
        instrument = listing.instrument
        result.models[symbol] = ModelBook(instrument.feed, instrument.on_cross)
        result.doubts.pop(symbol, None)
        result.inputs.pop(symbol, None)

    def _apply(
        self, result: Expected, fields: list[tuple[bytes, bytes]], refused: Mapping[tuple[str, str], str]
    ) -> None:
        marks = [self.corpus.atomic[raw] for name, raw in fields if name == b"_"]
        values = [(name.decode(), raw) for name, raw in fields if name != b"_"]
        if None in marks:
            self._reject(result, "_", "malformed", -1, 1)
            for name, _ in values:
                self._reject(result, name, "bad_options", -1, 1)
            return
        rejected = len(result.rejects)
        stale = any("stale" in self.corpus.doubts[raw] for name, raw in fields if name == b"_")
        for name, raw in values:
            array, atomic = self.corpus.arrays[raw], bool(marks and marks[-1])
            self._array(result, name, array, refused, atomic=atomic, stale=stale)
        failed = {reject[0] for reject in result.rejects[rejected:]}
        for said in (self.corpus.doubts[raw] for name, raw in fields if name == b"_"):
            for symbol in {name for name, _ in values} & result.models.keys():
                arrays = [self.corpus.arrays[raw] for name, raw in values if name == symbol]
                before = result.doubts.pop(symbol, None)
                doubt = doubt_after(before, said, arrays, failed=symbol in failed)
                if doubt is not None:
                    result.doubts[symbol] = doubt

    def _array(
        self,
        result: Expected,
        symbol: str,
        events: list[Any] | None,
        refused: Mapping[tuple[str, str], str],
        *,
        atomic: bool,
        stale: bool,
    ) -> None:
        if events is None:
            self._reject(result, symbol, "malformed", -1, 1)
            return
        reason = refused.get((symbol, result.src)) if symbol in self.late else None
        model = result.models.get(symbol)
        if model is None or reason:
            reason = reason or ("wrong_partition" if symbol in self.instruments else "unknown_symbol")
            self._refuse_all(result, symbol, events, reason, atomic=atomic)
            return
        outcome = model.apply(events, atomic=atomic)
        result.applied += outcome.applied
        result.ignored += outcome.ignored
        if outcome.applied or (not stale and (outcome.ignored or not events)):
            result.inputs[symbol] = int(result.src.partition("-")[0])
        for why, index, count in outcome.rejects:
            self._reject(result, symbol, why, index, count)

    def _refuse_all(
        self, result: Expected, symbol: str, events: list[Any], reason: str, *, atomic: bool
    ) -> None:
        for index, event in enumerate(events[:1] if atomic else events):
            why = reason if _has_op(event) else "malformed"
            self._reject(result, symbol, why, index, len(events) if atomic else 1)

    def _reject(self, result: Expected, symbol: str, reason: str, index: int, count: int) -> None:
        result.rejected += count
        result.rejects.append((symbol, reason, result.src, index, count))


def _info_at_beginning(deltas: list[Entry]) -> EntryInfo:
    """The info that the first leader began with; its entry after the seal also has unpublished input.

    That is the end of what was deleted, and the beginning of what came after it, up to its `src`.
    """
    written = [entry for entry in deltas if entry[0][1]] or deltas
    return decode_info(written[0][1][1])


def _relistings(log: list[Entry]) -> dict[tuple[str, int], Id]:
    """The listings that input entries ask for: the entry by symbol and number."""
    return {
        (symbol, wanted["listing"]): stream_id
        for stream_id, fields in log
        for name, raw in zip(fields[::2], fields[1::2], strict=True)
        if name == b"_" and raw.startswith(b'{"relist"')
        for symbol, wanted in json.loads(raw)["relist"].items()
    }


def _upto(log: list[Entry], src: str) -> list[Entry]:
    return [entry for entry in log if entry[0] <= tuple(Position.parse(src))]


def _has_op(event: Any) -> bool:
    try:
        return isinstance(event, list) and bool(event) and bool(named(whole(event[0]), OPS))
    except No:
        return False


def rejects_in(entries: Iterable[Entry]) -> list[Reject]:
    """The entries of a `rejects` stream."""
    found = []
    for _, flat in entries:
        named_values = dict(zip(flat[::2], flat[1::2], strict=True))
        symbol, reason, source = (named_values[name].decode() for name in (b"symbol", b"reason", b"source"))
        found.append((symbol, reason, source, int(named_values[b"index"]), int(named_values[b"count"])))
    return found


class PartitionOracle:
    """Compares one partition with its model.

    `deleted`: input entries that somebody else deleted. `lost_known`: whether a leader could tell how many
    of them it had not read: it knew how many there were before.
    """

    def __init__(self, journal: Journal, model: Model, decisions: Decisions) -> None:
        keys = KEYS.partition(model.number)
        self.journal = journal
        self.model = model
        self.decisions = decisions
        self.deleted: set[Id] = set()
        self.lost_known = True
        self.events, self.deltas, self.rejects = (
            key.encode() for key in (keys.events, keys.deltas, keys.rejects)
        )
        self._expected = Expected()
        self._known = (-1, -1, -1)
        self._before: list[Reject] = []

    def expected(self) -> Expected:
        """The expected state, by the current log."""
        log, rejects = (self.journal.streams.get(key, []) for key in (self.events, self.rejects))
        deltas = self.journal.streams.get(self.deltas, [])
        late = self.model.late
        follows_deltas = bool(late or self.deleted)
        known = len(log), len(rejects) + len(deltas) if follows_deltas else 0, len(self.journal.deleted)
        if known != self._known:
            self._known = known
            self._expected = self.model.begin()
            self._remember(self._expected)
            lost = self._lost(deltas)
            left = [entry for entry in log if entry[0] not in lost]
            self.model.apply(self._expected, left, self._refused(rejects), self._begun(deltas))
            self._expected.lost = len(lost)
        return self._expected

    def src(self) -> Id:
        """The last input entry that the last published entry includes."""
        entries = self.journal.streams.get(self.deltas)
        return Position.parse(decode_info(entries[-1][1][1]).src) if entries else (0, 0)

    def counts_input(self) -> bool:
        """Whether the last published entry says how many input entries there were up to its `src`."""
        entries = self.journal.streams.get(self.deltas, [])
        return bool(entries) and decode_info(entries[-1][1][1]).entries is not None

    def unread(self) -> set[Id]:
        """The input entries that somebody else deleted and that no published entry includes."""
        return self._lost(self.journal.streams.get(self.deltas, []))

    def _lost(self, deltas: list[Entry]) -> set[Id]:
        """The deleted input entries that no leader of this timeline had read."""
        if not self.deleted:
            return set()
        read = self.decisions.read
        return self.deleted.difference(*(read.get((self.deltas, stream_id), ()) for stream_id, _ in deltas))

    def _begun(self, deltas: list[Entry]) -> dict[str, list[Begun]]:
        """The listings of late symbols that began or ended in this timeline."""
        found: dict[str, list[Begun]] = {symbol: [] for symbol in self.model.late}
        for stream_id, _ in deltas if found else ():
            for symbol, begun in self.decisions.begun.get((self.deltas, stream_id), {}).items():
                if symbol in found:
                    found[symbol] += begun
        return found

    def check_relistings(self) -> list[str]:
        """Check that each listing that an input entry asked for begins with that entry."""
        log, lost = self.journal.streams.get(self.events, []), self.unread()
        left = [stream_id for stream_id, _ in log if stream_id not in lost]
        asked = _relistings(log)
        problems = []
        for symbol, listings in self._begun(self.journal.streams.get(self.deltas, [])).items():
            for after, listing in listings:
                wanted = asked.get((symbol, listing.number))
                first = next((stream_id for stream_id in left if stream_id > after), None)
                if wanted is not None and not listing.withdrawn and first != wanted:
                    problems.append(f"listing {listing} begins with the input {first}, not {wanted}")
        return problems

    def _refused(self, rejects: Iterable[Entry]) -> dict[tuple[str, str], str]:
        """Why input of late symbols was refused, by (symbol, source)."""
        late = self.model.late
        found = rejects_in(rejects) if late else []
        return {(r[0], r[2]): r[1] for r in found if r[0] in late and r[1] in NOT_OURS}

    def _remember(self, result: Expected) -> None:
        """Record how much deleted input the leader that continued from memory had consumed.

        The counts of the next entry show it. Earlier rejects may be repeated or not.
        """
        timelines = [*self.journal.deleted, self.journal.streams]
        for number, before in enumerate(self.journal.deleted, 1):
            later = [streams[self.deltas] for streams in timelines[number:] if streams.get(self.deltas)]
            old, refused = before.get(self.events, []), self._refused(before.get(self.rejects, []))
            if later:
                info = _info_at_beginning(later[0])
                new = _upto(timelines[number].get(self.events, []), info.src)
                old = old[: self._consumed(result, old, new, refused, info)]
            self.model.apply(result, old, refused)
        result.src = "0-0"
        self._before, result.rejects = result.rejects, []

    def _consumed(
        self,
        result: Expected,
        old: list[Entry],
        new: list[Entry],
        refused: Mapping[tuple[str, str], str],
        info: EntryInfo,
    ) -> int:
        """How many deleted entries had been consumed: the number that explains the counts of `info`."""
        wanted = info.applied, info.rejected, info.ignored
        for count in range(len(old) + 1):
            tried = deepcopy(result)
            self.model.apply(tried, [*old[:count], *new], refused)
            if tried.counts == wanted:
                return count
        return len(old)

    def published(self) -> str | None:
        """None if the last entry correctly says that everything was consumed; else what it says."""
        entries = self.journal.streams.get(self.deltas)
        if not entries:
            return f"partition {self.model.number}: nothing was published"
        info = decode_info(entries[-1][1][1])
        wanted, lost = self.expected(), info.lost or 0
        said = (info.src, info.applied, info.rejected, info.ignored, lost)
        most = wanted.lost if self.lost_known and not self.journal.branches else min(lost, wanted.lost)
        right = (wanted.src, wanted.applied, wanted.rejected, wanted.ignored, most)
        if said == right:
            return None
        return f"partition {self.model.number}: the last entry says {said}, not {right}"

    def wrong(self, whose: str, symbol: str, replica: Replica | None) -> str | None:
        """None if the replica is the model's book."""
        levels = self.expected().books[symbol]
        if replica is None:
            return f"{whose}: no book of {symbol}"
        book = {"bid": replica.book.bids.levels, "ask": replica.book.asks.levels}
        counts = {"bid": replica.book.bids.orders, "ask": replica.book.asks.orders}
        known = self._expected.order_counts.get(symbol, {"bid": None, "ask": None})
        if (book, counts) != (levels, known) or replica.digest != self._expected.digests[symbol]:
            held, right = (book, counts), (levels, known)
            return f"{whose}: {symbol} at seq {replica.seq} holds {held}, not {right} (levels, orders)"
        if symbol in self.model.late:
            return None
        doubt = self._expected.doubts.get(symbol)
        if replica.doubt != doubt:
            return f"{whose}: {symbol} at seq {replica.seq} is doubted for {replica.doubt}, not {doubt}"
        last_ms = self._expected.inputs.get(symbol, 0)
        if replica.input_ts < last_ms * 1000:
            return f"{whose}: the last input of {symbol} came at {last_ms}, not {replica.input_ts / 1000}"
        return None

    def doubt(self, symbol: str) -> str | None:
        """Why the book of a symbol is in doubt."""
        return self.expected().doubts.get(symbol)

    def check_rejects(self) -> list[str]:
        """Check that there are exactly the expected rejects, once each, in order."""
        found, wanted = rejects_in(self.journal.streams.get(self.rejects, [])), self.expected().rejects
        if found == wanted:
            return []
        again = found[: len(found) - len(wanted)]
        if again and found[len(again) :] == wanted and again == self._before[-len(again) :]:
            return []
        place = next((n for n, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), -1)
        differ = f"they first differ at {place}: {found[place : place + 2]}, {wanted[place : place + 2]}"
        return [
            f"partition {self.model.number}: {len(found)} rejects, {len(wanted)} expected; {differ}",
        ]

    def check_history(self) -> list[str]:
        """Check that the history is valid and ends in the model's books, and that no seq names two states."""
        states: dict[tuple[str, int], tuple[int, int | None]] = {}
        if self.journal.deleted or self.deltas in self.journal.emptied:
            return []  # state continued from memory is in no history; the replicas show it
        history = History()
        timelines = [*self.journal.branches.get(self.deltas, []), self.journal.streams.get(self.deltas, [])]
        try:
            for timeline in timelines:
                gone = {Position(*entry) for entry in self.deleted}
                history = check_history([_raw(entry) for entry in timeline], gone)
                _collect(states, history)
        except AssertionError as error:
            return [f"partition {self.model.number}: the published history is unsound: {error!r}"]
        wrong = [
            self.wrong("published", symbol, history.replicas.get(symbol)) for symbol in self.expected().books
        ]
        return [text for text in wrong if text]


def _collect(states: dict[tuple[str, int], tuple[int, int | None]], history: History) -> None:
    for position, symbol, delta in history.deltas:
        state = delta.digest, history.orders_digests[symbol, delta.seq]
        held = states.setdefault((symbol, delta.seq), state)
        assert held == state, f"{symbol} seq {delta.seq} names two states, the second at {position}"


def _raw(entry: Entry) -> tuple[Position, list[tuple[bytes, bytes]]]:
    stream_id, flat = entry
    return Position(*stream_id), list(zip(flat[::2], flat[1::2], strict=True))


def grouped(levels: Levels, group: int) -> Levels:
    """The levels summed up in steps of `group` ticks: bids rounded down, asks up, both within their range."""
    most = 2**53 - 1
    sums: Levels = {"bid": {}, "ask": {}}
    for side, prices in levels.items():
        for price, quantity in prices.items():
            step = price // group if side == "bid" else -(-price // group)
            rounded = max(-most, min(most, step * group))
            sums[side][rounded] = min(most, sums[side].get(rounded, 0) + quantity)
    return sums


def best(levels: Levels, depth: int) -> Levels:
    """The best `depth` levels per side (0: all), by plain sorting."""
    cut = depth or None
    return {
        "bid": dict(sorted(levels["bid"].items(), reverse=True)[:cut]),
        "ask": dict(sorted(levels["ask"].items())[:cut]),
    }
