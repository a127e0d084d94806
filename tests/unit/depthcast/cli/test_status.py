"""What `depthcast status` shows of a deployment's state; the real thing is in the integration tests."""

import json

from depthcast.cli.status import WAITING_SHOWN, shown
from depthcast.inspection.state import DeploymentState, ListedGateway
from depthcast.shared.gateway_entry import GatewayEntry
from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing
from depthcast.shared.types import Symbol

NOW_MS = 1_769_904_000_000


def state(**values: object) -> DeploymentState:
    made = DeploymentState("redis://127.0.0.1:6379/0", "eu", now_ms=NOW_MS, options=" --prefix eu")
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
        "http://gw", "1.0", "ready", "5", "0", "0", "20", "s", "ago", "0", "ms", "7", "s", "80", "ms", "ago",
    ]  # fmt: skip
    assert any(line.startswith("late ") and " late " in line for line in text)
    assert "gateways: none listed, 0 clients" in lines(state())


def test_a_feeder_that_an_ingestor_found_gone_is_gone() -> None:
    at = (NOW_MS - 4_000) * 1000
    text = lines(state(sources={"A": {"state": "gone", "reason": "unfed", "venue": "toy", "at": at}}))
    (row,) = [line.split() for line in text if line.startswith("A ")]
    assert row[:3] == ["A", "toy", "gone"]
    assert "(was" not in row
    assert row[-1] == "unfed"
