"""When certificates end: what the library says of them, and nothing of what is none."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from depthcast.gateway.protocol.certificate_end import first_end

KEY = ec.generate_private_key(ec.SECP256R1())
TIMES = st.datetimes(datetime(1951, 1, 2), datetime(2999, 1, 1)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001 - UTC below


def certificate(end: datetime, names: int = 1) -> bytes:
    """A certificate in PEM; with many names its lengths take more bytes."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x" * 60) for _ in range(names)])
    made = x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
    begin = datetime(1950, 1, 1, tzinfo=UTC)
    signed = made.not_valid_before(begin).not_valid_after(end).sign(KEY, SHA256())
    return signed.public_bytes(Encoding.PEM)


@given(TIMES, st.sampled_from([0, 1, 2, 5, 1_200]))
@example(datetime(2049, 12, 31, 23, 59, 59), 1)  # noqa: DTZ001
@example(datetime(2050, 1, 1), 1)  # noqa: DTZ001
def test_the_end_is_what_the_library_says(end: datetime, names: int) -> None:
    pem = certificate(end.replace(tzinfo=UTC), names)
    assert first_end(pem) == end.replace(tzinfo=UTC).timestamp()
    assert first_end(pem) == x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def test_of_several_the_first_end_counts() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    late, soon = certificate(now + timedelta(days=90)), certificate(now)
    for pem in (late + soon, soon + late, b"a key\n" + soon + b"\n" + late):
        assert first_end(pem) == now.timestamp()


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"]
)
def test_what_is_none_has_no_end(pem: bytes) -> None:
    assert first_end(pem) is None


GOOD = ssl.PEM_cert_to_DER_cert(certificate(datetime(2030, 1, 1, tzinfo=UTC)).decode())


@given(st.data())
def test_whatever_is_damaged_raises_nothing(data: st.DataObject) -> None:
    der = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(der)))
    end = first_end(ssl.DER_cert_to_PEM_cert(bytes(der[:cut])).encode())
    assert end is None or isinstance(end, float)
