"""The reader's state machine, one rule at a time."""

from collections.abc import Mapping

import pytest

from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate, Written
from depthcast.shared.replica import NO_CHANGES
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

EPOCH = 1000
Fields = list[tuple[bytes, bytes]]


def at(n: int, epoch: int = EPOCH) -> Position:
    return Position(epoch, n)


def fields(prev: Position | None = None, **deltas: Delta | bytes) -> Fields:
    info = EntryInfo(1, "0-0", 0, 0, 0, None, str(prev) if prev is not None else None)
    return entry_with(info, **deltas)


def entry_with(about: EntryInfo, **deltas: Delta | bytes) -> Fields:
    """An entry with this info."""
    info = encode_info(about)
    raw = {name: value if isinstance(value, bytes) else encode_delta(value) for name, value in deltas.items()}
    return [(b"_", info), *((name.encode(), value) for name, value in raw.items())]


def snapshot(seq: int, quantity: int) -> Snapshot:
    """A book of one bid at 100."""
    bids = [100, quantity] if quantity else []
    return Snapshot(seq, bids, [], digest_of_flat(bids, []), 0)


def delta(prev_seq: int, seq: int, quantity: int) -> Delta:
    """Makes the bid at 100 hold `quantity`."""
    return Delta(prev_seq, seq, [100, quantity], [], snapshot(seq, quantity).digest, 1)


def birth(seq: int) -> Delta:
    return Delta(0, seq, [], [], 0, 0)


def shown(reader: PartitionReader) -> dict[str, tuple[int, list[int]]]:
    return {symbol: (replica.seq, replica.book.bids.flat()) for symbol, replica in reader.shown.items()}


def everything(reader: PartitionReader) -> Mapping[str, bool]:
    return {symbol: reader.is_current(symbol) for symbol in reader.shown}


@pytest.fixture
def reader() -> PartitionReader:
    """At position 5, with A at seq 10 and B at seq 20."""
    reader = PartitionReader(lambda symbol: not symbol.startswith("Z"))
    assert (reader.lost_reason, reader.position) == ("not loaded yet", None)
    updates = reader.load(at(5), {"A": (at(5), snapshot(10, 1)), "B": (at(5), snapshot(20, 2))})
    assert [(update.symbol, update.delta) for update in updates] == [("A", None), ("B", None)]
    assert reader.missing == {}
    return reader


def test_starts_at_the_oldest_snapshot_and_skips_what_is_in_the_others() -> None:
    reader = PartitionReader(lambda _: True)
    loaded = reader.load(at(5), {"A": (at(5), snapshot(10, 1)), "B": (at(7), snapshot(20, 2))})
    assert [(update.symbol, update.delta) for update in loaded] == [("A", None)]
    assert reader.read(at(6), fields(B=delta(18, 19, 9))) == AppliedEntry(
        at(6), EntryInfo(1, "0-0", 0, 0, 0), [], Written(None, None, is_new=True)
    )
    assert everything(reader) == {"A": True}, "the entry of the snapshot of B may be lost yet"
    entry = reader.read(at(7), fields(A=delta(10, 11, 5), B=delta(19, 20, 2)))
    assert entry is not None
    assert [(update.symbol, update.delta) for update in entry.updates] == [
        ("A", delta(10, 11, 5)),
        ("B", None),
    ]
    assert entry.updates[0].changes.bids == [(100, 5, 1)]
    assert shown(reader) == {"A": (11, [100, 5]), "B": (20, [100, 2])}
    assert everything(reader) == {"A": True, "B": True}


