"""The faults of a run: kind, time and duration. All are drawn before the run begins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

LATER: Final = "add instrument"
TOGGLE: Final = "toggle instrument"
DAMAGE: Final = ("delete input", "delete snapshots", "delete a checkpoint", "delete deltas", "change a type")
"""What somebody else does to our keys."""

KINDS: Final = {
    "kill ingestor": 5,
    "terminate ingestor": 3,
    "pause ingestor": 5,
    "part ingestor": 4,
    "kill gateway": 2,
    "pause gateway": 2,
    "part gateway": 2,
    "kill consumer": 1,
    "pause consumer": 2,
    "part consumer": 2,
    "kill client": 1,
    "pause client": 2,
    "part client": 2,
    "cut client": 3,
    "cut links": 3,
    "bad links": 5,
    "slow links": 3,
    "late state": 4,
    "restart server": 3,
    "fail over": 4,
    "fill memory": 3,
    "error replies": 5,
    LATER: 1,
    TOGGLE: 10,
    "crash after a seal": 3,
    "lose the tail in place": 7,
    "cut a hole": 6,
    "delete input": 4,
    "delete snapshots": 4,
    "delete a checkpoint": 3,
    "delete deltas": 4,
    "change a type": 6,
}
"""How often each kind is drawn, relative to the others."""

CUT_OFF: Final = "cut a node off"
TWO_MASTERS: Final = "let a slot have two masters"
OF_A_CLUSTER: Final = {
    "move a slot": 6,
    "move a slot and back": 3,
    "replace a node": 4,
    CUT_OFF: 4,
    TWO_MASTERS: 6,
}
"""The same of faults that only a cluster has: some of them are added to the others."""

OF_A_REPLICA: Final = {
    "freeze the replica": 3,
    "restart the replica": 3,
    "promote the replica": 3,
    "cut from the replica": 2,
}
"""The same of what happens to a replica that is read from."""

FLUSH: Final = "flush"
UNTELLABLE: Final = ("fail over", LATER, TOGGLE, "lose the tail in place", "crash after a seal", *DAMAGE)
"""Together with a flush, nothing that is left tells what must become of the input."""
DELETED: Final = "delete input"
LOSES_NODES: Final = ("replace a node", CUT_OFF, TWO_MASTERS)
UNREPLAYABLE: Final = ("late state", "fail over", "lose the tail in place", *LOSES_NODES)
"""If input is deleted that a leader had read, and its next checkpoint is lost by these, nobody can replay it:
the partition is refused until somebody restores it (`docs/operations.md`).
"""


@dataclass(frozen=True)
class Fault:
    """`kind` strikes `at_s` after the beginning, for `lasts_s`; `choice` (0 to 1) selects the victim."""

    kind: str
    at_s: float
    lasts_s: float
    choice: float


def draw_cluster_faults(
    rng: Random, first_s: float, last_s: float, others: Sequence[Fault] = ()
) -> list[Fault]:
    """The faults of one run that only a cluster has, beside `others`."""
    kinds = rng.choices(list(OF_A_CLUSTER), weights=list(OF_A_CLUSTER.values()), k=rng.randint(1, 5))
    if any(fault.kind == DELETED for fault in others):
        kinds = [kind for kind in kinds if kind not in UNREPLAYABLE]
    return [_drawn(rng, kind, first_s, last_s) for kind in kinds]


def _drawn(rng: Random, kind: str, first_s: float, last_s: float) -> Fault:
    lasts_s = rng.choice((0.05, 0.2, 0.5, 1.0))
    return Fault(kind, rng.uniform(first_s, last_s), lasts_s * (0.5 + rng.random()), rng.random())


def draw_replica_faults(rng: Random, first_s: float, last_s: float) -> list[Fault]:
    """The faults of one run that only a replica has; they last longer, so that readers notice."""
    kinds = rng.choices(list(OF_A_REPLICA), weights=list(OF_A_REPLICA.values()), k=rng.randint(1, 4))
    drawn = [_drawn(rng, kind, first_s, last_s) for kind in kinds]
    return [replace(fault, lasts_s=2 * fault.lasts_s) for fault in drawn]


def draw_faults(rng: Random, first_s: float, last_s: float, *, flush: bool) -> list[Fault]:
    """The faults of one run, in order.

    `flush`: one of them deletes everything.
    """
    kinds = {kind: weight for kind, weight in KINDS.items() if not (flush and kind in UNTELLABLE)}
    chosen = rng.choices(list(kinds), weights=list(kinds.values()), k=rng.randint(2, 9))
    if DELETED in chosen:
        chosen = [kind for kind in chosen if kind not in UNREPLAYABLE]
    if flush:
        chosen.insert(rng.randint(0, len(chosen)), FLUSH)
    faults = [
        Fault(
            kind,
            rng.uniform(first_s, last_s),
            rng.choice((0.05, 0.2, 0.5, 1.0)) * (0.5 + rng.random()),
            rng.random(),
        )
        for kind in chosen
    ]
    return sorted(faults, key=lambda fault: fault.at_s)
