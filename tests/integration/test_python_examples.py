"""The examples in Python, each against a live market."""

import ast
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isawaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from depthcast import Consumer
from tests.ingestor_runs import Run
from tests.integration.python_market import ASK, SYMBOLS, python_market
from tests.waiting import TIMEOUT_S, eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"


def example(name: str) -> Any:
    """The module of an example."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine until the block ends."""
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done(), task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_alert_says_when_a_spread_changes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    module, printed = example("spread_alert"), ""

    def says(line: str) -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return line in printed

    async with (
        python_market(run, moving=False) as market,
        running(module.main(market.gateway.url, ["BTC-USD"], Decimal("0.02"))),
    ):
        # 0.10 of 65000.15 is 0.0154 bps.
        await eventually(lambda: says("BTC-USD: narrow, spread 0.02 bps\n"))
        deletes = [("delete", "ask", ASK + 10 * n) for n in range(5)]
        await market.producer.send("BTC-USD", deletes[:4], atomic=True)
        await eventually(lambda: says("BTC-USD: wide, spread 0.08 bps\n"))
        await market.producer.send("BTC-USD", deletes[4:])
        await eventually(lambda: says("BTC-USD: one side is empty\n"))
        market.gateway.stop()
        await eventually(lambda: says("BTC-USD: stale\n"))


async def test_a_service_answers_with_current_books(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("fastapi_service")
    async with python_market(run, moving=False) as market:
        monkeypatch.setenv("GATEWAY_URL", market.gateway.url)
        monkeypatch.setenv("SYMBOLS", "BTC-USD")
        config = uvicorn.Config(module.app, port=0, log_config=None, lifespan="on", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        async with aiohttp.ClientSession() as http:
            await eventually(lambda: server.started or serving.done())
            port = server.servers[0].sockets[0].getsockname()[1]

            async def get(path: str) -> tuple[int, Any]:
                async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.json()

            async def best() -> list[list[str]] | None:
                status, body = await get("/books/BTC-USD?depth=1")
                assert status == 200
                return body["bids"] if body["state"] == "live" else None

            assert await eventually(best) == [["65000.10", "0.005"]]
            assert (await get("/health")) == (200, {"status": "ok"})
            assert (await get("/books/NOPE"))[0] == 404
            assert (await get("/books/BTC-USD?depth=0"))[0] == 422
            await market.producer.send("BTC-USD", [("update", "bid", "65000.10", "0.006")])

            async def changed() -> bool:
                return await best() == [["65000.10", "0.006"]]

            await eventually(changed)
        server.should_exit = True
        await serving


def recorded(folder: Path) -> list[dict[str, Any]]:
    """All rows of a recording, in the order of its files."""
    import pyarrow.parquet

    files = sorted(folder.glob("*.parquet"))
    return [row for path in files for row in pyarrow.parquet.read_table(path).to_pylist()]


def has_files(folder: Path, count: int) -> bool:
    return len(list(folder.glob("*.parquet"))) >= count


def leads_to(folder: Path, symbol: str, wanted: dict[tuple[str, Decimal], Decimal]) -> bool:
    """Whether the rows of a symbol lead to these levels; no change may be there twice, or be missing."""
    seq, levels, seen = 0, dict[tuple[str, Decimal], Decimal](), set[tuple[object, ...]]()
    for row in recorded(folder):
        if row["symbol"] != symbol:
            continue
        if row["kind"] == "snapshot" and row["seq"] > seq:
            levels.clear()
        assert row["seq"] in (seq, seq + 1) or row["kind"] == "snapshot"
        change = row["seq"], row["kind"], row["side"], row["price"]
        assert change not in seen
        seen.add(change)
        seq = row["seq"]
        levels[row["side"], row["price"]] = row["quantity"]
    return {level: quantity for level, quantity in levels.items() if quantity} == wanted


async def test_a_recorder_that_starts_again_has_every_change_once(run: Run, tmp_path: Path) -> None:
    module, folder = example("parquet_recorder"), tmp_path / "books"
    async with python_market(run) as market:
        for count in (2, 4):
            async with running(module.main(market.redis_url, folder, None, 20, market.prefix)):
                await eventually(partial(has_files, folder, count))
    # The market stands still now.
    async with (
        asyncio.timeout(TIMEOUT_S),
        Consumer(run.url, prefix=run.prefix) as consumer,
        running(module.main(run.url, folder, None, 1, run.prefix)),
    ):
        for symbol in SYMBOLS:
            prices = (await consumer.wait_for(symbol)).prices()
            wanted = {("bid", price): quantity for price, quantity in prices.bids}
            wanted |= {("ask", price): quantity for price, quantity in prices.asks}
            await eventually(partial(leads_to, folder, symbol, wanted))


async def test_the_notebook_runs_from_top_to_bottom(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]

    async def run_cells() -> list[Any]:
        """Run each cell as a notebook does: in a running event loop; returns what their last lines show."""
        names: dict[str, Any] = {"__name__": "__main__"}
        return [await shown(cell, names) for cell in cells]

    async with python_market(run) as market:
        monkeypatch.setenv("GATEWAY_URL", market.gateway.url)
        _, frame, state, sums, quotes, _ = await asyncio.to_thread(lambda: asyncio.run(run_cells()))
    assert list(frame["price"][:1]) == [Decimal("65000.10")]
    assert state[0] == "live"
    assert set(sums.index) == {"bid", "ask"}
    assert quotes.loc["BTC-USD", "spread"] == pytest.approx(0.1)


async def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell; returns the value of its last line, if that is an expression."""
    *body, last = ast.parse(cell).body
    for node in body if isinstance(last, ast.Expr) else [*body, last]:
        await evaluated(ast.Module([node], []), "exec", names)
    return await evaluated(ast.Expression(last.value), "eval", names) if isinstance(last, ast.Expr) else None


async def evaluated(tree: ast.Module | ast.Expression, mode: str, names: dict[str, Any]) -> Any:
    value = eval(compile(tree, "cell", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307
    return await value if isawaitable(value) else value
