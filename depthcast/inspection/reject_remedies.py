"""What to do about each reason for which events are rejected."""

from typing import Final

REMEDIES: Final = {
    "poison": "applying this entry ended an ingestor: report it with the record, and do not send it again",
    "too_many_values": "send fewer fields in an entry, or raise DEPTHCAST_ENTRY_VALUES_MAX",
    "too_big": "send smaller entries, or raise DEPTHCAST_ENTRY_BYTES_MAX",
    "bad_options": "_ is a map whose atomic is a boolean and whose listing is a number; nothing of the entry "
    "was applied: send it again",
    "malformed": "a value is an array of events, and an event [op, side, price, quantity, order_id], "
    "with integers",
    "too_many_events": "send smaller arrays, or raise DEPTHCAST_ARRAY_EVENTS_MAX",
    "unknown_symbol": "register the instrument, and wait a second, before its first event",
    "wrong_partition": "the partition is crc32(symbol) mod P: `depthcast partition SYMBOL` prints it",
    "other_listing": "the symbol has another listing than the one named in _: read its sizes again, "
    "`depthcast instruments list` shows them",
    "bad_price": "a price is an integer number of ticks, up to 2^53 - 1",
    "bad_quantity": "a quantity is an integer number of lots; add and reduce need one above 0, and reduce no "
    "more than there is",
    "missing_order_id": "the instrument is an orders feed: give an order id, or use a levels feed",
    "unknown_order": "the order is not there: send clear and the book again in an atomic array",
    "duplicate_order": "the order exists: use update, or send clear and the book again in an atomic array",
    "unknown_level": "there is no level to reduce: send clear and the book again in an atomic array",
    "too_many_orders": "raise DEPTHCAST_ORDERS_MAX, or remove orders that are gone",
    "overflow": "the level would exceed 2^53 - 1 lots: check the lot size",
    "too_many_levels": "raise DEPTHCAST_LEVELS_MAX, or delete levels that are gone",
    "crossed": "the bid would meet the ask: send changes of one moment in one atomic array, or register the "
    "instrument with on_cross = evict",
}
"""Reason → remedy."""

UNKNOWN: Final = "see section 2.1.3 of docs/protocol.md"
