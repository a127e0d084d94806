"""The client holds and answers what the vectors say."""

import pytest

from tests.vectors.lines import Vector, read_all
from tests.vectors.player import play

VECTORS = read_all("client")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_client_does_what_the_vector_says(vector: Vector) -> None:
    play(vector)
