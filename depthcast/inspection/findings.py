"""Decides from a deployment's state what is wrong with it, and says what to do."""

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from depthcast.inspection.keys import quoted
from depthcast.inspection.reject_remedies import REMEDIES, UNKNOWN
from depthcast.inspection.state import SOURCE_MS, DeploymentState, GatewayState, PartitionState
from depthcast.shared.gateway_entry import FORGET_MS
from depthcast.shared.instruments import to_json
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.reply_remedies import remedy_of
from depthcast.shared.version import VERSION

SILENCE_MS: Final = 5_000
"""A leader writes at least once a second."""

LAG_MS: Final = 5_000
"""Books with older unread input are stale by default."""

CLOCK_MS: Final = 1_000
"""Clocks may differ by this much."""

SEEN_S: Final = 5.0
"""An ingestor that was not heard of for longer is not running."""

BEHIND_MS: Final = 5_000
"""A gateway whose newest entry is older than this, while leaders write, is behind."""

STARTING_MS: Final = 10_000
"""A gateway may need so long until its books are live."""

RELAY_MS: Final = 10_000
"""A relay that was not heard of for longer is not running."""

NAMES_SHOWN: Final = 5
"""Of a longer list, only so many are named."""

CHECKS: Final = (
    "version", "persistence", "eviction", "memory", "replica", "clock",
    "permission", "deployment", "ingestors", "relay", "leader", "silence", "input_lag", "lost_input", "ids",
    "foreign", "type", "key", "instrument", "book", "listing", "rejects", "source", "gateway", "gateways",
"versions", )  # fmt: skip
"""All checks, in the order in which their findings are shown."""


class Finding(NamedTuple):
    """One thing that is wrong: the check that found it, what it is, and what to do."""

    check: str
    problem: str
    remedy: str


def findings(state: DeploymentState) -> list[Finding]:
    """Everything that is wrong, in the order of `CHECKS`."""
    found = [
        *_server(state),
        *_permissions(state),
        *_deployment(state),
        *(finding for partition in state.partitions for finding in _partition(state, partition)),
        *_keys(state),
        *_instruments(state),
        *_listings(state),
        *_rejects(state),
        *_sources(state),
        *_gateways(state),
    ]
    return sorted(found, key=lambda finding: CHECKS.index(finding.check))


def _server(state: DeploymentState) -> Iterator[Finding]:
    for check, text in state.server.items():
        if text:
            problem, _, remedy = text.partition(": ")
            yield Finding(check, problem, remedy or problem)


def _permissions(state: DeploymentState) -> Iterator[Finding]:
    for what, problem, wrong_type in state.refused:
        if not wrong_type:
            remedy = f"{remedy_of(problem)}; {what} is not checked"
            yield Finding("permission", f"{what} cannot be read: {problem}", remedy)


def _deployment(state: DeploymentState) -> Iterator[Finding]:
    if state.meta_problem:
        yield Finding(
            "deployment", state.meta_problem, f"DEL {state.prefix}:meta; an ingestor writes it again"
        )
    elif state.protocol is not None and state.protocol != PROTOCOL:
        yield Finding(
            "deployment",
            f"the deployment uses version {state.protocol} of the contract, this program version {PROTOCOL}",
            "use the same version of Depthcast everywhere",
        )
    elif state.partitions_count is None and not any(probe.what.endswith(":meta") for probe in state.refused):
        yield Finding(
            "deployment", f"there is no deployment with the prefix {state.prefix!r}", _elsewhere(state)
        )
        return
    if state.copy_of is not None:
        yield from _relays(state)
        return
    running = [name for name, seen_s in state.ingestors.items() if 0 <= seen_s <= SEEN_S]
    if not running and not any(probe.what.endswith(":ingestors") for probe in state.refused):
        yield Finding("ingestors", "no ingestor is running", f"start one: depthcast ingestor{state.options}")


