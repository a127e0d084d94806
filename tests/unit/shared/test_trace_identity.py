"""Which entries are traced: everybody says the same, and of each share about so many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.trace_identity import identity_of

sources = st.builds(lambda ms, n: f"{ms}-{n}", st.integers(0, 2**53), st.integers(0, 99))


@given(sources, st.integers(0, 99))
def test_an_identity_is_one_of_open_telemetry(src: str, partition: int) -> None:
    found = identity_of("p", partition, src, 1.0)
    assert found is not None
    assert 0 < found.trace_id < 2**128
    assert 0 < found.span_id < 2**64
    assert identity_of("p", partition, src, 1.0) == found
    assert identity_of("p", partition, src, 0.0) is None


@given(sources, st.floats(0, 1), st.floats(0, 1))
def test_who_traces_less_traces_a_part_of_the_same(src: str, one: float, two: float) -> None:
    less, more = identity_of("p", 0, src, min(one, two)), identity_of("p", 0, src, max(one, two))
    assert less is None or less == more


def test_deployments_partitions_and_entries_have_traces_of_their_own() -> None:
    entries = (("p", 0, "1-0"), ("q", 0, "1-0"), ("p", 1, "1-0"), ("p", 0, "1-1"))
    found = {identity_of(*entry, 1.0) for entry in entries}
    assert len(found) == 4


@pytest.mark.parametrize("share", [0.01, 0.25, 0.9])
def test_of_many_entries_about_that_share_is_traced(share: float) -> None:
    traced = sum(identity_of("p", 0, f"{number}-0", share) is not None for number in range(20_000))
    assert traced == pytest.approx(20_000 * share, rel=0.1)
