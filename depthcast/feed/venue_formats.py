"""The formats of venues' own messages: how each venue's recordings are told, and which adapter reads them."""

from collections.abc import Callable
from typing import Final

from depthcast.feed.entry import Format
from depthcast.feed.tickers import Rule
from depthcast.feed.venue import Venue
from depthcast.feed.venue_recordings import marks, venue_format
from depthcast.feed.venues import (
    binance,
    bitget,
    bitmex,
    bybit,
    coinbase,
    coinbase_exchange,
    deribit,
    kraken,
    kraken_v1,
    okx,
)

_HOW: Final = "One message a line, alone, after its time, or in a capture; plain or gzip."
_CHECKSUMS: Final = "checksums"
_PRICES: Final = "best prices"


def _always(venue: Venue) -> Callable[[bytes], Venue]:
    return lambda _: venue


def _binance(message: bytes) -> Venue:
    """Futures name the previous update as pu, coin-margined ones also their pair."""
    if b'"pu"' not in message:
        return binance.SPOT
    return binance.COINM if b'"ps"' in message else binance.USDM


VENUES: Final[tuple[Format, ...]] = (
    venue_format(
        "binance",
        "Binance depth streams: spot, USD-M and COIN-M futures",
        '1723161255100000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,'
        '"s":"BTCUSDT","U":101,"u":102,"b":[["61837.63","6"]],"a":[]}}',
        marks(
            rb'"e"\s*:\s*"depthUpdate"',
            rb'"s"KEY',
            rb"binance\.com|binance\.us|binance\.vision",
            rb'"stream"\s*:\s*"[^"]+@|"lastUpdateId"\s*:|"e"\s*:\s*"(?:bookTicker|aggTrade|trade|24hrTicker)"',
        ),
        _binance,
        how=f"{_HOW} The answers to /depth must be among them, or in X.http.* beside X.ws.*.",
        oracle=_PRICES,
    ),
    venue_format(
        "bybit",
        "Bybit v5 order book",
        '{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT",'
        '"b":[["30247.20","30.028"]],"a":[],"u":177400507,"seq":66544703342},"cts":1687940967464}',
        marks(
            rb'"topic"\s*:\s*"orderbook\.',
            rb'"s"KEY',
            rb"bybit\.com|bytick\.com",
            rb'"topic"\s*:\s*"(?:publicTrade|tickers|kline)\.',
        ),
        _always(bybit.SPOT),
        how=_HOW,
    ),
    venue_format(
        "kraken",
        "Kraken WebSocket v2 book",
        '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.1}],'
        '"asks":[],"checksum":3310070434,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
        marks(
            rb'"channel"\s*:\s*"book"\s*,\s*"type"|\A(?=.*"channel"\s*:\s*"book")(?=.*"bids"\s*:\s*\[\s*\{)',
            rb'"symbol"KEY',
            rb"ws\.kraken\.com/v2|ws-auth\.kraken\.com/v2",
        ),
        _always(kraken.VENUE),
        how=_HOW,
        oracle=_CHECKSUMS,
    ),
    venue_format(
        "kraken-v1",
        "Kraken WebSocket v1 book, as in older recordings",
        '1618678135.0: [1,{"b":[["1.50000","1.00000000","1618678134.000000"]],"c":"1186351678"},"book-10",'
        '"XBT/USD"]',
        marks(
            rb'"book-\d+"\s*,',
            rb'"book-\d+"\s*,\s*("(?:[^"\\]|\\.)*")\s*\]\s*\Z',
            rb"ws\.kraken\.com(?!/v2)",
            rb'"channelName"\s*:\s*"|"subscriptionStatus"',
        ),
        _always(kraken_v1.VENUE),
        how=_HOW,
        oracle=_CHECKSUMS,
    ),
    venue_format(
        "coinbase",
        "Coinbase Advanced Trade level2",
        '{"channel":"l2_data","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":1,"events":[{"type":'
        '"update","product_id":"BTC-USD","updates":[{"side":"bid","price_level":"21921.73","new_quantity":"0.5"}]}]}',
        marks(
            rb'"channel"\s*:\s*"l2_data"',
            rb'"product_id"KEY',
            rb"advanced-trade-ws\.coinbase\.com",
            rb'"sequence_num"\s*:',
        ),
        _always(coinbase.VENUE),
        how=_HOW,
        oracle=_PRICES,
    ),
    venue_format(
        "coinbase-exchange",
        "Coinbase Exchange level2",
        '{"type":"l2update","product_id":"BTC-USD","changes":[["buy","61837.63","6"]],'
        '"time":"2021-04-17T16:43:37.000000Z"}',
        marks(
            rb'\A\{(?=.*"product_id"\s*:).*"type"\s*:\s*"(?:snapshot|l2update)"',
            rb'"product_id"KEY',
            rb"ws-feed\.pro\.coinbase\.com|ws-feed\.exchange\.coinbase\.com",
            rb'"type"\s*:\s*"subscriptions"',
        ),
        _always(coinbase_exchange.VENUE),
        how=_HOW,
        oracle=_PRICES,
        rule=Rule.SAME_TIME,
    ),
    venue_format(
        "okx",
        "OKX v5 books",
        '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":'
        '[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":-855196043,"prevSeqId":1,"seqId":2}]}',
        marks(
            rb'\A(?=.*"data"\s*:)(?=.*"arg"\s*:\s*\{\s*"channel"\s*:\s*"books[^"]*"\s*,\s*"instId"\s*:)',
            rb'"instId"KEY',
            rb"okx\.com|okex\.com",
            rb'"arg"\s*:\s*\{\s*"channel"\s*:\s*"[^"]+"\s*,\s*"instId"',
        ),
        _always(okx.VENUE),
        how=_HOW,
        oracle=_CHECKSUMS,
    ),
    venue_format(
        "deribit",
        "Deribit book, raw or 100ms",
        '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-PERPETUAL.100ms","data":{"type":'
        '"change","timestamp":1554373911330,"prev_change_id":297217,"instrument_name":"BTC-PERPETUAL",'
        '"change_id":297218,"bids":[["delete",5041.94,0.0]],"asks":[]}}}',
        marks(
            rb'"channel"\s*:\s*"book\.',
            rb'"instrument_name"KEY',
            rb"deribit\.com",
            rb'"jsonrpc"\s*:\s*"2\.0"',
        ),
        _always(deribit.VENUE),
        how=_HOW,
        oracle=_PRICES,
        rule=Rule.TIME,
    ),
    venue_format(
        "bitget",
        "Bitget books",
        '{"action":"update","arg":{"instType":"SPOT","channel":"books","instId":"BTCUSDT"},"data":[{"asks":[],'
        '"bids":[["27000.0","2.71"]],"checksum":0,"seq":123,"ts":"1695716059516"}]}',
        marks(
            rb'\A(?=.*"data"\s*:)(?=.*"arg"\s*:\s*\{\s*"instType"[^}]*"channel"\s*:\s*"books)',
            rb'"instId"KEY',
            rb"bitget\.com",
            rb'"arg"\s*:\s*\{\s*"instType"',
        ),
        _always(bitget.VENUE),
        how=_HOW,
        oracle=_CHECKSUMS,
    ),
    venue_format(
        "bitmex",
        "BitMEX orderBookL2",
        '{"table":"orderBookL2","action":"update","data":[{"symbol":"XBTUSD","id":8799193300,"side":"Sell",'
        '"size":491901}]}',
        marks(
            rb'"table"\s*:\s*"orderBookL2',
            rb'"symbol"\s*:\s*("[^a-z"\\]+")',  # in small letters, it is the type of a column
            rb"bitmex\.com",
            rb'"table"\s*:\s*"(?:quote|trade|instrument)"',
        ),
        _always(bitmex.VENUE),
        how=_HOW,
        oracle=_PRICES,
        rule=Rule.ORDER,
    ),
)
