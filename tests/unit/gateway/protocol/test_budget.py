"""The bytes that connections hold together."""

from depthcast.gateway.protocol.budget import Budget


def test_the_largest_go_until_an_eighth_is_free() -> None:
    budget: Budget[str] = Budget(800)
    for name, count in (("small", 10), ("large", 500), ("middle", 290)):
        assert not budget.hold(name, count)
    assert budget.hold("small", 11)
    assert budget.largest() == ["large"]
    budget.hold("large", 0)
    assert (budget.total, list(budget.held)) == (301, ["middle", "small"])
    assert not budget.hold("many", 1)


def test_several_go_if_one_is_not_enough() -> None:
    budget: Budget[int] = Budget(800)
    excess = [budget.hold(number, 20) for number in range(41)]
    assert excess == [False] * 40 + [True]
    assert len(budget.largest()) == 6
