"""The recorded files through a whole deployment, compared with their own oracles after every message."""

import asyncio
import sys
from pathlib import Path

import pytest

from depthcast.runtime.deployment import local_deployment
from tests.environment import without_settings

LIMIT = 100
"""Entries of each file that every run replays; the deep test replays all of them."""

FIGURES = {
    "spot_btcusdt_20240808.gz": ("best prices", 3449, 99),
    "spot_ethusdt_20240808.gz": ("best prices", 3432, 99),
    "cm_ethusd_perp_20240808.gz": ("best prices", 22887, 99),
    "KRAKEN.ws.50.0": ("checksums", 4269, 90),
    "OKX.ws.1.0": ("checksums", 290, 100),
    "BITGET.ws.1.0": ("checksums", 443, 100),
    "BINANCE.ws.1.0": ("best prices", 159, 84),
    "DERIBIT.ws.1.0": ("best prices", 43, 43),
    "COINBASE.ws.28.0": ("best prices", 97, 3),
    "BITMEX.ws.1.0": ("best prices", 426, 19),
}
"""What is compared, how often in the whole file, and how often in its first `LIMIT` entries."""

LONG = ("cm_ethusd_perp_20240808.gz", "BITMEX.ws.1.0")
GROUPS = {"long": LONG, "others": tuple(name for name in FIGURES if name not in LONG)}
"""Each group is replayed into one deployment, so no two files of a group have a symbol in common."""


def expected(name: str, *, whole: bool) -> str:
    """The first line that replay prints of a file."""
    what, of_all, of_some = FIGURES[name]
    count = of_all if whole else of_some
    ends = f"{count}/{count} {what} at the WebSocket client, {count}/{count} at the stream consumer"
    return f"{name}: {ends}, 0 merged"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["first", "all"])
@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
async def test_every_state_agrees_at_both_ends(
    recorded_data: Path, redis_url: str, prefix: str, names: tuple[str, ...], whole: bool
) -> None:
    ingestor = {"interval_ms": 0}
    async with local_deployment(
        "", redis_url=redis_url, prefix=prefix, partitions=4, ingestor=ingestor
    ) as deployment:
        words = ["--prefix", prefix, "--gateway-url", deployment.gateway_url, "--register", "--verify"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "depthcast", "feed", "replay", *words),
            *([] if whole else ["--limit", str(LIMIT)]),
            *(str(recorded_data / name) for name in names),
            stdout=asyncio.subprocess.PIPE,
            env=without_settings() | {"DEPTHCAST_REDIS_URL": redis_url},  # it may have credentials
        )
        output, _ = await process.communicate()
        deployment.check()
    lines = [line for line in output.decode().splitlines() if not line.startswith(" ")]
    assert [line.partition(" (")[0] for line in lines] == [expected(name, whole=whole) for name in names]
    assert process.returncode == 0