def _relays(state: DeploymentState) -> Iterator[Finding]:
    """What is wrong with who writes a copy."""
    running = {name: relay for name, relay in state.relays.items() if state.relay_age_ms(name) <= RELAY_MS}
    if not running and not state.unreadable(f"{state.prefix}:relays"):
        yield Finding(
            "relay",
            f"nobody copies {state.copy_of}: no relay is running",
            "start one: depthcast relay; books are stale meanwhile",
        )
    for name, relay in running.items():
        if relay.problem:
            yield Finding("relay", f"{name} cannot go on: {relay.problem}", "look at its log and at /readyz")
        late = {number: ms for number, ms in relay.lag_ms.items() if ms is not None and ms > SILENCE_MS}
        if late:
            number, ms = max(late.items(), key=lambda each: each[1])
            yield Finding(
                "relay",
                f"the copy is late: its newest entry of partition {number} is {ms / 1000:.1f} s old",
                f"depthcast doctor at the source, {state.copy_of}; look at the network between both servers",
            )


def _elsewhere(state: DeploymentState) -> str:
    """Where a deployment may be instead."""
    if state.deployments:
        return f"use --prefix: there are {_some(state.deployments)}; or start an ingestor with this one"
    if state.databases:
        others = _some(list(state.databases))
        return f"start an ingestor, or use another database in --redis-url: {others} have keys"
    return f"start an ingestor: depthcast ingestor{state.options}; or check --redis-url and --prefix"


def _partition(state: DeploymentState, partition: PartitionState) -> Iterator[Finding]:
    number, name = partition.number, f"partition {partition.number}"
    tag = state.keys.partition(number).tag
    unreadable = {probe.what for probe in state.refused}
    if partition.leader is None and f"{tag}:leader" not in unreadable and state.copy_of is not None:
        yield Finding(
            "leader", f"{name} is not copied", "start a relay; if one is running, its log says why not"
        )
    elif partition.leader is None and f"{tag}:leader" not in unreadable:
        yield Finding(
            "leader",
            f"{name} has no leader: nobody reads its input",
            "start an ingestor; if one is running, its /readyz and its log say why it does not lead",
        )
    elif partition.lease_ms == -1:
        yield Finding("leader", f"{name}: the lease of {partition.leader} never expires", f"DEL {tag}:leader")
    if partition.age_ms is not None and partition.age_ms > SILENCE_MS and partition.leader is not None:
        yield Finding(
            "silence",
            f"{name}: {partition.leader} has written nothing for {partition.age_ms / 1000:.1f} s",
            "look at its log; books are stale meanwhile",
        )
    if partition.lag_ms is not None and partition.lag_ms > LAG_MS:
        waiting = "" if partition.unread is None else f"entries that wait: {partition.unread}, "
        yield Finding(
            "input_lag",
            f"{name}: {waiting}the oldest for {partition.lag_ms / 1000:.1f} s",
            "start an ingestor, send less, or use more partitions and ingestors",
        )
    if partition.info is not None and partition.info.lost:
        yield Finding(
            "lost_input",
            f"{name}: entries of input that were deleted before they were read: {partition.info.lost}",
            "find out who trims events, and send the books again; the count stays",
        )
    if partition.position is not None and partition.info is None and f"{tag}:deltas" not in unreadable:
        yield Finding(
            "foreign", f"{name}: no leader wrote the newest entry of deltas", "find out what writes there"
        )
    yield from _clocks(state, partition, name, tag)


def _clocks(state: DeploymentState, partition: PartitionState, name: str, tag: str) -> Iterator[Finding]:
    if partition.clock_ms is not None and abs(partition.clock_ms) > CLOCK_MS and partition.age_ms is not None:
        word = "ahead of" if partition.clock_ms > 0 else "behind"
        yield Finding(
            "clock",
            f"{name}: the clock of its leader is {abs(partition.clock_ms) / 1000:.1f} s {word} the server's",
            "synchronise both, for example by NTP",
        )
    for what, end in (("deltas", partition.position), ("events", partition.input_end)):
        if end is not None and end.epoch > state.now_ms + CLOCK_MS:
            ahead_s = (end.epoch - state.now_ms) / 1000
            yield Finding(
                "ids",
                f"{tag}:{what} ends at {end}, which is {ahead_s:.0f} s ahead of the server's clock",
                "let the server give the ID (XADD key *)"
                if what == "events"
                else "set the clocks right, and see 'A clock that was ahead' in docs/operations.md",
            )


