"""`depthcast redis-acl`: passwords are made once and kept apart, the file that is printed has none."""

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from depthcast.cli.main import main
from depthcast.shared.redis_roles import ON_REQUEST, ROLES


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["redis-acl", *words])


def test_passwords_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first, second = run("--passwords", str(folder)), run("--passwords", str(folder))
    assert (first.exit_code, first.output) == (0, second.output)
    assert {path.name for path in folder.iterdir()} == {"default", *ROLES} - ON_REQUEST
    assert folder.stat().st_mode & 0o777 == 0o700
    passwords = set()
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        password = path.read_text().rstrip("\n")
        passwords.add(password)
        assert len(password) == 64
        assert password not in first.output
        assert f"#{sha256(password.encode()).hexdigest()}" in first.output
    assert len(passwords) == 1 + len(ROLES) - len(ON_REQUEST)


def test_some_roles_and_another_prefix(tmp_path: Path) -> None:
    (tmp_path / "gateway").write_text("of my own\n")
    lines = run("gateway", "--passwords", str(tmp_path), "--prefix", "mine").output.splitlines()
    assert [line.split()[1] for line in lines] == ["default", "mine-gateway"]
    assert sha256(b"of my own").hexdigest() in lines[1]
    assert "%R~mine:meta" in lines[1]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("gateway", b"\n", "is an empty file"), ("gateway", b"\xff", "text file in UTF-8")],
)
def test_a_password_file_of_no_use_is_named(tmp_path: Path, name: str, text: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(text)
    result = run("gateway", "--passwords", str(tmp_path))
    assert result.exit_code == 2
    assert says in result.stderr
    assert str(tmp_path / name) in result.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("--passwords", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert "cannot be used: Not a directory" in result.stderr


def test_the_folder_has_to_be_named() -> None:
    assert "Missing option '--passwords'" in run().stderr
