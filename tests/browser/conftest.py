"""What the tests of the page and of the JavaScript client share."""

from pathlib import Path

import pytest

from tests.npm import install
from tests.sharing import Once


def _installed(folder: Path) -> Path:
    install(Path(__file__).parent, folder)
    return folder


@pytest.fixture(scope="session")
def npm_folder(once: Once) -> Path:
    """A folder with the packages that `package-lock.json` here names: React, TypeScript, undici, ws."""
    return once("npm-browser", _installed)
