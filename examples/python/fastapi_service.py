"""Serves the newest books as JSON: GET /books/BTC-USD?depth=5 and GET /health.

It needs `pip install depthcast fastapi uvicorn`, and a running gateway:

    GATEWAY_URL=http://127.0.0.1:8080 SYMBOLS=BTC-USD,ETH-USD python fastapi_service.py
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request

from depthcast import Client, ClientError, connect

DEPTH_MAX = 25


@asynccontextmanager
async def follow_books(app: FastAPI) -> AsyncIterator[None]:
    """Connect when the service starts, and keep the books up to date while it serves."""
    async with connect(os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")) as client:
        await client.subscribe(os.environ.get("SYMBOLS", "*").split(","), depth=DEPTH_MAX)
        app.state.client = client
        following = asyncio.create_task(client.follow())
        yield
        following.cancel()


app = FastAPI(lifespan=follow_books)


@app.get("/books/{symbol}")
async def book(
    request: Request, symbol: str, depth: Annotated[int, Query(ge=1, le=DEPTH_MAX)] = 10
) -> dict[str, Any]:
    """Return the best levels of a book, and whether it is live."""
    client: Client = request.app.state.client
    try:
        levels = client.book(symbol).prices(depth)
    except ClientError as error:
        raise HTTPException(404, f"no book of {symbol}") from error
    return {
        "symbol": symbol,
        "seq": client.seq(symbol),
        "state": client.state(symbol),
        "stale_reason": client.stale_reason(symbol),
        # Text, because a JSON number may lose digits on its way.
        "bids": [[str(price), str(quantity)] for price, quantity in levels.bids],
        "asks": [[str(price), str(quantity)] for price, quantity in levels.asks],
    }


@app.get("/health")
async def health(request: Request) -> dict[str, str]:
    """Return 503 once the client has ended for good; a lost connection is made again and shows in `state`."""
    client: Client = request.app.state.client
    if client.ended is not None:
        raise HTTPException(503, str(client.ended))
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
