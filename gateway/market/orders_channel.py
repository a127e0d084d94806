"""A channel whose clients asked for the number of orders at each level: its own view, history and bytes."""

from collections.abc import Sequence

from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.held_back import Because
from depthcast.gateway.market.orders_view import OrdersView, digests, merge
from depthcast.gateway.market.step import ViewState
from depthcast.gateway.market.view import ViewSource
from depthcast.gateway.protocol.messages import Message, Rows, ViewDelta
from depthcast.gateway.protocol.requests import Resume


class OrdersChannel(Channel):
    """The view of one symbol at one depth, with the number of orders at each level."""

    __slots__ = ()

    orders = True

    def equals(self, state: ViewState, resume: Resume) -> bool:
        """Whether a client's book is the view at `state`: both of its digests have to agree."""
        return digests(state.digest) == (resume.digest, resume.orders_digest)

    def _view_of(self, replica: ViewSource, ts: int) -> OrdersView:
        return OrdersView(replica, self.depth, ts)

    def _merge(self, deltas: Sequence[ViewDelta]) -> ViewDelta:
        return merge(deltas)

    def _message(self, delta: ViewDelta, merged: int, because: Because | None) -> Message:
        digest, orders_digest = digests(delta.digest)
        levels = delta._replace(bids=_levels(delta.bids), asks=_levels(delta.asks), digest=digest)
        message = super()._message(levels, merged, because)
        message["bids"], message["asks"] = _triples(delta.bids), _triples(delta.asks)
        message["orders_digest"] = orders_digest
        return message


def _levels(rows: Rows) -> Rows:
    return [row[:3] for row in rows]


def _triples(rows: Rows) -> list[tuple[int, int, int]]:
    return [(price, new, orders) for price, new, _, orders, _ in rows]
