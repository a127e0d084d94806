"""Depthcast's engine as the ingestor calls it.

    python -m benchmarks.books.keep_depthcast levels|orders LOAD [OPTION ...]

Options: `atomic` makes each batch one unit; a name of `benchmarks.books.without.WITHOUT` leaves that out.
"""

import sys

from benchmarks.books.rounds import serve
from benchmarks.books.without import WITHOUT
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.limits import UNLIMITED
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol

NAME = b"BTC-USD"
ATOMIC = (b"_", b'{"atomic":true}')
EPOCH = 1_767_225_600_001


def main(feed: str, load: str, *words: str) -> None:
    """Serve rounds; nothing may be refused."""
    options = [ATOMIC] if "atomic" in words else []
    for word in WITHOUT.keys() & set(words):
        WITHOUT[word]()
    engine = Engine(0, 1, limits=UNLIMITED)  # the deepest load has as many levels as a book may have, and one
    engine.register(Instrument(Symbol(NAME.decode()), feed=Feed(feed)))
    engine.begin_epoch(EPOCH)

    def drain() -> None:
        interval = engine.drain()
        assert not interval.rejects, interval.rejects[0]

    serve(lambda raw: engine.apply("1-0", [(NAME, raw), *options]), drain, load)


if __name__ == "__main__":
    main(*sys.argv[1:])
