"""The WebSocket client and the stream consumer for programs without asyncio: scripts, notebooks, threads.

    from depthcast.sync import connect

    with connect("http://127.0.0.1:8080") as client:
        client.subscribe("BTC-USD")
        for update in client:
            print(update.symbol, update.book.prices(1))

They have the methods of `depthcast.Client` and `depthcast.Consumer`, without `await`. Books that they return
are copies.
"""

from depthcast.sync.client import Client, connect
from depthcast.sync.consumer import Consumer

__all__ = ["Client", "Consumer", "connect"]
