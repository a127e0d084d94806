"""A group of subscriptions: its states, and what one write may carry."""

from collections.abc import Callable

import pytest

from depthcast.gateway.delivery.cohort_stream import CohortStream
from depthcast.gateway.delivery.cursor import NeedsSnapshot
from depthcast.gateway.delivery.subscription_group import NEXT_STATES, GroupState, SubscriptionGroup
from tests.unit.gateway.delivery.parts import MARK_BYTES, Parts, writer_of
from tests.unit.gateway.small_market import lively_market

ALWAYS = 1 << 62


@pytest.fixture
def parts() -> Parts:
    return Parts(lively_market(stale_ms=1000))


def with_one_cursor(parts: Parts, *symbols: str, reads: bool = True) -> SubscriptionGroup:
    group = parts.group(*(symbols or ("AAA",)), reads=reads)
    group.merge_cursors(CohortStream(group.key(), parts.market))
    return group


# --- states -----------------------------------------------------------------------------------------------

STEPS: dict[GroupState, Callable[[SubscriptionGroup], None]] = {
    GroupState.CURSOR_PER_CHANNEL: SubscriptionGroup.split_cursor,
    GroupState.SYNCED: SubscriptionGroup.enter_fast_path,
    GroupState.CLOSED: SubscriptionGroup.close,
}


def in_state(parts: Parts, state: GroupState) -> SubscriptionGroup:
    group = with_one_cursor(parts)
    if state is not GroupState.ONE_CURSOR:
        STEPS[state](group)
    assert group.state is state
    group.stream = group.stream or CohortStream(parts.group("AAA").key(), parts.market)
    return group


@pytest.mark.parametrize("before", GroupState)
@pytest.mark.parametrize("after", GroupState)
def test_a_group_goes_only_where_the_table_says(parts: Parts, before: GroupState, after: GroupState) -> None:
    group = in_state(parts, before)
    stream = group.stream
    assert stream is not None
    if after is GroupState.ONE_CURSOR:
        synced = before is GroupState.SYNCED
        step = group.leave_fast_path if synced else lambda: group.merge_cursors(stream)
    else:
        step = lambda: STEPS[after](group)  # noqa: E731
    if after in NEXT_STATES[before]:
        step()
        assert group.state is after
    else:
        with pytest.raises(AssertionError, match="cannot become"):
            step()


def test_merging_cursors_needs_only_one_and_splitting_gives_each_channel_that(parts: Parts) -> None:
    group = with_one_cursor(parts, "AAA", "BBB")
    assert (group.cursor, group.cursors) == (parts.market.number, {})
    group.cursor -= 1
    group.split_cursor()
    assert group.cursors == dict.fromkeys((parts.channel("AAA"), parts.channel("BBB")), group.cursor)
    assert group.stream is None


def test_leaving_the_fast_path_takes_over_cursor_and_bytes_of_the_cohort(parts: Parts) -> None:
    group = with_one_cursor(parts)
    stream = group.stream
    assert stream is not None
    stream.bytes_sent = 100
    assert group.bytes_on_fast_path() == 0
    group.enter_fast_path()
    stream.bytes_sent, stream.flushed_to = 130, group.cursor + 5
    assert group.bytes_on_fast_path() == 30
    group.leave_fast_path()
    assert (group.cursor, group.sender.bytes_written) == (stream.flushed_to, 30)
    assert group.bytes_on_fast_path() == 0


# --- one write --------------------------------------------------------------------------------------------


def test_one_write_brings_it_to_the_head(parts: Parts) -> None:
    group = with_one_cursor(parts)
    parts.broadcast(quantity=4)
    assert group.send_at_once(ALWAYS)
    assert group.cursor == parts.market.number
    assert writer_of(group).writes == 1
    assert group.send_at_once(ALWAYS)
    assert writer_of(group).writes == 1, "there is nothing more"


def test_a_cursor_that_is_not_due_stays(parts: Parts) -> None:
    group = with_one_cursor(parts)
    before = group.cursor
    parts.broadcast(quantity=4)
    assert group.send_at_once(before)
    assert (group.cursor, writer_of(group).writes) == (before, 0)
    assert group.send_at_once(before + 1)
    assert writer_of(group).writes == 1


def test_more_than_the_mark_is_for_those_that_kept_up(parts: Parts) -> None:
    group = with_one_cursor(parts)
    before = group.cursor
    for quantity in range(1, 20):
        parts.broadcast(quantity=quantity)
    assert not group.send_at_once(ALWAYS)
    assert (group.cursor, writer_of(group).writes) == (before, 0)
    assert group.send_at_once(ALWAYS, kept_up=True)
    assert len(writer_of(group).taken) > MARK_BYTES


def test_a_single_message_may_have_any_size(parts: Parts) -> None:
    group = with_one_cursor(parts)
    group.sender.write_bytes_max = 8
    parts.broadcast(quantity=4)
    assert group.send_at_once(ALWAYS)
    assert len(writer_of(group).taken) > 8


def test_too_little_credit_sends_nothing(parts: Parts) -> None:
    group = with_one_cursor(parts)
    group.sender.add_credit(1)
    for quantity in (4, 3):
        parts.broadcast(quantity=quantity)
    assert not group.send_at_once(ALWAYS, kept_up=True)
    group.sender.add_credit(1)
    assert group.send_at_once(ALWAYS)
    assert group.sender.credit == 0


@pytest.mark.parametrize("state", [GroupState.CURSOR_PER_CHANNEL, GroupState.SYNCED])
def test_only_one_cursor_can_be_sent_at_once(parts: Parts, state: GroupState) -> None:
    group = in_state(parts, state)
    parts.broadcast(quantity=4)
    assert not group.send_at_once(ALWAYS)


# --- statuses ---------------------------------------------------------------------------------------------


def go_silent(parts: Parts) -> None:
    parts.small.now += 2
    assert parts.market.update_statuses(parts.small.now)


@pytest.mark.parametrize("split", [True, False])
def test_a_changed_status_is_taken_once(parts: Parts, split: bool) -> None:
    group = parts.group("AAA") if split else with_one_cursor(parts)
    assert group.take_statuses() == b""
    go_silent(parts)
    assert b'"state":"stale"' in group.take_statuses()
    assert group.take_statuses() == b""


def test_a_subscription_that_needs_a_snapshot_gets_its_status_with_it(parts: Parts) -> None:
    group = parts.group("AAA", "BBB")
    group.add(parts.channel("AAA"), NeedsSnapshot(parts.market.number))
    go_silent(parts)
    statuses = group.take_statuses()
    assert b"BBB" in statuses
    assert b"AAA" not in statuses


def test_statuses_wait_while_the_writer_is_paused(parts: Parts) -> None:
    group = parts.group("AAA", reads=False)
    writer_of(group).write(b"x" * (MARK_BYTES + 1))
    go_silent(parts)
    group.send_statuses()
    assert writer_of(group).writes == 1
    writer_of(group).drain(10 * MARK_BYTES)
    group.send_statuses()
    assert writer_of(group).writes == 2
