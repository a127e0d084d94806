"""Whether a state held for long can still be continued, whatever became of the input log meanwhile."""

from random import Random

import pytest
from redis.asyncio import Redis

from depthcast.ingestor.runtime.recover import input_continues
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import execute
from tests.ingestor_runs import Run

KEYS = DeploymentKeys("continue").partition(0)


class Log:
    """The log on a server, what was ever added to this log, and what a leader has published up to."""

    def __init__(self, client: Redis, rng: Random) -> None:
        self.client, self.rng = client, rng
        self.added: list[Position] = []
        self.there: set[Position] = set()
        self.deleted: set[Position] = set()
        self.published = ZERO
        self.last_ms = 1000

    async def add(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self.last_ms += 1
            self.added.append(Position(self.last_ms, 0))
            self.there.add(self.added[-1])
            await execute(self.client, "XADD", KEYS.events, str(self.added[-1]), "a", "b")

    async def consume(self) -> None:
        self.published = max(self.rng.choice(self.added), self.published) if self.added else ZERO

    async def trim(self) -> None:
        """As a leader does: never the entry that `src` names."""
        upto = [position for position in self.added if position <= self.published]
        if upto:
            first = self.rng.choice(upto)
            self.there -= {position for position in self.there if position < first}
            await execute(self.client, "XTRIM", KEYS.events, "MINID", "=", str(first))

    async def delete(self) -> None:
        """As somebody else does."""
        if self.there:
            entry = self.rng.choice(sorted(self.there))
            if entry > self.published:
                self.there.discard(entry)
                self.deleted.add(entry)
                await execute(self.client, "XDEL", KEYS.events, str(entry))

    async def lose(self) -> None:
        await execute(self.client, "DEL", KEYS.events)
        self.added, self.there, self.deleted, self.published = [], set(), set(), ZERO


@pytest.mark.parametrize("seed", range(12))
async def test_a_state_is_never_continued_where_consumed_input_is_missing(run: Run, seed: int) -> None:
    client = run.client
    await execute(client, "DEL", KEYS.events)
    log = Log(client, Random(seed))
    held: list[tuple[Position, int]] = []
    logs = 0
    for _ in range(20):
        step = log.rng.choices((log.add, log.consume, log.trim, log.delete, log.lose), (6, 5, 3, 2, 0.4))[0]
        await step()
        logs += step == log.lose
        held.append((log.published, logs))
        for src, of in held:
            continues = await input_continues(client, KEYS, src)
            gone = set(log.added) - log.there - log.deleted
            if of == logs:
                assert not continues or not any(src < position for position in gone), src
                assert continues or gone or log.deleted, src
            elif not gone and not log.deleted:
                assert continues, "a new log, of which nothing was consumed"
    assert logs or held[-1][0] > ZERO
