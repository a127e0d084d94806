"""An error carries its values for code that catches it, and a text for people who read it."""

import pytest

from depthcast.shared.errors import (
    ClientError,
    CodecError,
    DeploymentMismatch,
    DepthcastError,
    FeedError,
    Fenced,
    InstrumentsError,
    PositionError,
    RecoveryError,
    RedisUnavailable,
    SettingsError,
)


@pytest.mark.parametrize(
    ("error", "values", "text"),
    [
        (
            SettingsError("DEPTHCAST_PORT", "x", "must be an integer"),
            {"name": "DEPTHCAST_PORT", "value": "x", "remedy": "must be an integer"},
            "DEPTHCAST_PORT: 'x' must be an integer",
        ),
        (
            InstrumentsError("BTC", "is wrong"),
            {"symbol": "BTC", "problem": "is wrong"},
            "instrument 'BTC': is wrong",
        ),
        (
            InstrumentsError("", "no TOML"),
            {"symbol": "", "problem": "no TOML"},
            "instruments: no TOML",
        ),
        (
            DeploymentMismatch("partitions", 4, 8),
            {"name": "partitions", "ours": 4, "deployed": 8},
            "partitions is set to 4 here, but the deployment was created with 8; remove the setting or use 8",
        ),
        (CodecError("delta", "is short"), {"what": "delta", "problem": "is short"}, "delta: is short"),
        (PositionError("5"), {"text": "5"}, "'5' is not a stream position such as 1767225600000-0"),
        (RedisUnavailable("refused"), {"problem": "refused"}, "Redis is unavailable: refused"),
        (
            Fenced(3, "5-1", "5-2"),
            {"partition": 3, "expected": "5-1", "found": "5-2"},
            "partition 3: expected the last position 5-1, found 5-2",
        ),
        (
            RecoveryError(3, "no input"),
            {"partition": 3, "problem": "no input"},
            "partition 3 cannot be recovered: no input",
        ),
        (
            FeedError("a.csv", 7, "is bad"),
            {"path": "a.csv", "line": 7, "problem": "is bad"},
            "a.csv, line 7: is bad",
        ),
        (FeedError("a.csv", 0, "is bad"), {"path": "a.csv", "line": 0, "problem": "is bad"}, "a.csv: is bad"),
        (
            ClientError("bad_request", "no such op"),
            {"code": "bad_request", "symbol": None},
            "bad_request: no such op",
        ),
        (
            ClientError("unknown_symbol", "no such symbol", "X"),
            {"code": "unknown_symbol", "symbol": "X"},
            "unknown_symbol: no such symbol (X)",
        ),
    ],
    ids=str,
)
def test_values_and_text(error: DepthcastError, values: dict[str, object], text: str) -> None:
    assert {name: getattr(error, name) for name in values} == values
    assert str(error) == text
