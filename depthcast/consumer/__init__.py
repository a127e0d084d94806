"""The stream consumer: books straight from Redis, for services that do not need a gateway.

It reads by the rules of `depthcast.shared.reader`. The WebSocket client is `depthcast.client`.
"""

from depthcast.consumer.consumer import Consumer
from depthcast.consumer.followed import StreamEntry
from depthcast.consumer.positions import Positions

__all__ = ["Consumer", "Positions", "StreamEntry"]