def _keys(state: DeploymentState) -> Iterator[Finding]:
    for what, problem, wrong_type in state.refused:
        if wrong_type:
            yield Finding(
                "type", problem.partition(": ")[0], f"find out what wrote it, then DEL {quoted(what)}"
            )
    wrong_types = {probe.what for probe in state.refused if probe.wrong_type}
    for name, problem, remedy, entries in state.misplaced:
        if name not in wrong_types:
            held = "" if entries is None else f" ({entries} {'entry' if entries == 1 else 'entries'})"
            check = "type" if problem.startswith("holds ") else "key"
            yield Finding(check, f"{name}{held}: {problem}", remedy)
    if not state.all_keys:
        yield Finding(
            "key",
            f"only {state.keys_seen} keys were looked at",
            "look at more with --keys-max, or use a server",
        )


def _instruments(state: DeploymentState) -> Iterator[Finding]:
    for symbol, problem in state.malformed.items():
        yield Finding("instrument", problem, _mend(state, symbol))
    if state.bookless and state.partitions_count is not None:
        yield Finding(
            "book",
            f"no book yet of {_some(state.bookless)}",
            "an ingestor makes it within a second of registration: see its log",
        )


def _mend(state: DeploymentState, symbol: str) -> str:
    """How to mend a malformed instrument: the value that keeps its book, if there is one."""
    key, listing, name = f"{state.prefix}:instruments", state.listings.get(symbol), quoted(symbol)
    if listing is None or listing.withdrawn:
        return f"HDEL {key} {name}, then register it: depthcast instruments add"
    return f"HSET {key} {name} {shlex.quote(to_json(listing.instrument))} keeps its book as it is"


def _rejects(state: DeploymentState) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for partition in state.partitions:
        counts.update(partition.rejects)
        examples = {**partition.examples, **examples}
    for reason, count in counts.most_common():
        text = f"events rejected as {reason} lately: {count}, such as {examples[reason]}"
        yield Finding("rejects", text, REMEDIES.get(reason, UNKNOWN))


def _sources(state: DeploymentState) -> Iterator[Finding]:
    for name, source in state.sources.items():
        seen_ms, now = state.source_age_ms(name), source.get("state")
        forget = f"HDEL {state.prefix}:sources {quoted(name)}"
        if source.get("problem"):
            yield Finding("source", f"{name}: {source['problem']}", forget)
        elif now == "ended":
            continue
        elif now == "gone" or seen_ms is None or seen_ms > SOURCE_MS:
            ago = (
                "does not say when it was alive"
                if seen_ms is None
                else f"said nothing for {seen_ms // 1000} s"
            )
            yield Finding("source", f"{name}: its feeder {ago}", f"start it again, or {forget}")
        elif now != "live":
            reason = source.get("reason") or "it does not say why"
            yield Finding(
                "source", f"{name}: its feed is in the state {now}: {reason}", "see the feeder's log"
            )
        yield from _second_sources(state, name, str(source.get("feeder")))


def _second_sources(state: DeploymentState, symbol: str, feeder: str) -> Iterator[Finding]:
    if other := state.other_feeder(symbol):
        yield Finding(
            "source",
            f"{symbol}: two feeds: {feeder} says that it feeds it, and {other} writes its input",
            "end one of them: only one feed may run for a symbol",
        )
    elif symbol in state.intruders:
        yield Finding(
            "source",
            f"{symbol}: {feeder} feeds it, but another producer wrote the entry {state.intruders[symbol]}",
            "end that producer or the feed, and start the feed again: it writes the whole book anew",
        )


