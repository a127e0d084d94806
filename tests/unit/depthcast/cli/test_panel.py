"""What `depthcast watch` draws: of an exact size, and nothing old looks current."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from depthcast.cli.panel import ALARM, connection_line, keys_line, page, panel, panels_that_fit
from depthcast.cli.shown import Shown, age
from depthcast.updates import State

BOOK = Shown(
    "BTC-USD",
    State.LIVE,
    seq=42,
    bids=[(6500010, 5), (6500000, 10)],
    asks=[(6500020, 7), (6500030, 1), (6500040, 2)],
    tick_size="0.01",
    lot_size="0.001",
    age_s=3.9,
    lag_ms=1.25,
)


def drawn(book: Shown, width: int = 80, height: int = 10) -> list[str]:
    return [line.plain.rstrip() for line in panel(book, width, height)]


def styles(text: Text) -> set[str]:
    """Every style of a text, also that of single words."""
    return {str(text.style), *(str(span.style) for span in text.spans)} - {""}


def test_a_live_book_from_top_to_bottom() -> None:
    head, *ladder = drawn(BOOK)
    assert head == " BTC-USD live  3 s ago  lag 1.2 ms  seq 42"
    assert [line[:19] for line in ladder] == [
        "",
        " 65000.40  0.002  █",
        " 65000.30  0.001  █",
        " 65000.20  0.007  █",
        " spread 0.10  mid 6",
        " 65000.10  0.005  █",
        " 65000.00  0.010  █",
        "",
        "",
    ]
    assert ladder[4] == " spread 0.10  mid 65000.15"
    assert len(ladder[6]) - len(" 65000.00  0.010  ") == 40, "the largest quantity has the longest bar"


def test_a_narrow_book_says_what_fits() -> None:
    assert drawn(BOOK, width=26)[0] == " BTC-USD live  3 s ago"
    assert drawn(BOOK, width=35)[0] == " BTC-USD live  3 s ago  lag 1.2 ms"


def test_the_best_levels_are_those_that_are_shown() -> None:
    _, worse, middle, bid, rest = drawn(BOOK, height=5)
    assert (worse[:9], middle[:7], bid[:9], rest) == (" 65000.20", " spread", " 65000.10", "")
    assert drawn(BOOK, height=3) == [drawn(BOOK)[0], " 65000.10 x 0.005 | 65000.20 x 0.007", ""]


@pytest.mark.parametrize(
    ("reason", "said"), [("gap", " BTC-USD STALE 12 s old: gap"), (None, " BTC-USD STALE 12 s old")]
)
def test_a_stale_book_is_grey_under_a_red_line(reason: str | None, said: str) -> None:
    head, *ladder = panel(BOOK._replace(state=State.STALE, reason=reason, age_s=12.0), 40, 10)
    assert head.plain == said.ljust(40)
    assert styles(head) == {ALARM}
    assert " last update 12 s ago" in "".join(line.plain for line in ladder)
    assert "spread" not in "".join(line.plain for line in ladder)
    assert "65000.10" in "".join(line.plain for line in ladder)
    assert set.union(*map(styles, ladder)) == {"dim", "bold yellow"}, "no colour of a live book"


def test_a_live_book_is_in_colour() -> None:
    colours = set.union(*map(styles, panel(BOOK, 40, 10)))
    assert {"green", "red"} <= colours
    assert ALARM not in colours


@pytest.mark.parametrize(
    ("book", "head"),
    [
        (Shown("X"), " X waiting for its book"),
        (Shown("X", State.REMOVED, "unknown_symbol: no (X)"), " X ENDED: unknown_symbol: no (X)"),
    ],
)
def test_without_a_book_there_are_no_levels(book: Shown, head: str) -> None:
    assert drawn(book, height=4) == [head, "", "", ""]
    assert styles(panel(book, 40, 1)[0]) != set()


@pytest.mark.parametrize(
    ("bids", "asks", "said"),
    [([], [], "the book is empty"), ([], [(2, 1)], "no bids"), ([(1, 1)], [], "no asks")],
)
def test_an_empty_side_is_said(bids: list[tuple[int, int]], asks: list[tuple[int, int]], said: str) -> None:
    assert f" {said}" in drawn(BOOK._replace(bids=bids, asks=asks))


BOOKS = st.builds(
    Shown,
    st.sampled_from(["A", "BTC-USD", "X" * 32]),
    st.sampled_from([None, *State]),
    st.sampled_from([None, "gap", "a reason " * 20]),
    bids=st.lists(st.tuples(st.integers(-(10**15), 10**15), st.integers(1, 10**15)), max_size=30),
    asks=st.lists(st.tuples(st.integers(-(10**15), 10**15), st.integers(1, 10**15)), max_size=30),
    tick_size=st.sampled_from(["1", "0.00000001"]),
    lot_size=st.sampled_from(["1", "0.01"]),
    age_s=st.none() | st.floats(0, 1e6),
)


@given(st.lists(BOOKS, max_size=4), st.integers(10, 200), st.integers(1, 60))
def test_a_page_has_exactly_the_size_of_its_place(books: list[Shown], width: int, height: int) -> None:
    lines = page(books, width, height).plain.split("\n")
    assert {len(line) for line in lines} == {width}
    assert len(lines) == (height if books else 1)


def test_a_number_that_was_cut_shows_that() -> None:
    narrow = drawn(BOOK._replace(bids=[(6500010, 123456789)]), width=14)
    assert " 65000.10  12…" in narrow


def test_three_books_stand_side_by_side_in_80_columns() -> None:
    assert panels_that_fit(80) == 3
    assert panels_that_fit(10) == 1
    names = [BOOK._replace(symbol=symbol) for symbol in ("A", "B", "C")]
    first, *_, last = page(names, 80, 10).plain.split("\n")
    assert first.split()[:2] == ["A", "live"]
    assert [first.index(f" {name} live") for name in "ABC"] == [0, 27, 54]
    assert last.count("65000") == 0
    assert page(names, 80, 10).plain.count("65000.10") == 3


@pytest.mark.parametrize(
    ("connected", "silent", "said"),
    [
        (True, False, " http://h:1  messages 5"),
        (True, True, " NOTHING HEARD from http://h:1 for 9 s: books may be old"),
        (False, False, " NO CONNECTION to http://h:1 for 9 s: connecting again"),
        (False, True, " NO CONNECTION to http://h:1 for 9 s: connecting again"),
    ],
)
def test_a_lost_or_silent_connection_is_red(connected: bool, silent: bool, said: str) -> None:
    line = connection_line(
        address="http://h:1", connected=connected, silent=silent, silence_s=9.5, counts="messages 5"
    )
    assert line.plain == said
    assert (styles(line) == {ALARM}) is (said.startswith(" NO"))


def test_the_keys_that_do_something_are_named() -> None:
    assert keys_line(0, 1, 1).plain == " q quit   ? help"
    assert keys_line(0, 2, 2).plain.endswith("Enter one or all")
    assert keys_line(3, 2, 10).plain.endswith("Enter one or all   4–5 of 10")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h")]
)
def test_an_age(seconds: float, text: str) -> None:
    assert age(seconds) == text
