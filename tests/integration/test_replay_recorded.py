"""The recorded files through a whole deployment, compared with their own oracles after every message."""

import asyncio
import sys
from pathlib import Path

import pytest

from depthcast.runtime.deployment import local_deployment
from tests.environment import without_settings

FIGURES = {
    "spot_btcusdt_20240808.gz": "3449/3449 best prices at the WebSocket client, 3449/3449",
    "spot_ethusdt_20240808.gz": "3432/3432 best prices at the WebSocket client, 3432/3432",
    "cm_ethusd_perp_20240808.gz": "22887/22887 best prices at the WebSocket client, 22887/22887",
    "KRAKEN.ws.50.0": "4269/4269 checksums at the WebSocket client, 4269/4269",
    "OKX.ws.1.0": "290/290 checksums at the WebSocket client, 290/290",
    "BITGET.ws.1.0": "443/443 checksums at the WebSocket client, 443/443",
    "BINANCE.ws.1.0": "159/159 best prices at the WebSocket client, 159/159",
    "DERIBIT.ws.1.0": "43/43 best prices at the WebSocket client, 43/43",
    "COINBASE.ws.28.0": "97/97 best prices at the WebSocket client, 97/97",
    "BITMEX.ws.1.0": "426/426 best prices at the WebSocket client, 426/426",
}
LONG = ("cm_ethusd_perp_20240808.gz", "BITMEX.ws.1.0")
GROUPS = {"long": LONG, "others": tuple(name for name in FIGURES if name not in LONG)}
"""Each group is replayed into one deployment, so no two files of a group have a symbol in common."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
async def test_every_state_agrees_at_both_ends(
    recorded_data: Path, redis_url: str, prefix: str, names: tuple[str, ...]
) -> None:
    ingestor = {"interval_ms": 0}
    async with local_deployment(
        "", redis_url=redis_url, prefix=prefix, partitions=4, ingestor=ingestor
    ) as deployment:
        words = ["--prefix", prefix, "--gateway-url", deployment.gateway_url, "--register", "--verify"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "depthcast", "feed", "replay", *words),
            *(str(recorded_data / name) for name in names),
            stdout=asyncio.subprocess.PIPE,
            env=without_settings() | {"DEPTHCAST_REDIS_URL": redis_url},  # it may have credentials
        )
        output, _ = await process.communicate()
        deployment.check()
    lines = [line for line in output.decode().splitlines() if not line.startswith(" ")]
    assert [line.partition(" (")[0] for line in lines] == [
        f"{name}: {FIGURES[name]} at the stream consumer, 0 merged" for name in names
    ]
    assert process.returncode == 0
