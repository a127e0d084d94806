"""A deliberately naive order book to test the engine against, written from `docs/protocol.md` alone.

It shares no code with the program: it computes everything from plain dicts and lists, tries each event on a
copy, and keeps the copy if the event is valid.
"""

import copy
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgpack

LIMIT = 2**53 - 1
SIDES = ["bid", "ask"]
OPS = ["add", "update", "delete", "reduce", "clear"]


class No(Exception):
    """The event is rejected, with this reason."""


@dataclass
class Result:
    """The result of one array: rejects as (reason, index, count)."""

    applied: int = 0
    ignored: int = 0
    evicted: int = 0
    rejects: list[tuple[str, int, int]] = field(default_factory=list)


@lru_cache(maxsize=1 << 16)
def weight(letter: str, price: int) -> int:
    """The contract's formula for a level, word for word."""
    return crc32(f"{letter}{price}".encode("ascii")) | 1


def brute_digest(levels: dict[str, dict[int, int]]) -> int:
    """The contract's formula for a book, word for word."""
    total = 0
    for side, letter in (("bid", "b"), ("ask", "a")):
        for price, quantity in levels[side].items():
            total += weight(letter, price) * quantity
    return total % 2**32


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(value: Any) -> Any:
    """A float that is an integer, as that integer; everything else as it is."""
    if isinstance(value, float) and value == value // 1 and abs(value) <= LIMIT:
        return int(value)
    return value


def named(value: Any, names: list[str]) -> str:
    if isinstance(value, str) and value in names:
        return value
    if isinstance(value, int) and is_int(value) and 0 <= value < len(names):
        return names[value]
    raise No("malformed")