@pytest.mark.parametrize("tail", [5, 9])
def test_a_snapshot_of_an_entry_that_was_lost_is_never_shown(tail: int) -> None:
    """A failover lost what came after 6, and the next epoch has nothing to say of B."""
    reader = PartitionReader(lambda _: True)
    snapshots = {"A": (at(5), snapshot(10, 1)), "B": (at(9), snapshot(20, 2))}
    reader.load(at(tail), snapshots)
    reader.read(at(6), fields())
    assert "B" not in shown(reader)
    entry = reader.read(at(0, EPOCH + 1), fields(prev=at(6)))
    assert entry is not None
    assert list(reader.missing) == ["B"]
    assert "B" not in shown(reader)
    assert reader.is_current("A")
    reader.load(at(0, EPOCH + 1), {"B": (at(5), snapshot(18, 2))})
    for position, prev in ((at(6), None), (at(0, EPOCH + 1), at(6))):
        assert "B" not in shown(reader)
        reader.read(position, fields(prev=prev))
    assert shown(reader)["B"] == (18, [100, 2])
    assert everything(reader) == {"A": True, "B": True}


def test_only_the_last_load_of_a_symbol_counts() -> None:
    reader = PartitionReader(lambda _: True)
    reader.load(at(5), {"A": (at(5), snapshot(10, 1)), "B": (at(7), snapshot(20, 2))})
    reader.forget("B")
    reader.want("B")
    reader.load(at(6), {"B": (at(8), snapshot(22, 2))})
    for n in (6, 7):
        reader.read(at(n), fields())
        assert "B" not in shown(reader)
        assert reader.missing == {}
    reader.read(at(8), fields())
    assert everything(reader) == {"A": True, "B": True}


@pytest.mark.parametrize(
    ("raw", "written_us"),
    [(b"1769904000150000", 1769904000150000), (b"", None), (b"-5", None), (b"x", None), (b"9" * 19, None)],
)
def test_an_entry_says_when_it_was_written(
    reader: PartitionReader, raw: bytes, written_us: int | None
) -> None:
    entry = reader.read(at(6), [*fields(A=delta(10, 11, 5)), (b"_w", raw)])
    assert entry is not None
    assert entry.written == Written(written_us, None, is_new=True)
    assert shown(reader)["A"] == (11, [100, 5])


def test_an_entry_is_new_if_it_came_after_the_load() -> None:
    reader = PartitionReader(lambda _: True)
    reader.load(at(7), {"A": (at(5), snapshot(10, 1))})
    entries = [reader.read(at(n), fields()) for n in (6, 7, 8)]
    assert [entry.written.is_new for entry in entries if entry and entry.written] == [False, False, True]


