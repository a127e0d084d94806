"""What the tests of foreign clients share."""

import shutil
from collections.abc import Iterator

import pytest

from tests.interop.peers import BUILD


@pytest.fixture(scope="session", autouse=True)
def built_programs() -> Iterator[None]:
    """Programs built for these tests go with them."""
    yield
    shutil.rmtree(BUILD, ignore_errors=True)
