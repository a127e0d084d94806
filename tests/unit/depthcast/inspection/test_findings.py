"""Each thing that is wrong is found, with its remedy, and nothing in a healthy deployment."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from depthcast.ingestor.rejects import Reason
from depthcast.inspection.findings import CHECKS, findings
from depthcast.inspection.reject_remedies import REMEDIES
from depthcast.inspection.state import (
    DeploymentState,
    GatewayState,
    ListedGateway,
    MisplacedKey,
    PartitionState,
    RefusedProbe,
)
from depthcast.shared.gateway_entry import GatewayEntry
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.position import Position
from depthcast.shared.relay_entry import RelayEntry
from depthcast.shared.server_health import CHECKS as SERVER_CHECKS
from depthcast.shared.types import EntryInfo, Symbol
from depthcast.shared.version import VERSION

NOW_MS = 1_769_904_000_000
INFO = EntryInfo(NOW_MS * 1000, "0-0", 1, 0, 0)


def partition() -> PartitionState:
    return PartitionState(
        0, "leader-1", 1500, Position(NOW_MS - 60_000, 9), INFO, 50, 0, Position(NOW_MS - 10, 0), 0, 0
    )


def healthy() -> DeploymentState:
    return DeploymentState(
        "redis://127.0.0.1:6379/0",
        "depthcast",
        DeploymentKeys("depthcast"),
        now_ms=NOW_MS,
        protocol=1,
        partitions_count=1,
        instruments={"BTC-USD": Instrument(Symbol("BTC-USD"))},
        ingestors={"leader-1": 0.2},
        partitions=[partition()],
        gateways=[GatewayState("http://127.0.0.1:8080", ready=True, body={})],
        sources={
            "BTC-USD": {"state": "live", "at": NOW_MS * 1000, "feeder": "one"},
            "OLD": {"state": "ended", "at": 1},
        },
        claims={"BTC-USD": "one", "OLD": "another"},
        listings={"BTC-USD": Listing(1, Instrument(Symbol("BTC-USD")))},
        listed_gateways=[
            ListedGateway(entry, 100)
            for entry in (
                ENTRY,
                ENTRY._replace(ready=False, draining=True),
                ENTRY._replace(ready=False, uptime_ms=9),
            )
        ],
    )


ENTRY = GatewayEntry("g", VERSION, "http://g", ready=True, silence_ms=50, uptime_ms=90_000)
LOST = {"replica": "the server is a replica that has lost its master: check the link between them"}
Change = Callable[[DeploymentState], None]


def changed(**values: object) -> Change:
    def change(state: DeploymentState) -> None:
        for name, value in values.items():
            assert hasattr(state, name)
            setattr(state, name, value)

    return change


def of_partition(**values: object) -> Change:
    def change(state: DeploymentState) -> None:
        state.partitions = [replace(state.partitions[0], **values)]  # type: ignore[arg-type]

    return change


def asked(body: dict[str, object]) -> GatewayState:
    return GatewayState("http://a", ready=True, body=body)


def listed(seen_ms: int = 100, **values: object) -> Change:
    entry = ENTRY._replace(**values)  # type: ignore[arg-type]
    return changed(listed_gateways=[ListedGateway(entry, seen_ms)])


def copied(*, at_ms: int = 0, **says: Any) -> Change:
    """The deployment is a copy, without ingestors of its own."""

    def change(state: DeploymentState) -> None:
        state.copy_of = "tokyo"
        state.ingestors = {}
        entry = RelayEntry((NOW_MS + at_ms) * 1000, VERSION, "tokyo", {0: 30})
        state.relays = {"relay-1": entry._replace(**says)}

    return change


WRONG: list[tuple[str, str, str, Change]] = [
    ("deployment", "no deployment", "depthcast ingestor", changed(partitions_count=None, partitions=[])),
    (
        "deployment",
        "no deployment",
        "'eu'",
        changed(partitions_count=None, partitions=[], deployments=["'eu'"]),
    ),
    (
        "deployment",
        "no deployment",
        "db3",
        changed(partitions_count=None, partitions=[], databases={"db3": 1}),
    ),
    ("deployment", "version 2", "same version", changed(protocol=2)),
    ("deployment", "holds", "DEL depthcast:meta", changed(meta_problem="it holds what it should not")),
    ("ingestors", "no ingestor", "depthcast ingestor", changed(ingestors={})),
    (
        "ingestors",
        "no ingestor is running",
        "depthcast ingestor",
        changed(ingestors={"gone": -1.0, "old": 60.0}),
    ),
    ("leader", "no leader", "/readyz", of_partition(leader=None, lease_ms=None)),
    ("leader", "never expires", "DEL {depthcast:0}:leader", of_partition(lease_ms=-1)),
    ("silence", "nothing for 5.0 s", "log", of_partition(age_ms=5001)),
    ("input_lag", "oldest for 5.0 s", "ingestor", of_partition(lag_ms=5001, unread=3)),
    (
        "lost_input",
        "deleted before they were read: 7",
        "send the books",
        of_partition(info=INFO._replace(lost=7)),
    ),
    ("foreign", "no leader wrote", "what writes", of_partition(info=None, age_ms=None)),
    ("clock", "2.0 s ahead of", "NTP", of_partition(clock_ms=2000)),
    ("clock", "2.0 s behind", "NTP", of_partition(clock_ms=-2000)),
    ("ids", "events ends at", "XADD", of_partition(input_end=Position(NOW_MS + 9000, 0))),
    ("ids", "deltas ends at", "clocks", of_partition(position=Position(NOW_MS + 9000, 0))),
    ("instrument", "not a decimal", "HDEL", changed(malformed={"X": "not a decimal"})),
    ("book", "no book yet of BTC-USD", "log", changed(bookless=["BTC-USD"])),
    ("book", "c, d, e and 2 more", "log", changed(bookless=list("abcdefg"))),
    (
        "rejects",
        "crossed lately: 3, such as A in 1-0",
        "atomic",
        of_partition(rejects=Counter({"crossed": 3}), examples={"crossed": "A in 1-0"}),
    ),
    (
        "rejects",
        "invented lately: 1",
        "2.1.3",
        of_partition(rejects=Counter({"invented": 1}), examples={"invented": "A in 1-0"}),
    ),
    ("source", "A: no JSON", "HDEL depthcast:sources A", changed(sources={"A": {"problem": "no JSON"}})),
    (
        "source",
        "nothing for 11 s",
        "start it",
        changed(sources={"A": {"state": "live", "at": (NOW_MS - 11_000) * 1000}}),
    ),
    (
        "source",
        "nothing for 4 s",
        "start it",
        changed(
            sources={"A": {"state": "gone", "reason": "unfed", "feeder": "f", "at": (NOW_MS - 4_000) * 1000}},
            claims={"A": "another"},
        ),
    ),
    (
        "source",
        "state doubt: gap",
        "log",
        changed(sources={"A": {"state": "doubt", "reason": "gap", "at": NOW_MS * 1000}}),
    ),
    (
        "gateway",
        "does not answer",
        "start it",
        changed(gateways=[GatewayState("http://a", ready=False, body={}, problem="does not answer")]),
    ),
    ("gateway", "not been live", "log", changed(gateways=[GatewayState("http://a", ready=False, body={})])),
    (
        "gateway",
        "drains",
        "log",
        changed(gateways=[GatewayState("http://a", ready=False, body={"draining": True})]),
    ),
    ("gateway", "a is behind", "lags", changed(gateways=[asked({"silence_ms": 5001})])),
    ("gateway", "lost its master", "INFO replication", changed(gateways=[asked({"redis": LOST})])),
    ("gateway", "g at http://g was last heard of 11 s ago", "300 s", listed(11_000)),
    ("gateway", "g at http://g is not ready", "log", listed(ready=False, uptime_ms=10_001)),
    ("gateway", "g at http://g is behind: its newest entry is 5.0 s old", "lags", listed(silence_ms=5001)),
    ("gateway", "a replica that has lost its master", "INFO replication", listed(failing=("replica",))),
    ("versions", "0.0.1 at http://g", "same version", listed(version="0.0.1")),
    ("relay", "nobody copies tokyo", "depthcast relay", copied(at_ms=-10_001)),
    ("relay", "relay-1 cannot go on: it is full", "log", copied(problem="it is full")),
    (
        "relay",
        "the copy is late: its newest entry of partition 0 is 5.0 s old",
        "tokyo",
        copied(lag_ms={0: 5001}),
    ),
    (
        "gateways",
        "no gateway is running",
        "depthcast gateway --prefix eu",
        changed(gateways=[], listed_gateways=[], options=" --prefix eu"),
    ),
    (
        "listing",
        "in listing 2, and a change waits until it is empty: tick size 0.01 → 1",
        "depthcast instruments set BTC-USD --relist --prefix eu",
        changed(
            listings={"BTC-USD": Listing(2, Instrument(Symbol("BTC-USD"), "0.01"))}, options=" --prefix eu"
        ),
    ),
    (
        "instrument",
        "not a decimal",
        'HSET depthcast:instruments X \'{"tick_size":"0.01"',
        changed(
            malformed={"X": "not a decimal"}, listings={"X": Listing(1, Instrument(Symbol("X"), "0.01"))}
        ),
    ),
    (
        "source",
        "BTC-USD: two feeds: one says that it feeds it, and two writes",
        "end one",
        changed(claims={"BTC-USD": "two"}),
    ),
    (
        "source",
        "one feeds it, but another producer wrote the entry 5-0",
        "start the feed again",
        changed(intruders={"BTC-USD": Position(5, 0)}),
    ),
    (
        "permission",
        "k cannot be read: NOPERM",
        "ACL SETUSER",
        changed(refused=[RefusedProbe("k", "NOPERM", wrong_type=False)]),
    ),
    (
        "type",
        "k holds",
        "DEL k",
        changed(refused=[RefusedProbe("k", "k holds a string: DEL k", wrong_type=True)]),
    ),
    (
        "key",
        "k (1 entry): nobody reads",
        "DEL k",
        changed(misplaced=[MisplacedKey("k", "nobody reads", "DEL k", 1)]),
    ),
    ("type", "k: holds a hash", "DEL k", changed(misplaced=[MisplacedKey("k", "holds a hash", "DEL k")])),
    ("key", "only 9 keys", "--keys-max", changed(all_keys=False, keys_seen=9)),
    *(
        (check, "it is so", "mend it", changed(server={check: "it is so: mend it"}))
        for check in SERVER_CHECKS
    ),
]


def test_a_healthy_deployment_has_no_findings() -> None:
    assert findings(healthy()) == []
    state = healthy()
    copied()(state)
    assert findings(state) == []
    state.partitions[0].leader = None
    assert [finding.problem for finding in findings(state)] == ["partition 0 is not copied"]


@pytest.mark.parametrize(("check", "problem", "remedy", "change"), WRONG)
def test_what_is_wrong_is_found_alone(check: str, problem: str, remedy: str, change: Change) -> None:
    state = healthy()
    change(state)
    found = findings(state)
    assert [finding.check for finding in found] == [check]
    assert problem in found[0].problem
    assert remedy in found[0].remedy


def test_every_check_is_tried_here() -> None:
    assert {check for check, *_ in WRONG} == set(CHECKS)


def test_findings_are_in_the_order_of_the_checks() -> None:
    state = healthy()
    state.malformed = {"X": "bad"}
    state.server = {"clock": "wrong: mend it"}
    state.refused = [RefusedProbe("k", "NOPERM", wrong_type=False)]
    assert [finding.check for finding in findings(state)] == ["clock", "permission", "instrument"]


def test_a_key_that_cannot_be_read_is_not_taken_for_a_missing_one() -> None:
    state = healthy()
    state.refused = [
        RefusedProbe(f"{{depthcast:0}}:{name}", "NOPERM", wrong_type=False) for name in ("leader", "deltas")
    ]
    state.partitions = [replace(partition(), leader=None, lease_ms=None, info=None)]
    assert {finding.check for finding in findings(state)} == {"permission"}


def test_every_reason_for_a_reject_has_its_remedy() -> None:
    assert REMEDIES.keys() == set(Reason)
