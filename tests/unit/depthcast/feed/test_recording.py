"""Rows of a recording come back as they were, and a check finds whatever is missing or wrong."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from depthcast.cli.record import record_command
from depthcast.feed.account import Account
from depthcast.feed.recorded_books import BooksRecording
from depthcast.feed.recording import (
    ADDED,
    DELTA,
    READ_ROWS,
    SNAPSHOT,
    RecordedRow,
    RowChecker,
    check,
    events_of,
    file_name,
    files_of,
    library,
    read_rows,
    steps,
    to_table,
)
from depthcast.runtime.record_journal import Frame, Journal
from depthcast.shared.book import Book
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.position import Position
from depthcast.shared.types import MAX_INTEGER, Symbol

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

whole = st.integers(0, MAX_INTEGER)
prices = st.integers(-MAX_INTEGER, MAX_INTEGER)
flats = st.lists(st.tuples(prices, whole), max_size=4).map(lambda pairs: [n for pair in pairs for n in pair])
rows = st.builds(
    RecordedRow,
    kind=st.sampled_from([DELTA, SNAPSHOT]), epoch=whole, n=whole, prev_seq=whole, seq=whole, bids=flats,
    asks=flats, digest=st.integers(0, 2**32 - 1), events=whole, ts=whole, event_ts=st.none() | whole,
    written=st.none() | whole, listing=st.none() | whole,
    tick_size=st.sampled_from(["1", "0.01", "0.00000000000000000001"]),
    lot_size=st.sampled_from(["1", "0.001"]),
    doubt=st.none() | st.text(max_size=64), withdrawn=st.none() | st.booleans(),
)  # fmt: skip


def market(count: int, seed: int = 1) -> list[RecordedRow]:
    """A snapshot, and deltas that continue it, with their digests."""
    random = Random(seed)
    books: tuple[dict[int, int], dict[int, int]] = ({}, {})
    digest = 0
    found = [RecordedRow(SNAPSHOT, 9, 0, 0, 100, [], [], 0, 0, 1000, None, None, 1, "0.01", "1", "", False)]
    for n in range(1, count + 1):
        changes: list[list[int]] = []
        for side, book in enumerate(books):
            price, quantity = 1000 * side + random.randrange(50), random.randrange(4)
            changes.append([price, quantity])
            digest += weight(side, price) * (quantity - book.get(price, 0))
            book[price] = quantity
        bids, asks = changes
        found.append(
            RecordedRow(
                DELTA,
                9,
                n,
                99 + n,
                100 + n,
                bids,
                asks,
                digest % 2**32,
                2,
                1000 + n,
                n,
                n,
                1,
                "0.01",
                "1",
                "",
                False,
            )
        )
    return found


@cache
def weight(side: int, price: int) -> int:
    """The digest of one lot."""
    return digest_of_flat([price, 1], []) if side == 0 else digest_of_flat([], [price, 1])


def write(folder: Path, symbol: str, part: list[RecordedRow]) -> Path:
    home = folder / f"symbol={symbol}" / "hour=2026-02-01T00"
    home.mkdir(parents=True, exist_ok=True)
    path = home / file_name(part[0].seq, part[-1].seq)
    library().parquet.write_table(to_table(part), path)
    return path


@given(st.lists(rows, max_size=20))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, part: list[RecordedRow]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "file.parquet"
    library().parquet.write_table(to_table(part), path)
    assert list(read_rows(path)) == part


@pytest.mark.parametrize(
    "count",
    [20_000, pytest.param(1_000_000, marks=[pytest.mark.deep, pytest.mark.timeout(600)])],
)
def test_many_rows_come_back_as_they_were_and_pass_the_check(tmp_path: Path, count: int) -> None:
    recorded = market(count)
    for start in range(0, len(recorded), count // 10):
        write(tmp_path, "BTC-USD", recorded[start : start + count // 10])
    (files,) = files_of(tmp_path).values()
    assert len(files) == 11
    back = (row for file in files for row in read_rows(file.path))
    assert all(ours == theirs for ours, theirs in zip(recorded, back, strict=True))
    (found,) = check(tmp_path)
    assert (found.rows, found.deltas, found.gaps, found.problems) == (count + 1, count, [], [])


def test_a_whole_recording_has_no_gap_and_nothing_wrong(tmp_path: Path) -> None:
    first, second = market(READ_ROWS + 5), market(7, seed=2)
    write(tmp_path, "A", first[:50])
    write(tmp_path, "A", first[50:])
    write(tmp_path, "B", second)
    assert [(each.symbol, each.deltas, each.gaps, each.problems) for each in check(tmp_path)] == [
        ("A", READ_ROWS + 5, [], []),
        ("B", 7, [], []),
    ]


def silent(last: RecordedRow) -> RecordedRow:
    """A delta without levels after `last`."""
    return last._replace(kind=DELTA, prev_seq=last.seq, seq=last.seq + 1, n=last.n + 1, bids=[], asks=[])


def birth(last: RecordedRow) -> RecordedRow:
    """The birth of the next listing after `last`."""
    return silent(last)._replace(prev_seq=0, digest=0, listing=2, doubt="")


Spoil = Callable[[list[RecordedRow]], list[RecordedRow]]
SPOILED: list[tuple[str, Spoil]] = [
    ("gap", lambda found: [*found[:5], *found[6:]]),
    ("already", lambda found: [*found[:5], found[4], *found[5:]]),
    ("gap", lambda found: [*found[:4], found[5], found[4], *found[6:]]),
    ("mismatch", lambda found: [*found[:5], found[5]._replace(digest=found[5].digest ^ 1), *found[6:]]),
    ("mismatch", lambda found: [*found[:5], found[5]._replace(bids=[7, 7]), *found[6:]]),
    ("digest of snapshot", lambda found: [found[0]._replace(digest=5), *found[1:]]),
    ("not what deltas made", lambda found: [*found[:5], found[0]._replace(seq=found[4].seq), *found[5:]]),
    ("goes back", lambda found: [*found[:5], found[0], *found[5:]]),
    ("has no doubt recorded", lambda found: [*found[:5], found[5]._replace(doubt=None), *found[6:]]),
    ("is no reason for doubt", lambda found: [*found[:5], found[5]._replace(doubt="x" * 65), *found[6:]]),
    ("a withdrawn book has levels", lambda found: [*found[:5], found[5]._replace(withdrawn=True)]),
    ("begins in doubt (gap)", lambda found: [*found, birth(found[-1])._replace(doubt="gap")]),
    ("doubt '' is 'gap' in snapshot 100", lambda found: [found[0], found[0]._replace(doubt="gap")]),
    ("delta 109 to 110 changes nothing", lambda found: [*found, silent(found[-1])]),
    ("kind 'other'", lambda found: [*found[:5], found[5]._replace(kind="other"), *found[6:]]),
]


@pytest.mark.parametrize("number", range(len(SPOILED)))
def test_whatever_is_wrong_is_found(number: int) -> None:
    problem, spoil = SPOILED[number]
    checker = RowChecker("A")
    for row in spoil(market(9)):
        checker.take(row)
    assert problem in checker.found.problems[0]


def test_a_snapshot_ahead_is_a_gap_also_of_a_new_listing_whose_birth_is_missing() -> None:
    recorded = market(9)
    empty = recorded[0]._replace(seq=500, n=50)
    birth = empty._replace(kind=DELTA, seq=700, listing=2)
    checker = RowChecker("A")
    for row in (*recorded, empty, birth, empty._replace(seq=900, listing=3)):
        checker.take(row)
    assert checker.found.problems == []
    assert [(gap.after_seq, gap.to_seq, gap.to) for gap in checker.found.gaps] == [
        (109, 500, Position(9, 50)),
        (700, 900, Position(9, 50)),
    ]
    assert checker.found.listings == 3


def test_steps_are_in_order_without_repeated_snapshots(tmp_path: Path) -> None:
    recorded = market(9)
    write(tmp_path, "A", recorded[:5])
    repeated = recorded[4]._replace(kind=SNAPSHOT, prev_seq=0, bids=[], asks=[])
    write(tmp_path, "A", [repeated, *recorded[5:]])
    write(tmp_path, "B", market(3, seed=2))
    found = list(steps(tmp_path))
    assert [step.row for step in found if step.symbol == "A"] == recorded
    positions = [step.row.position for step in found]
    assert positions == sorted(positions)
    assert events_of(found[0]) == [[4]]
    assert events_of(next(step for step in found if step.row == recorded[1])) == [
        [1, 0, *recorded[1].bids],
        [1, 1, *recorded[1].asks],
    ]


def test_doubts_are_counted_and_a_move_needs_no_change(tmp_path: Path) -> None:
    recorded = market(3)
    doubted = silent(recorded[-1])._replace(doubt="gap")
    other = silent(doubted)._replace(doubt="checksum")
    moved = silent(other)._replace(seq=other.seq + 50)
    right = silent(moved)._replace(doubt="")
    write(tmp_path, "A", [*recorded, doubted, other, moved, right, silent(right)._replace(doubt="gap")])
    (found,) = check(tmp_path)
    assert (found.problems, found.doubts, found.unrecorded) == ([], 2, 0)


Said = tuple[list[list[int]], str, bool, bool]


def replayed(folder: Path) -> tuple[list[Said], Account]:
    """What entries say: events, `stale`, `live` and `sure`."""
    account = Account()
    found = BooksRecording(folder).entries({"A": Instrument(Symbol("A"), "0.01", "1")}, account)
    return [([*map(list, each.events)], each.stale, each.live, each.sure) for each in found], account


def test_doubt_is_said_in_the_entry_of_its_levels_and_ends_with_the_whole_book(tmp_path: Path) -> None:
    first, second, third, *_ = market(9)
    doubted = second._replace(doubt="rejected")
    write(tmp_path, "A", [first, doubted, third])
    found, account = replayed(tmp_path)
    book = Book()
    for row in (second, third):
        book.bids.set_level(*row.bids)
        book.asks.set_level(*row.asks)
    whole = [
        [4],
        *([1, 0, *level] for level in book.bids.top(9)),
        *([1, 1, *level] for level in book.asks.top(9)),
    ]
    assert found == [
        ([[4]], "", True, True),
        ([[1, 0, *second.bids], [1, 1, *second.asks]], "rejected", False, False),
        (whole, "", True, True),
    ]
    assert account.notes == ["books came into doubt 1 times when they were recorded"]
    assert account.problems() == []


def test_a_book_is_in_doubt_from_a_gap_to_the_next_whole_book(tmp_path: Path) -> None:
    first, second, *_ = market(9)
    after = first._replace(seq=500, n=50, doubt="checksum")
    write(tmp_path, "A", [first, second])
    write(tmp_path, "A", [after, silent(after)._replace(doubt="")])
    assert [events_of(step) for step in steps(tmp_path) if step.gap] == [[]]
    found, account = replayed(tmp_path)
    assert found[2:] == [
        ([], "gap", False, False),
        ([[4]], "checksum", False, False),
        ([[4]], "", True, True),
    ]
    assert account.problems() == ["1 gap of the recorder"]
    assert account.gaps["gap of the recorder"].first == ["A: after seq 101 (9-1)"]


def test_a_withdrawn_book_is_stale_until_the_next_listing(tmp_path: Path) -> None:
    first, second, *_ = market(9)
    ended = birth(second)._replace(listing=1, withdrawn=True)
    write(tmp_path, "A", [first, second, ended, birth(ended)._replace(withdrawn=False)])
    assert replayed(tmp_path)[0][2:] == [([[4]], "withdrawn", False, False), ([[4]], "", True, True)]


def test_files_of_older_versions_are_read_and_say_that_they_have_no_doubt(tmp_path: Path) -> None:
    recorded = [row._replace(doubt=None, withdrawn=None) for row in market(3)]
    path = write(tmp_path, "A", recorded)
    library().parquet.write_table(to_table(recorded).drop_columns([*ADDED]), path)
    assert list(read_rows(path)) == recorded
    (found,) = check(tmp_path)
    assert (found.problems, found.unrecorded) == ([], 4)
    entries, account = replayed(tmp_path)
    assert {entry[1:] for entry in entries} == {("", False, False)}
    assert account.notes == ["no doubt recorded in 4 rows: they are older than that column"]
    said = CliRunner().invoke(record_command, ["--check", str(tmp_path)])
    assert "  no doubt recorded in 4 rows: they are older than that column\n" in said.output
    assert said.exit_code == 0
    write(tmp_path, "A", [recorded[0]._replace(seq=500, n=50)])
    entries, account = replayed(tmp_path)
    assert entries[4:] == [([], "gap", False, False), ([[4]], "", True, False)]


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="is no recording"):
        files_of(tmp_path)
    path = write(tmp_path, "A", market(3))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FeedError, match="cannot be read"):
        list(check(tmp_path))
    library().parquet.write_table(library().table({"a": [1]}), path)
    with pytest.raises(FeedError, match="not ours"):
        list(check(tmp_path))


def test_a_journal_ends_where_a_frame_is_torn_or_changed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({0: Position(1, 2)})
    frames = [Frame({0: Position(9, row.n)}, [("A", row)]) for row in market(4)]
    for frame in frames:
        journal.append(frame)
    journal.close()
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    assert list(Journal(tmp_path).read()) == [Frame({0: Position(1, 2)}, []), *frames]
    for cut in range(len(raw)):
        path.write_bytes(raw[:cut])
        found = list(Journal(tmp_path).read())
        assert found == [Frame({0: Position(1, 2)}, []), *frames][: len(found)]
        assert len(found) <= len(frames)
    path.write_bytes(raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:])
    assert list(Journal(tmp_path).read())[1:] == frames[:-1]


def test_a_new_journal_replaces_the_old_ones(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({})
    journal.append(Frame({0: Position(9, 1)}, []))
    journal.begin({0: Position(9, 1)})
    journal.close()
    again = Journal(tmp_path)
    assert list(again.read()) == [Frame({0: Position(9, 1)}, [])]
    again.begin({0: Position(9, 1)})
    assert again.number == journal.number + 1
    assert len(list(tmp_path.iterdir())) == 1
    again.close()