def id_ok(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return len(value.encode("utf-8")) <= 64
        except UnicodeEncodeError:
            return False
    return is_int(value) and -(2**63) <= value < 2**64


def refuses(raw: bytes) -> bool:
    """Whether this `_` refuses its entry."""
    try:
        if raw[:1] == b"{":
            pairs = json.loads(raw.decode(), object_pairs_hook=tuple)
        else:
            pairs = msgpack.unpackb(raw, raw=False, strict_map_key=False, object_pairs_hook=tuple)
    except (ValueError, msgpack.UnpackException, RecursionError):
        return True
    if not isinstance(pairs, tuple) or len(raw) > 4096 or not all(isinstance(key, str) for key, _ in pairs):
        return True
    known = [(key, value) for key, value in pairs if key in ("atomic", "ts", "stale", "live")]
    said = dict(known)
    if len(said) < len(known) or not all(isinstance(said.get(key, True), bool) for key in ("atomic", "live")):
        return True
    reason = said.get("stale", "a reason")
    right = isinstance(reason, str) and 1 <= len(reason) <= 64
    return not right or (said.get("live", False) and "stale" in said)


def begins_anew(events: Any) -> bool:
    """Whether nothing of a book is left after the first of these events."""
    try:
        first = events[0] if isinstance(events[0], list) else []
        return named(whole(first[0]), OPS) == "clear" and (len(first) == 1 or first[1] is None)
    except (No, IndexError, TypeError):
        return False


def doubt_after(before: str | None, said: dict[str, Any], arrays: list[Any], *, failed: bool) -> str | None:
    """Why a book is in doubt after an entry that says so, and whose events of the symbol are `arrays`."""
    if "stale" in said:
        return str(said["stale"])
    if not said.get("live"):
        return before
    if failed:
        return "rejected"
    return before if before == "rejected" and not any(map(begins_anew, arrays)) else None


class ModelBook:
    """One symbol. `orders`: [id, side, price, quantity]; for a levels feed `volume` is the state instead."""

    def __init__(self, feed: str, on_cross: str) -> None:
        self.feed = feed
        self.evicts = on_cross == "evict"
        self.volume: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        self.orders: list[tuple[Any, str, int, int]] = []
        self.evicted = 0

    def levels(self) -> dict[str, dict[int, int]]:
        """Per side price → quantity."""
        if self.feed == "levels":
            return {side: dict(held) for side, held in self.volume.items()}
        sums: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        for _, side, price, quantity in self.orders:
            sums[side][price] = sums[side].get(price, 0) + quantity
        return sums

    def order_counts(self) -> dict[str, dict[int, int]]:
        """Per side price → number of orders; empty for a levels feed."""
        counts: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        for _, side, price, _ in self.orders:
            counts[side][price] = counts[side].get(price, 0) + 1
        return counts

    def crossed(self) -> bool:
        levels = self.levels()
        return bool(levels["bid"] and levels["ask"]) and max(levels["bid"]) >= min(levels["ask"])

    def apply(self, events: list[Any], *, atomic: bool) -> Result:
        result = Result()
        before = copy.copy(self.__dict__), copy.deepcopy(self.volume), list(self.orders)
        for index, event in enumerate(events):
            try:
                changed = self.attempt(event, check=not atomic or self.evicts)
            except No as no:
                result.rejects.append((str(no), index, len(events) if atomic else 1))
                if atomic:
                    break
                continue
            result.applied += changed
            result.ignored += not changed
        if atomic and not result.rejects and self.crossed():
            result.rejects.append(("crossed", -1, len(events)))
        result.evicted = self.evicted
        if atomic and result.rejects:
            self.__dict__.update(before[0])
            self.volume, self.orders = before[1], before[2]
            result.applied = result.ignored = result.evicted = 0
        self.evicted = 0
        return result

    def attempt(self, event: Any, *, check: bool) -> bool:
        """Apply one event, or raise `No` and change nothing; False if it is ignored."""
        backup = {side: dict(held) for side, held in self.volume.items()}, list(self.orders), self.evicted
        try:
            changed, newer = self.change(event)
            if check and self.crossed():
                self.resolve(*newer)
            for held in self.levels().values():
                assert all(1 <= quantity <= LIMIT for quantity in held.values())
        except No:
            self.volume, self.orders, self.evicted = backup
            raise
        return changed

    def resolve(self, side: str, price: int) -> None:
        """Resolve a crossing: reject the newer volume, or remove the stale levels."""
        if not self.evicts:
            raise No("crossed")
        other = "ask" if side == "bid" else "bid"
        stale = [
            level for level in self.levels()[other] if (level <= price if other == "ask" else level >= price)
        ]
        self.evicted += len(stale)
        for level in stale:
            self.volume[other].pop(level, None)
        self.orders = [order for order in self.orders if not (order[1] == other and order[2] in stale)]

    def change(self, event: Any) -> tuple[bool, tuple[str, int]]:
        """Apply the event without the crossing check; returns (applied, place of the newer volume)."""
        if not isinstance(event, list) or not event:
            raise No("malformed")
        event = [whole(item) for item in event]
        op = named(event[0], OPS)
        side, price, quantity, order_id = (event[1:5] + [None] * 4)[:4]
        if op == "clear":
            for gone in SIDES if side is None else [named(side, SIDES)]:
                self.volume[gone] = {}
                self.orders = [order for order in self.orders if order[1] != gone]
            return True, ("bid", 0)
        if self.feed == "levels":
            return self.change_level(op, side, price, quantity)
        return self.change_order(op, side, price, quantity, order_id)

    def change_level(self, op: str, side: Any, price: Any, quantity: Any) -> tuple[bool, tuple[str, int]]:
        side = named(side, SIDES)
        if not is_int(price) or (op != "delete" and not is_int(quantity)):
            raise No("malformed")
        check_range(op, price, 1 if op == "delete" else quantity)
        held = self.volume[side]
        before = held.get(price, 0)
        if op == "reduce" and before and quantity > before:
            raise No("bad_quantity")
        if op == "reduce" and not before:
            raise No("unknown_level")
        after = amount(op, before, quantity)
        if after > LIMIT:
            raise No("overflow")
        held[price] = after
        if not after:
            del held[price]
        return bool(before or after), (side, price)

    def change_order(
        self, op: str, side: Any, price: Any, quantity: Any, order_id: Any
    ) -> tuple[bool, tuple[str, int]]:
        if op in ("add", "update"):
            side = named(side, SIDES)
        found = [order for order in self.orders if type(order[0]) is type(order_id) and order[0] == order_id]
        if (op in ("add", "update") and not is_int(price)) or (op != "delete" and not is_int(quantity)):
            raise No("malformed")
        if order_id is not None and not id_ok(order_id):
            raise No("malformed")
        if op == "update" and found and found[0][1] != side:
            raise No("malformed")
        check_range(op, price if op in ("add", "update") else 0, 1 if op == "delete" else quantity)
        if op == "reduce" and found and quantity > found[0][3]:
            raise No("bad_quantity")
        if order_id is None:
            raise No("missing_order_id")
        if op != "add" and not found:
            raise No("unknown_order")
        if op == "add" and found:
            raise No("duplicate_order")
        old = found[0] if found else (order_id, side, price, 0)
        moves = op in ("add", "update")
        new = (order_id, old[1], price if moves else old[2], amount(op, old[3], quantity))
        self.orders = [order for order in self.orders if order is not old]
        if new[3]:
            self.orders.append(new)
            if self.levels()[new[1]][new[2]] > LIMIT:
                raise No("overflow")
        return True, (new[1], new[2])


def amount(op: str, before: int, quantity: int) -> int:
    """The quantity after the op, starting from `before`."""
    if op == "delete":
        return 0
    if op == "update":
        return quantity
    return before + quantity if op == "add" else before - quantity


def check_range(op: str, price: int, quantity: int) -> None:
    if abs(price) > LIMIT:
        raise No("bad_price")
    if quantity < 0 or quantity > LIMIT or (quantity == 0 and op in ("add", "reduce")):
        raise No("bad_quantity")
