"""What `depthcast status` shows of a deployment's state; the real thing is in the integration tests."""

import json

from depthcast.cli.status import CONSUMERS_SHOWN, WAITING_SHOWN, shown
from depthcast.inspection.state import DeploymentState, ListedGateway, NamedConsumer
from depthcast.shared.consumer_entry import ConsumerEntry
from depthcast.shared.gateway_entry import GatewayEntry
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.types import Symbol

NOW_MS = 1_769_904_000_000


def state(**values: object) -> DeploymentState:
    made = DeploymentState(
        "redis://127.0.0.1:6379/0", "eu", DeploymentKeys("eu"), now_ms=NOW_MS, options=" --prefix eu"
    )
    for name, value in values.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def lines(shown_state: DeploymentState, *, every_symbol: bool = False) -> list[str]:
    return list(shown(shown_state, every_symbol=every_symbol))


def test_the_listing_of_a_book_is_shown_and_what_waits() -> None:
    symbols = [Symbol(f"S{number}") for number in range(WAITING_SHOWN + 2)]
    waiting = state(
        partitions_count=1,
        instruments={symbol: Instrument(symbol, "0.1", listing=9) for symbol in symbols},
        listings={symbol: Listing(9, Instrument(symbol, "0.01")) for symbol in symbols},
    )
    text = lines(waiting)
    assert (
        "S0: a change waits until its book is empty (tick size 0.01 → 0.1); now: "
        "depthcast instruments set S0 --relist --prefix eu"
    ) in text
    assert "2 more changes wait: --symbols shows them" in text
    assert sum("a change waits until" in line for line in text) == WAITING_SHOWN
    text = lines(waiting, every_symbol=True)
    (row,) = [line.split() for line in text if line.startswith("S11 ")]
    assert row[:5] == ["S11", "0", "9", "0.01", "1"], "the sizes that count"
    assert " ".join(row[-7:]) == "a change waits for an empty book"
    listed = json.loads(json.dumps(waiting.to_json()))["instruments"]["S0"]
    assert (listed["tick_size"], listed["listed"]["tick_size"], listed["listing"]) == ("0.1", "0.01", 9)


def test_a_symbol_without_a_listing_is_shown_as_registered() -> None:
    text = lines(state(instruments={"NEW": Instrument(Symbol("NEW"), "0.5")}), every_symbol=True)
    (row,) = [line for line in text if line.startswith("NEW ")]
    assert row.split()[:4] == ["NEW", "–", "–", "0.5"]
    assert row.endswith("waits for a leader")


def test_who_was_not_heard_of_for_long_is_not_shown_as_running() -> None:
    text = lines(state(ingestors={"one": 0.3, "two": 77.4, "left": -1.0}))
    assert "ingestors: one, two (last heard of 77 s ago)" in text


def test_gateways_are_counted_with_the_clients_of_those_that_run() -> None:
    entry = GatewayEntry(
        "gw", "1.0", "http://gw", 3, ready=True, clients=5, silence_ms=20_000, uptime_ms=7000
    )
    late = ListedGateway(entry._replace(id="late"), 11_000)
    text = lines(state(listed_gateways=[ListedGateway(entry, 80), late]))
    assert "gateways: 2 listed, 5 clients" in text
    (row,) = [line for line in text if line.startswith("gw (worker 3)")]
    assert row.split()[3:] == [
        "http://gw", "1.0", "ready", "5", "0", "0", "20", "s", "ago", "0", "ms", "–", "7", "s",
        "80", "ms", "ago",
    ]  # fmt: skip
    assert any(line.startswith("late ") and " late " in line for line in text)
    assert "gateways: none listed, 0 clients" in lines(state())


def test_how_far_the_replicas_of_a_gateway_are_behind() -> None:
    entry = GatewayEntry("gw", "1.0", "http://gw", replica_lag_ms={"0": 12, "1": None})
    many = entry._replace(id="many", replica_lag_ms=dict.fromkeys(map(str, range(6)), 3))
    found = state(listed_gateways=[ListedGateway(entry, 80), ListedGateway(many, 80)])
    text = "\n".join(lines(found))
    assert "0: 12 ms, 1: ? ms" in text
    assert "3: 3 ms and 2 more" in text
    assert '"replica_lag_ms": {"0": 12, "1": null}' in json.dumps(found.to_json())


def consumer(name: str, lag_ms: dict[int, int | None]) -> NamedConsumer:
    return NamedConsumer(name, ConsumerEntry((NOW_MS - 2_500) * 1000, "1.0", lag_ms), NOW_MS * 1000)


def test_consumers_are_shown_with_the_lag_of_their_slowest_partition() -> None:
    found = state(consumers=[consumer("archive", {1: 40, 0: 30, 2: None}), consumer("new", {0: None})])
    text = lines(found)
    assert "consumers: 2 with a name" in text
    rows = [line.split() for line in text if line.startswith(("archive", "new"))]
    # It has delivered nothing that we know of since it was heard of.
    assert rows == [
        ["archive", "1.0", "2540", "ms", "1", "3", "–", "2500", "ms", "ago"],
        ["new", "1.0", "–", "–", "1", "–", "2500", "ms", "ago"],
    ]
    listed = json.loads(json.dumps(found.to_json()))["consumers"]
    assert listed[0] == {
        "name": "archive", "version": "1.0", "seen_ms": 2500, "lag_ms": {"0": 2530, "1": 2540, "2": None},
        "replica_lag_ms": {},
    }  # fmt: skip
    assert not any(line.startswith("consumer") for line in lines(state()))


def test_a_consumer_that_reads_from_replicas_is_shown_with_their_lag_by_partition() -> None:
    reading = consumer("risk", {0: 5, 1: 6})
    reading = reading._replace(entry=reading.entry._replace(replica_lag_ms={1: None, 0: 12}))
    found = state(consumers=[reading])
    (row,) = [line for line in lines(found) if line.startswith("risk")]
    assert "0: 12 ms, 1: ? ms" in row
    assert found.to_json()["consumers"][0]["replica_lag_ms"] == {"0": 12, "1": None}


def test_more_consumers_than_are_shown_and_what_no_consumer_wrote() -> None:
    many = [consumer(f"c{number}", {0: 1}) for number in range(CONSUMERS_SHOWN + 3)]
    others = [f"no name {number}" for number in range(CONSUMERS_SHOWN + 1)]
    text = lines(state(consumers=many, other_consumers=others))
    assert sum(line.startswith("c") and line.endswith(" ago") for line in text) == CONSUMERS_SHOWN
    assert "3 more consumers: --json has them" in text
    (line,) = [line for line in text if "no consumer wrote" in line]
    assert '"no name 99" and 1 more; HDEL them from eu:consumers' in line


def test_a_feeder_that_an_ingestor_found_gone_is_gone() -> None:
    at = (NOW_MS - 4_000) * 1000
    text = lines(state(sources={"A": {"state": "gone", "reason": "unfed", "venue": "toy", "at": at}}))
    (row,) = [line.split() for line in text if line.startswith("A ")]
    assert row[:3] == ["A", "toy", "gone"]
    assert "(was" not in row
    assert row[-1] == "unfed"
