"""The table of a channel's states."""

import pytest

from depthcast.gateway.market.channel_state import NEXT_STATE, WAITING, WAS_RESET, ChannelEvent, ChannelState

STATES = set(ChannelState)


def test_where_a_channel_goes() -> None:
    """A typical sequence of events."""
    state, path = ChannelState.NO_BOOK, []
    for event in (
        ChannelEvent.HISTORY_RESET, ChannelEvent.DELTA, ChannelEvent.TICK_ENDED, ChannelEvent.DELTA,
        ChannelEvent.BOOK_HELD_BACK, ChannelEvent.TICK_ENDED, ChannelEvent.HISTORY_RESET,
        ChannelEvent.BOOK_HELD_BACK, ChannelEvent.TICK_ENDED,
    ):  # fmt: skip
        state = NEXT_STATE[event][state]
        path.append(state.name)
    assert path == [
        "RESET", "RESET", "UNCHANGED", "CHANGED", "CHANGED_WAITING", "UNCHANGED_WAITING", "RESET",
        "RESET_WAITING",
        "UNCHANGED_WAITING",
    ]  # fmt: skip


@pytest.mark.parametrize("state", ChannelState)
def test_what_cannot_happen(state: ChannelState) -> None:
    possible = {event for event, states in NEXT_STATE.items() if state in states}
    impossible = set(ChannelEvent) - possible
    if state is ChannelState.NO_BOOK:
        assert possible == {ChannelEvent.HISTORY_RESET}
    elif state in WAITING:
        assert impossible == {ChannelEvent.DELTA}, "whatever comes next resets history"
    else:
        assert not impossible


@pytest.mark.parametrize("event", ChannelEvent)
def test_only_a_reset_resets_and_only_a_tick_ends_that(event: ChannelEvent) -> None:
    for before, after in NEXT_STATE[event].items():
        if event is ChannelEvent.HISTORY_RESET:
            assert after is ChannelState.RESET
        elif event is ChannelEvent.TICK_ENDED:
            assert after not in WAS_RESET
            assert (before in WAITING) is (after in WAITING)
        else:
            assert (before in WAS_RESET) is (after in WAS_RESET)
            assert after in WAITING or before not in WAITING
