"""Whatever happens to a venue's messages, an adapter never calls a wrong book right, and it recovers.

What happens is what the venue's rule can notice, by `faults` of its model: where nothing is numbered, nothing
is lost, doubled or swapped here. Where numbers or checksums notice more, more happens.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from random import Random
from typing import Final, NamedTuple

import pytest

from depthcast.feed.venue import Venue
from tests.seeds import seeds
from tests.venues.conversation import Conversation
from tests.venues.model import ModelVenue
from tests.venues.model_bitget import BitgetModel
from tests.venues.model_okx import OkxModel
from tests.venues.models import models
from tests.venues.mutations import BETWEEN, Mutation, noticed
from tests.venues.pairs import venues

SAME: Final = ("bitget-coin-futures", "bitget-usdt-futures", "toy", "toy-rest")
"""Markets that another one of their venue stands for, and what is no venue."""
SPOILT: Final = frozenset(
    {Mutation.DROP, Mutation.DUPLICATE, Mutation.SWAP, Mutation.CUT, Mutation.WRONG_TYPE}
    | {Mutation.OTHER_KIND, Mutation.OTHER_SYMBOL}
)
MORE: Final[Mapping[str, AbstractSet[Mutation]]] = {
    "kraken": SPOILT | {Mutation.WRONG_VALUE, Mutation.SPOIL},
    "kraken-1000": {Mutation.DUPLICATE, Mutation.CUT, Mutation.WRONG_TYPE, Mutation.SPOIL},
    "okx": SPOILT,
    "okx-without-snapshots": SPOILT - {Mutation.OTHER_KIND},
    "okx-old": SPOILT | {Mutation.WRONG_VALUE},
    "bitget": SPOILT - {Mutation.OTHER_KIND},
    "bitget-old": SPOILT | {Mutation.WRONG_VALUE},
}
"""What checksums notice, or numbers: all but wrong levels."""
LESS: Final[Mapping[str, AbstractSet[Mutation]]] = {"okx-without-snapshots": {Mutation.LATE}}
"""A message of an ended subscription proves a requested snapshot just as well."""
SLOW: Final = ("okx-without-snapshots",)
"""Where a book comes back only after a subscription and a request, so that less may happen meanwhile."""


class Case(NamedTuple):
    """A venue, its model, and what happens."""

    name: str
    venue: Venue
    model: Callable[[Random], ModelVenue]
    mutations: frozenset[Mutation]

    def talk(self, seed: object, rate: float, only: Mutation | None = None) -> Conversation:
        """Begin a conversation, in which all may happen, or only one thing."""
        random = Random(f"{self.name} {seed}")
        mutations = self.mutations if only is None else [only]
        control = self.name in MORE
        rate = rate / 5 if self.name in SLOW else rate
        return Conversation(self.venue, self.model(random), random, mutations, rate=rate, control=control)


def case(name: str, venue: Venue, model: Callable[[Random], ModelVenue]) -> Case:
    mutations = (noticed(model(Random(0)).faults) | MORE.get(name, set())) - LESS.get(name, set())
    return Case(name, venue, model, mutations)


OLD: Final[dict[str, Callable[[Random], ModelVenue]]] = {
    "okx-old": lambda random: OkxModel(random, old=True),
    "bitget-old": lambda random: BitgetModel(random, old=True),
}
CASES: Final = [
    *(case(name, venues()[name], make) for name, make in models().items() if name not in SAME),
    *(Case(name, venues()[name[:-4]], make, BETWEEN | MORE[name]) for name, make in OLD.items()),
]


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_right_conversation_is_never_doubted(each: Case, seed: int) -> None:
    talk = each.talk(seed, 0.0)
    talk.run(100)
    talk.settle()
    assert talk.taken > 100
    assert not talk.doubts


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
@pytest.mark.parametrize("seed", seeds(0, 2, 8))
def test_no_book_is_wrong_and_each_recovers(each: Case, seed: int) -> None:
    talk = each.talk(seed, 0.15)
    talk.run(250)
    talk.settle()
    assert talk.taken > 20
    assert all(replica.doubts for replica in talk.replicas.values())


@pytest.mark.parametrize(
    ("each", "mutation"),
    [
        pytest.param(each, mutation, id=f"{each.name}-{mutation}")
        for each in CASES
        if each.name in MORE
        for mutation in sorted(each.mutations)
    ],
)
def test_a_book_recovers_from_each_way_alone(each: Case, mutation: Mutation) -> None:
    talk = each.talk(mutation, 0.3 if mutation in BETWEEN else 0.1, mutation)
    talk.run(100)
    talk.settle()
    assert talk.taken > 50