def test_an_entry_costs_nothing_for_the_symbols_that_it_is_not_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many symbols that were loaded, each is looked at where its own state or the tail is reached."""
    symbols = [f"S{number}" for number in range(50)]
    reader = PartitionReader(lambda _: True)
    looked_at = list[str]()
    promote = reader._promote

    def count(symbol: str) -> ReplicaUpdate | None:
        looked_at.append(symbol)
        return promote(symbol)

    reader.load(at(5), {symbol: (at(5), snapshot(10, 1)) for symbol in symbols})
    reader.mark_lost("test")
    # S0 is older than what is shown, S1 is ahead of what was read.
    reloaded = {symbol: (at(7), snapshot(12, 1)) for symbol in symbols}
    reader.load(at(20), reloaded | {"S0": (at(4), snapshot(9, 1)), "S1": (at(8), snapshot(13, 1))})
    monkeypatch.setattr(reader, "_promote", count)
    for n in range(5, 20):
        reader.read(at(n), fields(S0=delta(9, 10, 1)) if n == 10 else fields())
    assert looked_at == [*sorted({*symbols} - {"S0", "S1"}), "S1", "S0"]
    reader.read(at(20), fields())
    assert sorted(reader.shown) == sorted(symbols)
    assert all(reader.is_current(symbol) for symbol in symbols)


def test_starts_at_the_end_where_there_are_no_snapshots() -> None:
    reader = PartitionReader(lambda _: True)
    assert reader.load(at(9), {"A": None}) == []
    assert reader.position == at(9)
    assert shown(reader) == {}
    reader.read(at(10), fields(A=birth(50)))
    assert shown(reader) == {"A": (50, [])}


def test_nothing_is_shown_before_what_was_there_at_the_load_has_been_read() -> None:
    reader = PartitionReader(lambda _: True)
    snapshots = {"A": (at(5), snapshot(10, 1)), "B": (at(6), snapshot(20, 2)), "C": None}
    assert reader.load(at(8), snapshots) == []
    for n in (6, 7):
        entry = reader.read(at(n), fields(A=delta(n + 4, n + 5, 5)))
        assert entry is not None
        assert entry.updates == []
    assert shown(reader) == {}
    entry = reader.read(at(8), fields())
    assert entry is not None
    assert [(update.symbol, update.delta) for update in entry.updates] == [("A", None), ("B", None)]
    assert shown(reader) == {"A": (12, [100, 5]), "B": (20, [100, 2])}
    assert everything(reader) == {"A": True, "B": True}


def test_starts_before_anything_was_published() -> None:
    reader = PartitionReader(lambda _: True)
    reader.load(ZERO, {"A": None})
    assert reader.read(at(0), fields(prev=ZERO)) is not None
    assert reader.read(at(1), fields(A=birth(50))) is not None
    assert everything(reader) == {"A": True}


def test_a_symbol_born_while_snapshots_are_read_is_not_passed_over() -> None:
    reader = PartitionReader(lambda _: True)
    reader.load(at(5), {"A": (at(8), snapshot(10, 1)), "B": None})
    assert reader.position == at(5)
    for n in (6, 7, 8):
        reader.read(at(n), fields(None, **{"B": birth(70)} if n == 7 else {}))
    assert shown(reader)["B"] == (70, [])


@pytest.mark.parametrize("position", [at(7), at(5), at(4), at(6, EPOCH + 1)])
def test_a_hole_loses_the_stream(reader: PartitionReader, position: Position) -> None:
    before = shown(reader)
    assert reader.read(position, fields(A=delta(10, 11, 5))) is None
    assert reader.lost_reason == f"a hole between 1000-5 and {position}"
    assert shown(reader) == before
    assert everything(reader) == {"A": False, "B": False}


@pytest.mark.parametrize("prev", [None, at(4), at(6), ZERO, at(0, EPOCH + 1)])
def test_an_epoch_that_continues_from_elsewhere_is_a_hole(
    reader: PartitionReader, prev: Position | None
) -> None:
    assert reader.read(at(0, EPOCH + 1), fields(prev=prev)) is None
    assert reader.lost_reason is not None


def test_an_epoch_that_names_our_position_continues(reader: PartitionReader) -> None:
    assert reader.read(at(0, EPOCH + 1), fields(prev=at(5))) is not None
    moved = Delta(10, 5000, [], [], snapshot(10, 1).digest, 0)
    entry = reader.read(at(1, EPOCH + 1), fields(A=moved))
    assert entry is not None
    assert shown(reader)["A"] == (5000, [100, 1])
    assert everything(reader) == {"A": True, "B": True}


@pytest.mark.parametrize(
    "broken",
    [
        [],
        [(b"A", b"")],
        [(b"_", b"")],
        [(b"_", b"\x80")],
        [(b"_", encode_info(EntryInfo(1, "", 0, 0, 0, None, "x")))],
    ],
)
def test_an_entry_without_sound_info_loses_the_stream(reader: PartitionReader, broken: Fields) -> None:
    assert reader.read(at(6), broken) is None
    assert reader.lost_reason is not None
    assert reader.lost_reason.startswith("entry 1000-6: ")


def test_fields_for_later_versions_and_unwanted_symbols_are_passed_over(reader: PartitionReader) -> None:
    entry = reader.read(at(6), [*fields(Z=birth(1)), (b"_later", b"\xc1"), (b"__", b""), (b"\xff\xfe", b"")])
    assert entry is not None
    assert entry.updates == []
    assert set(reader.shown) == {"A", "B"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (delta(11, 12, 5), "gap at seq 10, delta 11 to 12"),
        (delta(10, 11, 5)._replace(digest=1), "digest mismatch at seq 10, delta 10 to 11"),
        (b"\xc1", "delta: not msgpack"),
    ],
)
def test_trouble_of_one_symbol_leaves_the_others(
    reader: PartitionReader, bad: Delta | bytes, reason: str
) -> None:
    entry = reader.read(at(6), fields(A=bad))
    assert entry is not None
    assert entry.updates == []
    assert reader.missing["A"].startswith(reason)
    assert reader.lost_reason is None
    assert everything(reader) == {"A": False, "B": True}
    assert shown(reader)["A"] == (10, [100, 1])
    reader.read(at(7), fields(A=delta(12, 13, 1), B=delta(20, 21, 3)))
    assert shown(reader) == {"A": (10, [100, 1]), "B": (21, [100, 3])}
    assert [update.symbol for update in reader.load(at(7), {"A": (at(7), snapshot(13, 1))})] == ["A"]
    assert reader.position == at(7)
    assert everything(reader) == {"A": True, "B": True}


def test_an_older_snapshot_for_one_symbol_takes_the_reader_back_and_disturbs_no_other(
    reader: PartitionReader,
) -> None:
    reader.read(at(6), fields(A=delta(10, 11, 5), B=delta(20, 21, 3)))
    reader.read(at(7), fields(A=delta(12, 13, 6)))
    assert set(reader.missing) == {"A"}
    assert reader.load(at(7), {"A": (at(5), snapshot(10, 1))}) == []
    assert reader.position == at(5)
    assert everything(reader) == {"A": False, "B": True}
    entry = reader.read(at(6), fields(A=delta(10, 11, 5), B=delta(20, 21, 3)))
    assert entry is not None
    assert [update.symbol for update in entry.updates] == ["A"]
    assert everything(reader) == {"A": True, "B": True}


def test_what_is_shown_stays_until_something_as_new_is_rebuilt(reader: PartitionReader) -> None:
    for n in (6, 7, 8):
        reader.read(at(n), fields(A=delta(n + 4, n + 5, n)))
    assert shown(reader)["A"] == (13, [100, 8])
    reader.mark_lost("for a test")
    assert reader.load(at(8), {"A": (at(5), snapshot(10, 1)), "B": (at(5), snapshot(20, 2))}) == [
        ReplicaUpdate("B", reader.shown["B"], None, NO_CHANGES)
    ]
    seen = []
    for n in (6, 7, 8):
        assert shown(reader)["A"] == (13, [100, 8])
        assert not reader.is_current("A")
        entry = reader.read(at(n), fields(A=delta(n + 4, n + 5, n)))
        assert entry is not None
        seen += entry.updates
    assert [(update.symbol, update.delta, update.replica.seq) for update in seen] == [("A", None, 13)]
    assert everything(reader) == {"A": True, "B": True}


def test_after_lost_data_what_is_shown_stays_until_the_new_epoch_passes_it(reader: PartitionReader) -> None:
    reader.read(at(6), fields(A=delta(10, 11, 5)))
    reader.check_tail(at(6))
    assert everything(reader) == {"A": True, "B": True}
    reader.check_tail(at(5))
    assert reader.lost_reason == "the stream ends at 1000-5, behind our position 1000-6"
    assert reader.load(at(5), {"A": (at(5), snapshot(10, 1)), "B": (at(5), snapshot(20, 2))})[0].symbol == "B"
    assert shown(reader)["A"] == (11, [100, 5])
    reader.read(at(0, EPOCH + 1), fields(prev=at(5)))
    moved = Delta(10, 9000, [], [], snapshot(0, 1).digest, 0)
    entry = reader.read(at(1, EPOCH + 1), fields(A=moved))
    assert entry is not None
    assert [(update.symbol, update.delta) for update in entry.updates] == [("A", None)]
    assert shown(reader)["A"] == (9000, [100, 1])


def test_trimmed_history_shows_as_a_hole_and_is_loaded_again(reader: PartitionReader) -> None:
    assert reader.read(at(50), fields(A=delta(40, 41, 5))) is None
    reader.load(at(51), {"A": (at(51), snapshot(45, 3)), "B": (at(49), snapshot(22, 4))})
    assert (reader.position, reader.lost_reason) == (at(49), None)
    assert shown(reader) == {"A": (10, [100, 1]), "B": (22, [100, 4])}
    assert everything(reader) == {"A": False, "B": True}
    for n in (50, 51):
        reader.read(at(n), fields())
    assert shown(reader) == {"A": (45, [100, 3]), "B": (22, [100, 4])}
    assert everything(reader) == {"A": True, "B": True}


def test_a_symbol_wanted_later_is_loaded_alone(reader: PartitionReader) -> None:
    reader.want("A")
    assert reader.missing == {}
    reader.want("C")
    assert reader.missing == {"C": "not loaded yet"}
    reader.read(at(6), fields(C=delta(30, 31, 3)))
    assert shown(reader).keys() == {"A", "B"}
    reader.load(at(6), {"C": (at(6), snapshot(31, 3))})
    assert reader.position == at(6)
    assert shown(reader)["C"] == (31, [100, 3])


def test_a_symbol_that_was_never_asked_for_but_is_wanted_is_picked_up(reader: PartitionReader) -> None:
    reader.read(at(6), fields(C=birth(30), D=delta(5, 6, 1)))
    assert shown(reader)["C"] == (30, [])
    assert set(reader.missing) == {"D"}


def test_a_symbol_wanted_or_forgotten_while_snapshots_are_read_stays_so(reader: PartitionReader) -> None:
    wanted = {"A", "B"}
    reader.wants = wanted.__contains__
    reader.mark_lost("for a test")
    wanted.add("C")
    reader.want("C")
    wanted.discard("B")
    reader.forget("B")
    reader.load(at(9), {"A": (at(5), snapshot(10, 1)), "B": (at(7), snapshot(20, 2))})
    assert reader.missing == {"C": "not loaded yet"}
    assert set(reader.shown) == {"A"}
    assert set(reader.rebuilding) <= {"A"}
    wanted.discard("C")
    reader.load(at(9), {"C": (at(5), snapshot(10, 1))})
    assert reader.missing == {}
    assert set(reader.shown) == {"A"}


def test_a_forgotten_symbol_is_gone(reader: PartitionReader) -> None:
    reader.forget("A")
    reader.forget("nobody")
    assert set(reader.shown) == {"B"}
    assert not reader.is_current("A")


def listed(number: int, tick_size: str = "1", *, withdrawn: bool = False) -> Listing:
    return Listing(number, Instrument(Symbol("A"), tick_size), withdrawn)


class TestListings:
    def test_a_birth_ends_the_book_before_it(self, reader: PartitionReader) -> None:
        entry = reader.read(at(6), fields(A=encode_delta(birth(99), to_table(listed(2, "5")))))
        assert entry is not None
        assert [(update.symbol, update.delta) for update in entry.updates] == [("A", None)]
        assert shown(reader)["A"] == (99, [])
        assert reader.shown["A"].listing == listed(2, "5")
        assert reader.is_current("A")
        reader.read(at(7), fields(A=delta(99, 100, 4)))
        assert shown(reader)["A"] == (100, [100, 4])
        assert reader.shown["A"].listing == listed(2, "5")

    def test_a_birth_that_is_no_news_changes_nothing(self, reader: PartitionReader) -> None:
        reader.read(at(6), fields(A=birth(10)))
        assert shown(reader)["A"] == (10, [100, 1])

    def test_a_birth_ends_a_book_that_is_rebuilt(self, reader: PartitionReader) -> None:
        reader.read(at(6), fields(A=delta(10, 30, 4)))
        reader.mark_lost("test")
        reader.load(at(6), {"A": (at(5), snapshot(10, 1)), "B": (at(6), snapshot(20, 2))})
        assert not reader.is_current("A")
        reader.read(at(6), fields(A=birth(50)))
        assert reader.is_current("A")
        assert shown(reader)["A"] == (50, [])

    def test_moves_and_snapshots_say_what_a_book_stands_for(self, reader: PartitionReader) -> None:
        move = Delta(10, 50, [], [], snapshot(10, 1).digest, 0)
        reader.read(at(6), fields(A=encode_delta(move, to_table(listed(1)))))
        assert (shown(reader)["A"], reader.shown["A"].listing) == ((50, [100, 1]), listed(1))
        marked = snapshot(20, 2)._replace(marks=to_table(listed(4, withdrawn=True)))
        reader.forget("B")
        reader.want("B")
        reader.load(at(6), {"B": (at(6), marked)})
        found = reader.shown["B"].listing
        assert found is not None
        assert (found.number, found.withdrawn) == (4, True)

    def test_a_book_never_goes_on_under_another_listing(self, reader: PartitionReader) -> None:
        reader.read(at(6), fields(A=encode_delta(birth(99), to_table(listed(2)))))
        move = encode_delta(Delta(99, 100, [], [], 0, 0), to_table(listed(3)))
        assert reader.read(at(7), fields(A=move)).updates == []  # type: ignore[union-attr]
        assert set(reader.missing) == {"A"}

    @pytest.mark.parametrize(
        "wrong",
        [{"listing": 0}, {"listing": True}, {"listing": 1, "tick_size": 5}, {"listing": 1, "withdrawn": 1}],
    )
    def test_a_malformed_listing_is_no_book(self, reader: PartitionReader, wrong: dict[str, object]) -> None:
        reader.read(at(6), fields(A=encode_delta(birth(99), wrong)))
        assert set(reader.missing) == {"A"}
        reader.load(at(6), {"A": (at(6), snapshot(99, 3)._replace(marks=wrong))})
        assert not reader.is_current("A")
        assert reader.rebuilding["A"].seq == 0

    def test_unknown_marks_say_nothing(self, reader: PartitionReader) -> None:
        reader.read(at(6), fields(A=encode_delta(birth(99), {"later": 1})))
        assert shown(reader)["A"] == (99, [])
        assert reader.shown["A"].listing is None


def test_a_symbol_without_snapshot_that_turns_out_to_exist_is_asked_for_again(
    reader: PartitionReader,
) -> None:
    reader.want("C")
    reader.load(at(5), {"C": None})
    assert not reader.missing
    reader.read(at(6), fields(C=delta(30, 31, 3)))
    assert set(reader.missing) == {"C"}


def marked(after: Delta, reason: object) -> bytes:
    return encode_delta(after, {"stale": reason})


def test_doubt_holds_from_one_mark_to_the_next(reader: PartitionReader) -> None:
    reader.read(at(6), fields(A=marked(delta(10, 11, 2), "gap")))
    replica = reader.shown["A"]
    assert (replica.doubt, reader.shown["B"].doubt, replica.book.bids.flat()) == ("gap", None, [100, 2])
    reader.read(at(7), fields(A=delta(11, 12, 3)))
    assert replica.doubt == "gap"
    reader.read(at(8), fields(A=encode_delta(delta(12, 13, 3), {"more": 1})))
    assert replica.doubt == "gap"
    reader.read(at(9), fields(A=marked(delta(13, 14, 3), None)))
    assert replica.doubt is None


@pytest.mark.parametrize("reason", ["", "x" * 65, 5, [], True])
def test_a_reason_that_no_leader_writes_is_doubt_all_the_same(
    reader: PartitionReader, reason: object
) -> None:
    reader.read(at(6), fields(A=marked(delta(10, 11, 2), reason)))
    assert reader.shown["A"].doubt == "unknown"


def test_a_mark_that_was_applied_already_says_nothing(reader: PartitionReader) -> None:
    reader.read(at(6), fields(A=marked(delta(9, 10, 1), "gap")))
    assert reader.shown["A"].doubt is None


def test_a_snapshot_brings_the_doubt_of_its_book(reader: PartitionReader) -> None:
    reader.mark_lost("for a test")
    doubted = snapshot(10, 1)._replace(marks={"stale": "gap"})
    reader.load(at(5), {"A": (at(5), doubted), "B": (at(5), snapshot(20, 2))})
    assert (reader.shown["A"].doubt, reader.shown["B"].doubt) == ("gap", None)
    reader.read(at(6), fields(A=birth(50)))
    assert reader.shown["A"].doubt is None


# --- times of input ---------------------------------------------------------------------------------------


def timed(after: Delta, event_ts: object, **marks: object) -> bytes:
    return encode_delta(after, {"event_ts": event_ts, **marks})


def upto(src: str, *inputs: str) -> EntryInfo:
    """Of an entry up to an input, with the symbols that had input without a change."""
    return EntryInfo(1, src, 0, 0, 0, inputs=inputs or None)


def read(reader: PartitionReader, n: int, entry: Fields) -> dict[str, int | None]:
    """Read an entry; returns the source times of the deltas in it."""
    found = reader.read(at(n), entry)
    assert found is not None
    return {update.symbol: update.event_ts for update in found.updates}


def test_a_delta_has_its_own_source_time_and_a_book_the_last_one(reader: PartitionReader) -> None:
    assert read(reader, 6, fields(A=timed(delta(10, 11, 2), 90), B=delta(20, 21, 3))) == {"A": 90, "B": None}
    assert (reader.shown["A"].event_ts, reader.shown["B"].event_ts) == (90, None)
    assert read(reader, 7, fields(A=timed(delta(11, 12, 3), 80))) == {"A": 80}
    assert read(reader, 8, fields(A=delta(12, 13, 4))) == {"A": None}
    assert reader.shown["A"].event_ts == 80


@pytest.mark.parametrize("event_ts", [None, -1, 2**53, 1.5, True, "now"])
def test_what_is_no_time_is_none(reader: PartitionReader, event_ts: object) -> None:
    assert read(reader, 6, fields(A=timed(delta(10, 11, 2), event_ts))) == {"A": None}
    assert reader.shown["A"].seq == 11


def test_other_marks_beside_a_source_time_count_too(reader: PartitionReader) -> None:
    assert read(reader, 6, fields(A=timed(delta(10, 11, 2), 90, stale="gap"))) == {"A": 90}
    assert reader.shown["A"].doubt == "gap"
    assert read(reader, 7, fields(A=timed(delta(11, 12, 2), 91))) == {"A": 91}
    assert reader.shown["A"].doubt == "gap"


def test_input_came_with_deltas_that_count_events_and_to_symbols_that_are_named(
    reader: PartitionReader,
) -> None:
    read(reader, 6, entry_with(upto("7-3"), A=delta(10, 11, 2)))
    assert (reader.shown["A"].input_ts, reader.shown["B"].input_ts) == (7000, 0)
    read(reader, 7, entry_with(upto("8-0", "B", "Z", "unknown"), A=delta(11, 12, 2)._replace(events=0)))
    assert (reader.shown["A"].input_ts, reader.shown["B"].input_ts) == (7000, 8000)
    read(reader, 8, entry_with(upto("5-0", "B"), A=delta(12, 13, 3)))
    assert (reader.shown["A"].input_ts, reader.shown["B"].input_ts) == (7000, 8000), "it never goes back"
    assert set(reader.shown) == {"A", "B"}


def test_a_snapshot_brings_the_times_of_its_book_and_a_birth_begins_without(reader: PartitionReader) -> None:
    reader.mark_lost("for a test")
    known = snapshot(10, 1)._replace(marks={"event_ts": 90, "input_ts": 7000})
    wrong = snapshot(20, 2)._replace(marks={"event_ts": -1, "input_ts": "now"})
    reader.load(at(5), {"A": (at(5), known), "B": (at(5), wrong)})
    assert [(each.event_ts, each.input_ts) for each in reader.shown.values()] == [(90, 7000), (None, 0)]
    read(reader, 6, entry_with(upto("6-0", "A")))
    assert reader.shown["A"].input_ts == 7000, "the snapshot is of a later input"
    read(reader, 7, fields(A=birth(50)))
    assert (reader.shown["A"].event_ts, reader.shown["A"].input_ts) == (None, 0)


def test_a_book_that_is_rebuilt_takes_its_input_before_it_is_shown(reader: PartitionReader) -> None:
    reader.read(at(6), fields(A=delta(11, 12, 2)))
    assert set(reader.missing) == {"A"}
    reader.load(at(8), {"A": (at(8), snapshot(13, 5))})
    read(reader, 7, entry_with(upto("7-0", "A")))
    read(reader, 8, entry_with(upto("8-0", "A")))
    assert (reader.shown["A"].seq, reader.shown["A"].input_ts) == (13, 8000)
