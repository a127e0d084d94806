"""A client of an event stream, which reads it as a browser does and checks it as every model client does."""

from typing import Any

from depthcast.gateway.delivery.request_handler import carry_out
from depthcast.gateway.protocol.events import parse_event_id
from depthcast.gateway.protocol.http_head import Head
from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.stream_http import parse_stream
from depthcast.shared.digest import digest_of
from tests.event_source import Event, EventSource
from tests.unit.gateway.model_client import ModelClient
from tests.unit.gateway.small_market import SmallMarket


class StreamClient(ModelClient):
    """Subscribes to what its query says, and offers `last_id` as its `Last-Event-ID`."""

    def __init__(self, market: SmallMarket, query: str, last_id: str = "", *, reads: bool = True) -> None:
        super().__init__(market, Encoding.EVENTS, reads=reads)
        self.query = query
        self.source = EventSource(last_id)
        self.offered = last_id
        self.events: list[Event] = []
        head = Head("GET", f"/v1/stream?{query}", "HTTP/1.1", (("last-event-id", last_id),))
        for _ in carry_out(self.session, parse_stream(head, market.core.settings.subscriptions_max)):
            pass

    def read(self) -> list[dict[str, Any]]:
        new = []
        for event in self.source.feed(bytes(self.writer.taken)):
            self.events.append(event)
            new.append(event.message)
            self._follow(event.message)
            self._check_offer(event.last_id)
        self.writer.taken.clear()
        self.messages += new
        return new

    def _check_offer(self, last_id: str) -> None:
        """What the gateway lets a browser offer is a view that the client holds, not one that has ended."""
        if last_id == self.offered:
            return
        for symbol, state in (parse_event_id(last_id) or {}).items():
            bids, asks = self.views[symbol]
            assert digest_of(bids.items(), asks.items()) == state.digest
            assert self.seqs[symbol] <= state.seq
            assert (state.orders_digest is not None) == (symbol in self.counted)
            if state.orders_digest is not None:
                bids, asks = self.counts[symbol]
                assert digest_of(bids.items(), asks.items()) == state.orders_digest

    def again(self, last_id: str | None = None, *, reads: bool = True) -> "StreamClient":
        """Connect again, as a browser does unless another `last_id` is given; the client keeps its views."""
        self.market.core.close(self.session)
        offered = self.source.last_id if last_id is None else last_id
        new = StreamClient(self.market, self.query, offered, reads=reads)
        new.views = {symbol: (dict(bids), dict(asks)) for symbol, (bids, asks) in self.views.items()}
        new.counts = {symbol: (dict(bids), dict(asks)) for symbol, (bids, asks) in self.counts.items()}
        new.seqs, new.digests = dict(self.seqs), dict(self.digests)
        new.merged_allowed = self.merged_allowed
        return new
