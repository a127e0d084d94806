"""The stream consumer: books straight from Redis, for services that want no gateway in between.

The rules of reading are those of `depthcast.shared.reader`; the WebSocket client is `depthcast.client`.
"""

from depthcast.consumer.consumer import Consumer, StreamEntry

__all__ = ["Consumer", "StreamEntry"]
