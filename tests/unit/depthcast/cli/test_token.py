"""The commands `depthcast token`: what they make is what a gateway takes."""

import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from depthcast.cli.main import main
from depthcast.gateway.protocol.grant import grant_of
from depthcast.gateway.runtime.token_check import TokenCheck
from depthcast.gateway.runtime.token_keys import parse_keys, secret_key
from depthcast.runtime.gateway_token import gateway_token
from depthcast.shared.errors import SettingsError

ISSUE = ("token", "issue", "--subject", "alice", "--key")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def issued(key: Path, *words: str) -> str:
    result = run(*ISSUE, key, *words)
    assert result.exit_code == 0, result.output
    return result.output.strip()


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_gateway_takes_what_is_issued(tmp_path: Path, algorithm: str) -> None:
    made = run("token", "keygen", tmp_path / "keys", "--algorithm", algorithm)
    assert made.output.split() == [str(tmp_path / "keys" / name) for name in ("signing.pem", "keys.json")]
    assert stat.S_IMODE((tmp_path / "keys" / "signing.pem").stat().st_mode) == 0o600
    keys = parse_keys((tmp_path / "keys" / "keys.json").read_bytes())
    assert [key.algorithm for key in keys] == [algorithm]
    token = issued(
        tmp_path / "keys" / "signing.pem", "--symbol", "BTC-*", "--symbol", "ETH-USD", "--depth-max", "25",
        "--interval-min-ms", "100", "--connections-max", "2", "--metrics", "--lifetime", "2m",
    )  # fmt: skip
    assert jwt.get_unverified_header(token)["kid"] == keys[0].kid
    grant = grant_of(TokenCheck("depthcast", "").claims(token, keys))
    assert (grant.subject, grant.connections_max) == ("alice", 2)
    assert grant.token_id
    assert grant.rights.may_read("BTC-EUR")
    assert not grant.rights.may_read("ETH-EUR")
    assert (grant.rights.depth_max, grant.rights.interval_min_ms, grant.rights.metrics) == (25, 100, True)
    assert grant.expires_us is not None
    assert 100 < grant.expires_us / 1e6 - time.time() <= 121


def test_a_secret_for_both_sides(tmp_path: Path) -> None:
    run("token", "keygen", tmp_path, "--algorithm", "HS256")
    secret = (tmp_path / "secret").read_text().strip()
    token = issued(tmp_path / "secret", "--issuer", "https://id")
    assert TokenCheck("depthcast", "https://id").claims(token, [secret_key(secret)])
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    assert run("token", "keygen", tmp_path).exit_code == 0
    before = (tmp_path / "signing.pem").read_bytes()
    again = run("token", "keygen", tmp_path)
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert (tmp_path / "signing.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (
            "-----BEGIN PRIVATE KEY-----\nS3cr3t\n-----END PRIVATE KEY-----\n",
            "no private key that can be read",
        ),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    result = run(*ISSUE, tmp_path / "key")
    assert result.exit_code == 1
    assert says in result.output
    assert "S3cr3t" not in result.output


@pytest.mark.parametrize("words", [("--lifetime", "soon"), ("--lifetime", "0s"), ("--depth-max", "0")])
def test_what_is_wrong_with_an_option_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    run("token", "keygen", tmp_path)
    assert run(*ISSUE, tmp_path / "signing.pem", *words).exit_code == 2


@pytest.mark.parametrize("words", [(), ("--subject", "a", "--token-id", "b"), ("--subject", "x" * 300)])
def test_a_revocation_names_one_thing(words: tuple[str, ...]) -> None:
    assert run("token", "revoke", *words).exit_code == 2


def test_a_token_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    assert gateway_token({}) is None
    assert gateway_token({"DEPTHCAST_TOKEN": "t"}) == "t"
    given: Any = gateway_token({"DEPTHCAST_TOKEN_FILE": str(path)})
    path.write_text("second\n")
    assert given() == "second", "it is read each time"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_file_without_a_token(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="DEPTHCAST_TOKEN_FILE"):
        gateway_token({"DEPTHCAST_TOKEN_FILE": str(path)})
    with pytest.raises(SettingsError, match="is set too"):
        gateway_token({"DEPTHCAST_TOKEN": "t", "DEPTHCAST_TOKEN_FILE": str(path)})
