"""What a consumer holds, for conditions that tests wait for."""

from depthcast import Consumer
from depthcast.shared.errors import ClientError


def held_by(consumer: Consumer, symbol: str) -> tuple[int, int] | None:
    """Digest and seq of the consumer's book; None while it has none, as in the moments after its start."""
    try:
        return consumer.digest(symbol), consumer.seq(symbol)
    except ClientError as error:
        if error.code != "no_book":
            raise
        return None