def _listings(state: DeploymentState) -> Iterator[Finding]:
    if state.partitions_count is None:
        return
    for each in state.registered():
        if each.awaits_empty_book and each.listing is not None:
            yield Finding(
                "listing",
                f"{each.symbol}: its book is in listing {each.listing.number}, and a change waits until it "
                f"is empty: {each.difference}",
                f"depthcast instruments set {each.symbol} --relist{state.options}: it empties the book, so "
                "producers must send it again",
            )


def _gateways(state: DeploymentState) -> Iterator[Finding]:
    for gateway in state.gateways:
        yield from _asked_gateway(state, gateway)
    yield from _listed_gateways(state)
    key = f"{state.prefix}:gateways"
    running = any(not each.problem for each in state.gateways) or any(
        not each.late for each in state.listed_gateways
    )
    if state.partitions_count is not None and not (running or state.unreadable(key)):
        yield Finding(
            "gateways",
            "no gateway is running: no client is served",
            f"start one: depthcast gateway{state.options}; one that may not write to {key} is not listed: "
            "name it with --gateway-url",
        )
    yield from _versions(state)


def _asked_gateway(state: DeploymentState, gateway: GatewayState) -> Iterator[Finding]:
    body = gateway.body
    if gateway.problem:
        yield Finding("gateway", f"{gateway.url}: {gateway.problem}", "start it, or correct --gateway-url")
        return
    if not gateway.ready:
        why = "it drains" if body.get("draining") else "its books have not been live yet"
        yield Finding("gateway", f"{gateway.url} is not ready: {why}", "see its log")
    silence_ms, failing = body.get("silence_ms"), body.get("redis")
    if isinstance(failing, dict) and "replica" in failing:
        yield Finding("gateway", f"{gateway.url}: {failing['replica']}", _REPLICA)
    elif isinstance(silence_ms, int) and _is_behind(state, silence_ms):
        yield _behind(gateway.url, silence_ms)


def _listed_gateways(state: DeploymentState) -> Iterator[Finding]:
    key = f"{state.prefix}:gateways"
    for each in state.listed_gateways:
        entry, name = each.entry, f"{each.entry.id} at {each.entry.address}"
        if each.late:
            yield Finding(
                "gateway",
                f"{name} was last heard of {each.seen_ms // 1000} s ago",
                f"start it again; if it runs, its log says why it cannot write to {key}. After "
                f"{FORGET_MS // 1000} s it is forgotten",
            )
        elif entry.draining:
            continue
        elif "replica" in entry.failing:
            yield Finding("gateway", f"{name}: its server is a replica that has lost its master", _REPLICA)
        elif _is_behind(state, entry.silence_ms):
            yield _behind(name, entry.silence_ms)
        elif not entry.ready and entry.uptime_ms > STARTING_MS:
            yield Finding("gateway", f"{name} is not ready: its books have not been live yet", "see its log")


def _is_behind(state: DeploymentState, silence_ms: int) -> bool:
    """Whether a gateway lacks entries that leaders have written."""
    ages = [partition.age_ms for partition in state.partitions]
    return silence_ms > BEHIND_MS and bool(ages) and all(age is not None and age < BEHIND_MS for age in ages)


def _behind(name: str, silence_ms: int) -> Finding:
    return Finding(
        "gateway",
        f"{name} is behind: its newest entry is {silence_ms / 1000:.1f} s old, though leaders write",
        f"it reads a replica that lags, or has too much to do: {_REPLICA}",
    )


_REPLICA: Final = (
    "compare master_repl_offset of INFO replication at its server and at the master, and look at its CPU"
)


def _versions(state: DeploymentState) -> Iterator[Finding]:
    running = [each.entry for each in state.listed_gateways if not each.late]
    others = sorted({entry.version for entry in running} - {VERSION})
    if others:
        named = [f"{entry.version} at {entry.address}" for entry in running if entry.version != VERSION]
        yield Finding(
            "versions",
            f"gateways of another version than this program's {VERSION}: {_some(list(dict.fromkeys(named)))}",
            "use the same version of Depthcast everywhere: replace these gateways, or this program",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
