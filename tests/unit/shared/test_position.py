"""Positions: how they are written, ordered, and when one follows another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.errors import PositionError
from depthcast.shared.position import ZERO, Position, follows

parts = st.integers(0, 2**64 - 1)
positions = st.builds(Position, parts, parts)


@given(positions)
def test_text_and_back(position: Position) -> None:
    assert Position.parse(str(position)) == position
    assert Position.parse(str(position).encode()) == position


def test_each_part_has_64_bits() -> None:
    most = 2**64 - 1
    assert Position.parse(f"{most}-{most}") == Position(most, most)
    for text in (f"{most + 1}-0", f"0-{most + 1}"):
        with pytest.raises(PositionError):
            Position.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5-",
        "-5",
        "5-5-5",
        "a-0",
        "0-a",
        "5 -1",
        "5-1 ",
        "5-1\n",
        "+5-1",
        "٣-1",
        "5-99999999999999999999",
        b"\xff-1",
    ],
)
def test_what_is_no_position(text: str | bytes) -> None:
    shown = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    with pytest.raises(PositionError, match="is not a stream position such as") as caught:
        Position.parse(text)
    assert caught.value.text == shown


@pytest.mark.parametrize("value", [None, 5, 5.0, ["5-1"], {}])
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(PositionError):
        Position.parse(value)  # type: ignore[arg-type]


def test_order_is_by_number_not_by_text() -> None:
    ordered = [ZERO, Position(0, 1), Position(9, 100), Position(10, 0), Position(10, 9), Position(10, 10)]
    assert sorted(ordered, key=lambda position: position) == ordered
    assert [str(position) for position in ordered] != sorted(map(str, ordered))


@given(positions, positions)
def test_within_an_epoch_only_the_next_number_follows(position: Position, previous: Position) -> None:
    assert follows(previous.next(), previous, None)
    if position.n and position != previous.next():
        assert not follows(position, previous, previous)


def test_the_first_of_an_epoch_names_what_it_follows() -> None:
    assert follows(Position(7, 0), Position(5, 3), Position(5, 3))
    assert follows(Position(7, 0), ZERO, ZERO)
    assert not follows(Position(7, 0), Position(5, 3), Position(5, 2))
    assert not follows(Position(7, 0), Position(5, 3), None)
    assert not follows(Position(7, 1), Position(5, 0), Position(5, 0))
