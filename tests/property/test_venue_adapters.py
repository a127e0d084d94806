"""Whatever happens to a venue's messages, an adapter never calls a wrong book right, and it recovers.

What happens is what the venue's rule can notice, by `faults` of its model: where nothing is numbered, nothing
is lost, doubled or swapped here.
"""

from random import Random

import pytest

from depthcast.feed.venues.registry import VENUES
from tests.venues.conversation import Conversation
from tests.venues.models import models

SAME = ("bitget-coin-futures", "bitget-usdt-futures")
"""Markets of a venue that one of its other markets stands for."""

MODELS = {name: make for name, make in models().items() if name in VENUES and name not in SAME}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_a_right_conversation_is_never_doubted(name: str, seed: int) -> None:
    talk = Conversation(VENUES[name], MODELS[name](Random(seed)), Random(seed))
    talk.run(100)
    talk.settle()
    assert [replica.doubts for replica in talk.replicas.values()] == [[]] * len(talk.replicas)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(12))
def test_no_book_is_wrong_and_each_recovers(name: str, seed: int) -> None:
    talk = Conversation(VENUES[name], MODELS[name](Random(seed)), Random(seed), rate=0.15)
    talk.run(250)
    talk.settle()
    assert all(replica.doubts for replica in talk.replicas.values())
