"""No message makes a wrong book: conversations of adapters with model venues, changed in every way."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from depthcast.feed.venue import Venue
from depthcast.feed.venues import bitget, kraken, okx
from tests.venues.model import ModelVenue
from tests.venues.model_bitget import BitgetModel
from tests.venues.model_kraken import KrakenModel
from tests.venues.model_okx import OkxModel
from tests.venues.mutations import ALL, Conversation, Mutation

NUMBERED = ALL - {Mutation.WRONG_VALUE, Mutation.SPOIL}
"""What numbers without a checksum notice: all but wrong levels."""
CHECKED = ALL - {Mutation.RESET}
HARMLESS = frozenset({Mutation.DUPLICATE, Mutation.RESUBSCRIBE, Mutation.RECONNECT})


class Case(NamedTuple):
    """A venue, its model, and what its proof notices."""

    name: str
    venue: Venue
    model: Callable[[Random], ModelVenue]
    mutations: frozenset[Mutation]


CASES = [
    Case("kraken", kraken.VENUE, KrakenModel, CHECKED),
    Case(
        "kraken-1000",
        kraken.DEEP,
        lambda random: KrakenModel(random, "kraken-1000", 1000),
        HARMLESS | {Mutation.CUT, Mutation.WRONG_TYPE, Mutation.SPOIL},
    ),
    Case("okx", okx.VENUE, OkxModel, NUMBERED),
    Case("okx-old", okx.VENUE, lambda random: OkxModel(random, old=True), CHECKED - {Mutation.SPOIL}),
    Case("bitget", bitget.VENUE, BitgetModel, NUMBERED - {Mutation.OTHER_KIND}),
    Case(
        "bitget-old", bitget.VENUE, lambda random: BitgetModel(random, old=True), CHECKED - {Mutation.SPOIL}
    ),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_book_that_is_not_in_doubt_is_the_venues(case: Case, seed: int) -> None:
    random = Random(f"{case.name} {seed}")
    conversation = Conversation(case.venue.adapter(), case.model(random), random, case.mutations)
    conversation.run(200, mean=8)
    assert conversation.taken > 50
    assert conversation.doubts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_conversation_that_nothing_happens_to_raises_no_doubt(case: Case) -> None:
    random = Random(case.name)
    conversation = Conversation(case.venue.adapter(), case.model(random), random, [])
    conversation.run(200, mean=float("inf"))
    assert conversation.taken > 300
    assert not conversation.doubts


@pytest.mark.parametrize(
    ("case", "mutation"),
    [
        pytest.param(case, mutation, id=f"{case.name}-{mutation}")
        for case in CASES
        for mutation in sorted(case.mutations)
    ],
)
def test_a_book_recovers_from_each_way_alone(case: Case, mutation: Mutation) -> None:
    random = Random(f"{case.name} {mutation}")
    conversation = Conversation(case.venue.adapter(), case.model(random), random, [mutation])
    conversation.run(100, mean=10)
    assert conversation.taken > 50
