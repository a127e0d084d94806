"""Random commands of the kinds that the program uses, on few keys, so that they interact."""

from random import Random

Command = tuple[str | bytes | int, ...]
STREAMS = ("s1", "s2")
OTHERS = ("text", "table", "scores")


def random_command(rng: Random) -> Command:
    """One command, sometimes on a key of the wrong type."""
    kind = rng.choice(MAKERS)
    return kind(rng)


def _id(rng: Random) -> str:
    return rng.choice(
        (f"{rng.randint(0, 9)}-{rng.randint(0, 5)}", f"{rng.randint(0, 40)}", "0-0", "x", "5-x")
    )


def _stream(rng: Random) -> str:
    return rng.choice(STREAMS) if rng.random() > 0.03 else rng.choice(OTHERS)


def _trimming(rng: Random) -> Command:
    strategy = rng.choice(("MAXLEN", "MINID"))
    threshold = rng.randint(0, 12) if strategy == "MAXLEN" else _id(rng)
    return (strategy, *rng.choice(((), ("=",), ("~",))), threshold)


def _xadd(rng: Random) -> Command:
    trimming = _trimming(rng) if rng.random() < 0.2 else ()
    name = rng.choice((f"{rng.randint(1, 40)}-{rng.randint(0, 3)}", f"{rng.randint(1, 40)}-*", _id(rng)))
    fields = [word for _ in range(rng.choice((1, 1, 2))) for word in (rng.choice("ab"), rng.choice("xyz"))]
    return ("XADD", _stream(rng), *trimming, name, *fields[: len(fields) - (rng.random() < 0.02)])


def _xrange(rng: Random) -> Command:
    name = rng.choice(("XRANGE", "XREVRANGE"))
    ends = [rng.choice(("-", "+", _id(rng), f"({_id(rng)}")) for _ in range(2)]
    if rng.random() < 0.5:
        ends = ["-", "+"] if name == "XRANGE" else ["+", "-"]
    return (name, _stream(rng), *ends, *rng.choice(((), ("COUNT", rng.randint(1, 4)))))


def _xread(rng: Random) -> Command:
    keys = rng.sample(STREAMS, rng.randint(1, 2))
    return ("XREAD", "COUNT", rng.randint(1, 5), "STREAMS", *keys, *(_id(rng) for _ in keys))


def _stream_other(rng: Random) -> Command:
    key = _stream(rng)
    return rng.choice(
        [
            ("XTRIM", key, *_trimming(rng)),
            ("XDEL", key, _id(rng)),
            ("XLEN", key),
            ("DEL", key) if rng.random() < 0.1 else ("EXISTS", key, "text"),
        ]
    )


def _text(rng: Random) -> Command:
    key = "text" if rng.random() > 0.05 else rng.choice(("table", "s1"))
    value = rng.choice(("a", "bcd", "efghij", ""))
    return rng.choice(
        [
            ("GET", key),
            ("MGET", "text", "absent", key),
            ("SET", "text", value),
            ("SET", "text", value, "NX"),
            ("SET", "text", value, "XX", "PX", 100_000),
            ("GETRANGE", key, rng.randint(-4, 4), rng.randint(-4, 6)),
            ("DEL", "text", "absent"),
            ("PEXPIRE", "text", 100_000),
            ("PTTL", "absent"),
        ]
    )


def _table(rng: Random) -> Command:
    key = "table" if rng.random() > 0.05 else rng.choice(("text", "s1"))
    name, value = rng.choice("abc"), rng.choice("xyz")
    return rng.choice(
        [
            ("HSET", key, name, value, rng.choice("abc"), value),
            ("HSETNX", key, name, value),
            ("HGET", key, name),
            ("HGETALL", key),
            ("HDEL", key, name, "absent"),
        ]
    )


def _scores(rng: Random) -> Command:
    member, low, high = rng.choice("abcd"), rng.randint(0, 9), rng.choice((5, 9, "+inf", "(7"))
    return rng.choice(
        [
            ("ZADD", "scores", *rng.choice(((), ("NX",), ("XX",))), rng.randint(0, 9), member),
            ("ZRANGE", "scores", rng.randint(-3, 2), rng.randint(-2, 4), "WITHSCORES"),
            ("ZRANGE", "scores", low, high, "BYSCORE"),
            ("ZRANGEBYSCORE", "scores", f"({low}", high),
            ("ZCOUNT", "scores", low, high),
            ("ZREMRANGEBYSCORE", "scores", "-inf", rng.randint(0, 4)),
            ("ZREM", "scores", member),
            ("ZSCORE", "scores", member),
            ("ZCARD", rng.choice(("scores", "absent", "text"))),
        ]
    )


MAKERS = [*[_xadd] * 6, *[_xrange] * 2, *[_xread] * 2, *[_stream_other] * 4, _text, _table, _scores]
