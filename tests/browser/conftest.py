"""What the tests of the page and of the JavaScript client share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.chromium import launched
from tests.npm import install
from tests.sharing import Once


def _installed(folder: Path) -> Path:
    install(Path(__file__).parent, folder)
    return folder


@pytest.fixture(scope="session")
def npm_folder(once: Once) -> Path:
    """A folder with the packages that `package-lock.json` here names: React, TypeScript, undici, ws."""
    return once("npm-browser", _installed)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    """A browser for all tests of a module; each page has its own profile."""
    async with launched() as running:
        yield running
