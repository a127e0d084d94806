"""Whether a module is loaded compiled or as Python, if both exist."""

import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

import depthcast.shared
from depthcast.shared.compiled import SourceFinder, is_compiled_at, prefer_source


@pytest.fixture
def without_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if finder is not SourceFinder])


@pytest.mark.usefixtures("without_finder")
class TestPreference:
    def test_python_is_preferred_when_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEPTHCAST_PURE", "1")
        prefer_source()
        prefer_source()
        assert sys.meta_path[0] is SourceFinder
        assert sys.meta_path.count(SourceFinder) == 1

    @pytest.mark.parametrize("value", ["", "0", "yes"])
    def test_nothing_else_asks_for_it(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("DEPTHCAST_PURE", value)
        prefer_source()
        assert SourceFinder not in sys.meta_path


def test_it_finds_modules_of_the_package_as_source() -> None:
    found = SourceFinder.find_spec("depthcast.shared.book", list(depthcast.shared.__path__))
    assert found is not None
    assert isinstance(found.loader, SourceFileLoader)
    assert found.origin is not None
    assert found.origin.endswith("book.py")


def test_it_leaves_everything_else_to_other_finders(tmp_path: Path) -> None:
    (tmp_path / "book.py").touch()
    assert SourceFinder.find_spec("depthcast") is None
    assert SourceFinder.find_spec("other.book", [str(tmp_path)]) is None
    assert SourceFinder.find_spec("depthcast.nothing", [str(tmp_path)]) is None
    assert SourceFinder.find_spec("depthcast.book", ["/nowhere", str(tmp_path)]) is not None


def test_a_file_says_whether_it_is_compiled() -> None:
    assert is_compiled_at("book.cpython-311-x86_64-linux-gnu.so")
    assert not is_compiled_at("book.py")
