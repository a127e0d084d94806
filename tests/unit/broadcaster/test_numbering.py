"""Sequence numbers that never repeat."""

from hypothesis import given
from hypothesis import strategies as st

from depthcast.broadcaster.numbering import ORIGIN_MS, SEQS_PER_MS, first_seq


def test_a_new_epoch_begins_a_block_of_its_own() -> None:
    assert ORIGIN_MS == 1767225600000
    assert first_seq(ORIGIN_MS + 5, 0) == 5 * 2048
    assert first_seq(ORIGIN_MS + 5, 17) == 5 * 2048


def test_it_goes_up_even_where_the_clock_is_behind() -> None:
    assert first_seq(ORIGIN_MS, 0) == 1
    assert first_seq(ORIGIN_MS - 10**9, 41) == 42
    assert first_seq(ORIGIN_MS + 1, 5000) == 5001


@given(
    epoch=st.integers(ORIGIN_MS, ORIGIN_MS + 10**12),
    later=st.integers(1, 10**9),
    recovered=st.integers(0, 2**52),
    survived=st.integers(0, 2**52),
)
def test_what_a_lost_tail_showed_is_never_used_again(
    epoch: int, later: int, recovered: int, survived: int
) -> None:
    start = first_seq(epoch, recovered)
    shown = start + later * SEQS_PER_MS - 1
    if start == (epoch - ORIGIN_MS) * SEQS_PER_MS:
        assert first_seq(epoch + later, survived) > shown
    assert first_seq(epoch + later, shown) > shown


def test_it_stays_below_what_an_integer_carries_for_a_century() -> None:
    century_ms = 100 * 366 * 24 * 3600 * 1000
    assert first_seq(ORIGIN_MS + century_ms, 0) < 2**53
