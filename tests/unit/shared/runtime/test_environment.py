"""Secrets in files: read once, checked, and never quoted."""

from pathlib import Path

import pytest

from depthcast.shared.errors import SettingsError
from depthcast.shared.runtime.environment import FILE_BYTES_MAX, read_environment
from depthcast.shared.settings import Settings, file_variable, secrets, variable

EVERY = pytest.mark.parametrize("name", secrets())


@EVERY
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_file_replaces_the_variable(name: str, end: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"redis://h" + end.encode())
    found = read_environment({file_variable(name): str(file), "HOME": "/"})
    assert found == {variable(name): "redis://h", "HOME": "/"}
    Settings.load(found)


def test_blanks_in_a_password_count(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" a b \n", encoding="utf-8")
    assert read_environment({"DEPTHCAST_REDIS_PASSWORD_FILE": str(file)}) == {
        "DEPTHCAST_REDIS_PASSWORD": " a b "
    }


@EVERY
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "names an empty file"),
        (b"\n", "names an empty file"),
        (b"S3cr3t\xff", "must name a text file in UTF-8"),
        (b"S3cr3t" * FILE_BYTES_MAX, "must name a file of at most"),
    ],
)
def test_a_file_that_is_no_use_is_named(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as caught:
        read_environment({file_variable(name): str(file)})
    assert (caught.value.name, caught.value.value) == (file_variable(name), str(file))
    assert "S3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read_environment({"DEPTHCAST_REDIS_URL_FILE": str(tmp_path)})


@EVERY
def test_both_at_once_are_refused(name: str, tmp_path: Path) -> None:
    both = {file_variable(name): str(tmp_path / "unread"), variable(name): "S3cr3t"}
    with pytest.raises(SettingsError, match=f"{variable(name)} is set too; remove one") as caught:
        read_environment(both)
    assert "S3cr3t" not in str(caught.value)


@EVERY
def test_an_empty_variable_counts_as_unset(name: str) -> None:
    assert read_environment({file_variable(name): "", variable(name): "redis://h"}) == {
        variable(name): "redis://h"
    }


def test_a_file_for_what_is_no_secret_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="no setting has that name"):
        Settings.load(read_environment({"DEPTHCAST_PREFIX_FILE": "x"}))
