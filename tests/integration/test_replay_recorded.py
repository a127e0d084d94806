"""The recorded files through a whole deployment, compared with their own oracles after every message."""

import asyncio
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_state_agrees_at_both_ends(recorded_data: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", "feed", "replay", "--verify", "--partitions", "4"),
        *(str(recorded_data / name) for name in FIGURES),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    lines = [line for line in output.decode().splitlines() if not line.startswith(" ")]
    assert [line.partition(" (")[0] for line in lines] == [
        f"{name}: {figures} at the stream consumer, 0 merged" for name, figures in FIGURES.items()
    ]
    assert process.returncode == 0
