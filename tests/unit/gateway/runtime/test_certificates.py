"""The gateway's certificate: bad files are named, good ones are read again without harm."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from depthcast.gateway.runtime.certificates import Certificates, make_context
from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import GatewaySettings
from tests.certificates import Authority, Files
from tests.waiting import eventually


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def settings_of(files: Files, tls_client_ca: str = "") -> GatewaySettings:
    return GatewaySettings(tls_cert=files.cert, tls_key=files.key, tls_client_ca=tls_client_ca)


def with_passphrase(files: Files, path: Path) -> str:
    """The key again, encrypted; returns its file."""
    key = load_pem_private_key(Path(files.key).read_bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    path.write_bytes(pem)
    return str(path)


def test_key_and_certificate_may_be_in_one_file(authority: Authority, tmp_path: Path) -> None:
    files, both = authority.issue(), tmp_path / "both.pem"
    both.write_bytes(Path(files.key).read_bytes() + Path(files.cert).read_bytes())
    context = make_context(GatewaySettings(tls_cert=str(both)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_without_a_certificate_there_is_no_tls() -> None:
    assert Certificates.of(GatewaySettings()) is None


@pytest.mark.parametrize("name", ["tls_key", "tls_client_ca"])
def test_the_rest_is_refused_without_a_certificate(name: str) -> None:
    with pytest.raises(SettingsError, match=f"DEPTHCAST_{name.upper()}: 'x' is set, but tls_cert is not"):
        GatewaySettings(**{name: "x"})  # type: ignore[arg-type] # each is text


def test_what_is_wrong_with_a_file_is_said(authority: Authority, tmp_path: Path) -> None:
    files, other = authority.issue(), authority.issue("other")
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    locked = with_passphrase(files, tmp_path / "locked.key")
    for settings, name, says in (
        (GatewaySettings(tls_cert="/nowhere"), "DEPTHCAST_TLS_CERT", "cannot be read: No such file"),
        (GatewaySettings(tls_cert=files.cert, tls_key="/nowhere"), "DEPTHCAST_TLS_KEY", "cannot be read"),
        (settings_of(files, tls_client_ca="/nowhere"), "DEPTHCAST_TLS_CLIENT_CA", "cannot be read"),
        (GatewaySettings(tls_cert=str(tmp_path)), "DEPTHCAST_TLS_CERT", "cannot be read: Is a directory"),
        (GatewaySettings(tls_cert=str(junk)), "DEPTHCAST_TLS_CERT", "both in PEM"),
        (GatewaySettings(tls_cert=files.cert), "DEPTHCAST_TLS_CERT", "both in PEM"),
        (
            settings_of(Files(files.cert, other.key)),
            "DEPTHCAST_TLS_KEY",
            "has not the key of the certificate",
        ),
        (settings_of(Files(files.cert, locked)), "DEPTHCAST_TLS_KEY", "passphrase"),
        (settings_of(files, tls_client_ca=str(junk)), "DEPTHCAST_TLS_CLIENT_CA", "certificates in PEM"),
    ):
        with pytest.raises(SettingsError) as caught:
            make_context(settings)
        assert caught.value.name == name
        assert says in caught.value.remedy


@asynccontextmanager
async def watching(certificates: Certificates) -> AsyncIterator[None]:
    task = asyncio.create_task(certificates.watch(0.01))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def changed(certificates: Certificates) -> Callable[[], bool]:
    before = certificates.context()
    return lambda: certificates.context() is not before


async def test_files_that_change_are_read_again(authority: Authority) -> None:
    files = authority.issue("renewed", datetime(2040, 1, 1, tzinfo=UTC))
    certificates = Certificates(settings_of(files))
    async with watching(certificates):
        is_new = changed(certificates)
        assert certificates.ends_at == _end_of(files)
        authority.issue("renewed")  # first the key, then the certificate
        await eventually(is_new, message="the new certificate")
        await eventually(lambda: certificates.ends_at == _end_of(files), message="its end is known, too")


def _end_of(files: Files) -> float:
    return load_pem_x509_certificate(Path(files.cert).read_bytes()).not_valid_after_utc.timestamp()


def _break(files: Files) -> None:
    Path(files.cert).write_text("half a certif")


async def test_what_is_of_no_use_changes_nothing_and_is_counted(authority: Authority) -> None:
    files = authority.issue("broken")
    certificates = Certificates(settings_of(files))
    async with watching(certificates):
        is_new = changed(certificates)
        _break(files)
        await eventually(lambda: certificates.failures == 1)
        assert not is_new()
        authority.issue("broken")
        await eventually(is_new, message="it is whole again")


async def test_when_asked_it_reads_files_that_have_not_changed(authority: Authority) -> None:
    certificates = Certificates(settings_of(authority.issue("asked")))
    task = asyncio.create_task(certificates.watch())
    is_new = changed(certificates)
    certificates.ask()
    await eventually(is_new)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
