"""The stream consumer: books straight from Redis, for services that need no gateway in between.

It reads by the rules of `depthcast.shared.reader`. The WebSocket client is `depthcast.client`.
"""

from depthcast.consumer.consumer import Consumer, StreamEntry

__all__ = ["Consumer", "StreamEntry"]
