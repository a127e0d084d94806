"""What one publish writes: entries with their places and contents, attachments in groups."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.broadcaster.publication import (
    SYMBOLS_PER_ENTRY,
    Attachment,
    Broadcast,
    Publication,
    batches,
    place,
)
from depthcast.shared.codec import decode_delta, decode_info
from depthcast.shared.position import ZERO, Position
from depthcast.shared.types import Delta, EntryInfo

INFO = EntryInfo(5, "7-0", 3, 2, 1, event_ts=4)
FIRST = Position(100, 4)


def broadcast(symbols: int, info: EntryInfo = INFO) -> Broadcast:
    return Broadcast(
        info, [(f"S{number}", Delta(number, number + 1, [], [], 0, 1)) for number in range(symbols)]
    )


@pytest.mark.parametrize(
    ("symbols", "sizes"),
    [
        (0, [0]),
        (1, [1]),
        (SYMBOLS_PER_ENTRY, [3000]),
        (SYMBOLS_PER_ENTRY + 1, [3000, 1]),
        (2 * SYMBOLS_PER_ENTRY, [3000, 3000]),
        (7000, [3000, 3000, 1000]),
    ],
)
def test_many_symbols_take_several_entries(symbols: int, sizes: list[int]) -> None:
    entries = place(ZERO, FIRST, [broadcast(symbols)])
    assert [len(fields) - 1 for _, fields in entries] == sizes
    assert [position for position, _ in entries] == [
        Position(100, 4 + number) for number in range(len(sizes))
    ]
    assert [decode_info(fields[0][1]) for _, fields in entries] == [INFO] * len(sizes)
    names = [name for _, fields in entries for name, _ in fields[1:]]
    assert names == [b"S%d" % number for number in range(symbols)]
    assert all(decode_delta(raw).events == 1 for _, fields in entries for _, raw in fields[1:])


def test_broadcasts_keep_their_order() -> None:
    infos = [INFO._replace(src=f"{number}-0") for number in range(3)]
    entries = place(ZERO, FIRST, [broadcast(number, infos[number]) for number in range(3)])
    assert [decode_info(fields[0][1]).src for _, fields in entries] == ["0-0", "1-0", "2-0"]
    assert [len(fields) for _, fields in entries] == [1, 2, 3]


def test_only_the_first_entry_of_a_broadcast_lists_inputs() -> None:
    entries = place(ZERO, FIRST, [broadcast(3001, INFO._replace(inputs=("A", "B"))), broadcast(1)])
    assert [decode_info(fields[0][1]).inputs for _, fields in entries] == [("A", "B"), None, None]


def test_only_the_first_entry_of_an_epoch_names_what_it_continues() -> None:
    entries = place(Position(99, 17), Position(100, 0), [broadcast(3001), broadcast(1)])
    assert [decode_info(fields[0][1]).prev for _, fields in entries] == ["99-17", None, None]
    assert [decode_info(fields[0][1]).prev for _, fields in place(ZERO, FIRST, [broadcast(1)])] == [None]


def test_a_publication_ends_at_its_last_entry() -> None:
    entries = place(ZERO, FIRST, [broadcast(3001)])
    assert Publication(ZERO, "7-0", entries, [], []).position == Position(100, 5)


@given(sizes=st.lists(st.integers(0, 30)), most=st.integers(1, 40), count=st.integers(1, 8))
def test_attachments_in_groups(sizes: list[int], most: int, count: int) -> None:
    items = [Attachment(str(number), b"x" * size, None) for number, size in enumerate(sizes)]
    groups = list(batches(items, most, count))
    assert [item for group in groups for item in group] == items
    assert all(
        group and (len(group) == 1 or sum(len(item.value) for item in group) <= most) for group in groups
    )
    assert all(len(group) <= count for group in groups)
    for group, after in itertools.pairwise(groups):
        assert len(group) == count or sum(len(item.value) for item in group) + len(after[0].value) > most
