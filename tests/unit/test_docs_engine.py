"""The commands of the how-to for engines do what its text says, one after the other."""

import re
import shlex
from pathlib import Path

from depthcast.ingestor.engine import Engine
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.types import Symbol

SYMBOL = Symbol("BTC-USD")
TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "engine.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^redis-cli XADD (.*)$", TEXT, re.MULTILINE)]


def test_each_entry_applies_and_changes_the_book_as_said() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(SYMBOL))
    engine.drain()
    seen = []
    for number, (key, name, *fields) in enumerate(COMMANDS, 1):
        assert (key, name) == (DeploymentKeys("depthcast").partition(0).events, "*")
        words = [word.encode() for word in fields]
        engine.apply(f"{number}-0", list(zip(words[::2], words[1::2], strict=True)))
        assert not engine.drain().rejects
        snapshot = engine.snapshot(SYMBOL)
        seen.append((list(snapshot.bids), list(snapshot.asks), engine.doubt(SYMBOL)))
    assert seen == [
        ([6500010, 5], [], None),
        ([6500000, 12], [], None),
        ([6500010, 5], [6500020, 7], None),
        ([6500010, 5], [6500020, 7], "engine restarting"),
        ([6500010, 5], [6500020, 7], "engine restarting"),
    ]
