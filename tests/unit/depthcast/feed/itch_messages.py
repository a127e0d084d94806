"""Messages of ITCH 5.0 by the published layout, for tests; none of this is by the library that reads them."""

import struct
from itertools import count

_times = count(1)


def _message(kind: bytes, locate: int, layout: str, *values: int | bytes, at: int | None) -> bytes:
    """Type, stock locate, tracking number, time in ns in six bytes, and the rest by `layout`."""
    time = next(_times) * 1_000_000 if at is None else at
    body = kind + struct.pack(">HH", locate, 0) + time.to_bytes(6, "big") + struct.pack(f">{layout}", *values)
    return struct.pack(">H", len(body)) + body


def system(code: bytes, *, at: int | None = None) -> bytes:
    return _message(b"S", 0, "c", code, at=at)


def directory(stock: bytes, locate: int = 7, *, at: int | None = None) -> bytes:
    values = (b"Q", b"N", 100, b"N", b"C", b"Z ", b"P", b"N", b"N", b"1", b"N", 0, b"N")
    return _message(b"R", locate, "8sccIcc2scccccIc", stock.ljust(8), *values, at=at)


def add(
    order: int, side: bytes, shares: int, price: int, stock: bytes = b"AAPL", locate: int = 7, *,
    mpid: bytes = b"", at: int | None = None,
) -> bytes:  # fmt: skip
    values = (order, side, shares, stock.ljust(8), price)
    if mpid:
        return _message(b"F", locate, "QcI8sI4s", *values, mpid, at=at)
    return _message(b"A", locate, "QcI8sI", *values, at=at)


def executed(order: int, shares: int, locate: int = 7, *, price: int = 0, at: int | None = None) -> bytes:
    if price:
        return _message(b"C", locate, "QIQcI", order, shares, 1, b"Y", price, at=at)
    return _message(b"E", locate, "QIQ", order, shares, 1, at=at)


def cancelled(order: int, shares: int, locate: int = 7, *, at: int | None = None) -> bytes:
    return _message(b"X", locate, "QI", order, shares, at=at)


def deleted(order: int, locate: int = 7, *, at: int | None = None) -> bytes:
    return _message(b"D", locate, "Q", order, at=at)


def replaced(
    order: int, new: int, shares: int, price: int, locate: int = 7, *, at: int | None = None
) -> bytes:
    return _message(b"U", locate, "QQII", order, new, shares, price, at=at)


def trade(locate: int = 7, *, at: int | None = None) -> bytes:
    return _message(b"P", locate, "QcI8sIQ", 0, b"B", 5, b"AAPL    ", 100, 1, at=at)


def halt(locate: int = 7, *, at: int | None = None) -> bytes:
    return _message(b"H", locate, "8scc4s", b"AAPL    ", b"H", b" ", b"T1  ", at=at)
