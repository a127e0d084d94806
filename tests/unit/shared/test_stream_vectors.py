"""The reader of the streams holds and loads what the vectors say."""

import pytest

from tests.vectors.lines import Vector, read_all
from tests.vectors.stream_player import play

VECTORS = read_all("stream")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_reader_does_what_the_vector_says(vector: Vector) -> None:
    play(vector)
