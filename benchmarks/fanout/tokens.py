"""What tokens cost: checking one, and nothing in a delivery."""

import time
from collections.abc import Callable
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding as KeyEncoding
from cryptography.hazmat.primitives.serialization import PublicFormat

from benchmarks.fanout.market import DEPTH, Market
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.credentials import ANYONE, Credentials
from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.grant import grant_of
from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.runtime.token_check import TokenCheck
from depthcast.gateway.runtime.token_keys import Key, parse_keys, secret_key
from depthcast.shared.codec import decode_snapshot
from depthcast.shared.instruments import Instrument
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Symbol

CHECK: Final = Metric("us", "time", "µs", digits=1, compared=False)
DELIVERY: Final = Metric("ns", "CPU per delivery", "ns", digits=1)
SECRET: Final = "a secret of thirty-two bytes or more"  # noqa: S105  # of this program alone
CLIENTS: Final = 500
TICKS: Final = 3000
TOKENS: Final = 300
WITHOUT: Final = "without tokens"
WITH: Final = "with tokens"


def claims(connections_max: int = 10) -> dict[str, object]:
    """A token with every limit."""
    rights = {
        "symbols": ["S*", "BTC-USD"],
        "depth_max": 25,
        "interval_min_ms": 0,
        "connections_max": connections_max,
    }
    now = int(time.time())
    return {
        "sub": "alice",
        "jti": "1",
        "aud": "depthcast",
        "iat": now,
        "exp": now + 3600,
        "depthcast": rights,
    }


def signed(algorithm: str) -> tuple[str, list[Key]]:
    """A token, and the keys to check it with."""
    if algorithm == "HS256":
        return jwt.encode(claims(), SECRET, algorithm), [secret_key(SECRET)]
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "RS256":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(KeyEncoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return jwt.encode(claims(), key, algorithm), parse_keys(pem)


def checking(algorithm: str) -> Callable[[], Measurement]:
    """A round checks the same token many times, up to what it allows."""
    token, keys = signed(algorithm)
    check = TokenCheck("depthcast", "")

    def run_round() -> Measurement:
        begun = time.perf_counter()
        for _ in range(TOKENS):
            grant_of(check.claims(token, keys))
        return {"us": (time.perf_counter() - begun) / TOKENS * 1e6}

    return run_round


class NullWriter:
    """A client that takes everything at no cost."""

    paused = False
    clear = True

    def write(self, data: bytes) -> None:
        """Take it."""

    def buffered(self) -> int:
        return 0

    def direct(self) -> Callable[[bytes], int]:
        return len


class Place:
    """A gateway's core in this process, with clients of one symbol."""

    def __init__(self, *, tokens: bool) -> None:
        self.market = Market(1, messages=False)
        self.core = Core(GatewaySettings(), lambda: time.time_ns() // 1000, lambda _interval_ms: None)
        self.core.market.set_partitions(1)
        (symbol,) = self.market.symbols
        self.core.list_instruments({symbol: Instrument(Symbol(symbol), "0.01", "0.001")})
        self.upstream = self.core.market.upstreams[0]
        position = self.market.positions[0]
        snapshots = self.market.snapshots()
        found = {name: (position, decode_snapshot(raw)) for name, raw in snapshots.items()}
        updates = self.upstream.reader.load(position, found)
        self.core.apply(self.upstream, AppliedEntry(position, None, updates), 0.0)
        grant = grant_of(claims())
        message = b'{"op":"subscribe","symbols":["%b"],"depth":%d}' % (symbol.encode(), DEPTH)
        for number in range(CLIENTS):
            credentials = Credentials(grant) if tokens else ANYONE
            session = self.core.open(NullWriter(), Encoding.JSON, str(number), 0.0, credentials)
            for _ in answer(session, message):
                pass
        self.core.tick(0.0)

    def run_round(self) -> Measurement:
        """Broadcasts to all, and as many sweeps as belong to them."""
        ticks = [self.market.tick().entries[0] for _ in range(TICKS)]
        before, begun = self.core.counters.deltas, time.process_time()
        for position, fields in ticks:
            entry = self.upstream.reader.read(position, fields)
            assert entry is not None
            self.core.apply(self.upstream, entry, 0.0)
            self.core.tick(0.0)
        self.core.sweep(0.0)
        spent = time.process_time() - begun
        return {"ns": spent / (self.core.counters.deltas - before) * 1e9}


def run(run: Run) -> None:
    """Checking a token by each algorithm; then the same deliveries with and without tokens."""
    algorithms = ("HS256", "RS256", "ES256", "EdDSA")
    run.compare("checking a token", [Contender(name, checking(name)) for name in algorithms], [CHECK])
    contenders = [
        Contender(WITHOUT, Place(tokens=False).run_round),
        Contender(WITH, Place(tokens=True).run_round),
    ]
    targets = [Target("ns", WITH, WITHOUT, most=1.02)]
    title = f"{CLIENTS} clients of one symbol, no sockets"
    run.compare(title, contenders, [DELIVERY], baseline=WITHOUT, targets=targets)
    run.note(
        "A token is checked once for each connection, and each that replaces it; a delivery looks at none."
    )


BENCHMARK = Benchmark("tokens", "Checking tokens, and deliveries with and without them", run, 41, 5)
