"""Readers of a channel are those that were added and not removed, in any order of steps."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.delivery.cohort import Cohort
from depthcast.gateway.delivery.readers import Readers, alone
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.protocol.messages import Encoding

ENCODINGS = (Encoding.JSON, Encoding.MSGPACK, Encoding.EVENTS)


class FakeCohort:
    def __init__(self, encoding: Encoding, interval_ms: int) -> None:
        self.encoding = encoding
        self.interval_ms = interval_ms


COHORTS = [FakeCohort(encoding, interval) for encoding in ENCODINGS for interval in (0, 0, 0, 100, 250)]
GROUPS = [cast("SubscriptionGroup", object()) for _ in range(3)]


def check(readers: Any, added: set[FakeCohort], split: set[SubscriptionGroup]) -> None:
    for encoding in ENCODINGS:
        alike = [cohorts for each, cohorts in readers.by_encoding if each is encoding]
        expected = {each for each in added if each.encoding is encoding and not each.interval_ms}
        assert len(alike) == bool(expected)
        assert [len(cohorts) for cohorts in alike] == [len(expected)] * len(alike)
        assert not set().union(*alike) ^ expected
    assert not set(readers.throttled) ^ {each for each in added if each.interval_ms}
    assert set(readers.split) == split
    assert bool(readers) == bool(added or split)


@given(st.lists(st.sampled_from([*COHORTS, *GROUPS]), max_size=60))
def test_what_was_added_and_not_removed_reads(steps: list[FakeCohort | SubscriptionGroup]) -> None:
    readers, untouched = Readers(), Readers()
    added: set[FakeCohort] = set()
    split: set[SubscriptionGroup] = set()
    for each in steps:
        if not isinstance(each, FakeCohort):
            (readers.remove_split if each in split else readers.add_split)(each)
            split ^= {each}
        else:
            cohort = cast("Cohort", each)
            if each in added:
                readers.remove(cohort, each.encoding)
            else:
                readers.add(cohort, alone(cohort, each.encoding))
            added ^= {each}
        check(readers, added, split)
        check(untouched, set(), set())
