"""The rule of continuity, and that a refused delta changes nothing."""

from random import Random

from depthcast.shared.digest import digest_of
from depthcast.shared.replica import NO_CHANGES, ApplyResult, Changes, Replica
from depthcast.shared.types import Delta, Snapshot

BIDS, ASKS = {100: 5, 99: 7}, {101: 3}
DIGEST = digest_of(BIDS.items(), ASKS.items())


def replica() -> Replica:
    return Replica(Snapshot(10, [100, 5, 99, 7], [101, 3], DIGEST, 1234))


def state(of: Replica) -> tuple[int, int, list[int], list[int], list[int]]:
    return of.seq, of.digest, of.book.bids.flat(), of.book.asks.flat(), list(of.book.bids.index)


def delta_to(bids: dict[int, int], asks: dict[int, int], **changes: object) -> Delta:
    delta = Delta(10, 11, [100, 6, 98, 1], [101, 0], digest_of(bids.items(), asks.items()), 4)
    return delta._replace(**changes)  # type: ignore[arg-type]


GOOD = delta_to({100: 6, 99: 7, 98: 1}, {})


def test_begins_with_a_snapshot_or_with_nothing() -> None:
    assert state(replica()) == (10, DIGEST, [100, 5, 99, 7], [101, 3], [-100, -99])
    assert replica().loaded_ts == 1234
    assert state(Replica()) == (0, 0, [], [], [])
    assert Replica().loaded_ts == 0


def test_applies_what_continues_it() -> None:
    followed = replica()
    outcome, changes = followed.apply(GOOD)
    assert outcome is ApplyResult.APPLIED
    assert changes == Changes([(100, 6, 5), (98, 1, 0)], [(101, 0, 3)])
    assert state(followed) == (11, GOOD.digest, [100, 6, 99, 7, 98, 1], [], [-100, -99, -98])


def test_names_only_levels_that_really_differ() -> None:
    followed = replica()
    outcome, changes = followed.apply(Delta(10, 20, [100, 5, 50, 0], [], DIGEST, 2))
    assert (outcome, changes) == (ApplyResult.APPLIED, Changes([], []))
    assert state(followed) == (20, *state(replica())[1:])


def test_ignores_what_it_has_and_refuses_what_leaves_a_gap() -> None:
    followed = replica()
    for prev_seq, seq, outcome in (
        (9, 10, ApplyResult.ALREADY),
        (0, 10, ApplyResult.ALREADY),
        (8, 9, ApplyResult.ALREADY),
        (9, 11, ApplyResult.GAP),
        (11, 12, ApplyResult.GAP),
        (0, 11, ApplyResult.GAP),
    ):
        delta = GOOD._replace(prev_seq=prev_seq, seq=seq)
        assert followed.offer(delta) is outcome
        assert followed.apply(delta) == (outcome, NO_CHANGES)
        assert state(followed) == state(replica())


def test_a_birth_applies_to_a_reader_that_has_nothing() -> None:
    newborn = Replica()
    assert newborn.apply(Delta(5, 6, [], [], 0, 0))[0] is ApplyResult.GAP
    assert newborn.apply(Delta(0, 99, [], [], 0, 0))[0] is ApplyResult.APPLIED
    assert newborn.seq == 99


def test_a_mismatch_leaves_the_state_as_it_was() -> None:
    followed = replica()
    wrong = GOOD._replace(digest=GOOD.digest ^ 1)
    assert followed.apply(wrong) == (ApplyResult.MISMATCH, NO_CHANGES)
    assert state(followed) == state(replica())
    assert followed.apply(GOOD)[0] is ApplyResult.APPLIED


def test_a_mismatch_with_a_price_named_twice_leaves_the_state_too() -> None:
    followed = replica()
    wrong = Delta(10, 11, [100, 6, 100, 0, 100, 9, 42, 1, 42, 0], [], 0, 1)
    assert followed.apply(wrong) == (ApplyResult.MISMATCH, NO_CHANGES)
    assert state(followed) == state(replica())


def test_random_deltas_right_and_wrong() -> None:
    rng = Random(5)
    followed, model = Replica(), ({}, {})  # type: tuple[Replica, tuple[dict[int, int], dict[int, int]]]
    for seq in range(1, 2000):
        after = tuple(dict(side) for side in model)
        flats: list[list[int]] = [[], []]
        for side in (0, 1):
            for _ in range(rng.randint(0, 4)):
                price, quantity = rng.randint(-9, 9), rng.choice([0, 0, 1, 2, 2**53 - 1])
                flats[side] += [price, quantity]
                after[side][price] = quantity
                if not quantity:
                    del after[side][price]
        delta = Delta(seq - 1, seq, flats[0], flats[1], digest_of(after[0].items(), after[1].items()), 1)
        before = state(followed)
        assert (
            followed.apply(delta._replace(digest=delta.digest ^ rng.randint(1, 9)))[0] is ApplyResult.MISMATCH
        )
        assert state(followed) == before
        assert followed.apply(delta)[0] is ApplyResult.APPLIED
        assert (followed.book.bids.levels, followed.book.asks.levels) == after
        model = (after[0], after[1])


def test_the_greatest_numbers_there_are() -> None:
    most = 2**53 - 1
    rng = Random(6)
    followed, levels = Replica(), dict[int, int]()
    for seq in range(1, 400):
        side = [rng.choice([-most, most, 0, -1, 2**32, 2**31]), rng.choice([0, 1, most, most - 1, 2**52])]
        levels[side[0]] = side[1]
        held = {price: quantity for price, quantity in levels.items() if quantity}
        digest = digest_of(held.items(), held.items())
        assert followed.apply(Delta(seq - 1, seq, side, side, digest, 1))[0] is ApplyResult.APPLIED
        assert followed.book.bids.levels == followed.book.asks.levels == held


def test_a_seq_and_a_digest_of_any_size() -> None:
    followed = Replica(Snapshot(2**64 - 1, [], [], 0, 2**64 - 1))
    assert followed.apply(Delta(2**64 - 1, 2**70, [], [], 2**64, 1))[0] is ApplyResult.MISMATCH
    assert followed.apply(Delta(2**64 - 1, 2**70, [], [], 0, 1))[0] is ApplyResult.APPLIED
    assert followed.seq == 2**70
