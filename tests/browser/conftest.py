"""What the tests of the page and of the JavaScript client share."""

from pathlib import Path

import pytest

from tests.npm import install


@pytest.fixture(scope="session")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that `package-lock.json` here names: React, TypeScript, undici, ws."""
    folder = tmp_path_factory.mktemp("npm")
    install(Path(__file__).parent, folder)
    return folder
