"""Spans of a traced entry, as a collector gets them: of two processes, in one trace."""

import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from depthcast import SettingsError
from depthcast.shared.runtime import traces
from depthcast.shared.runtime.open_telemetry import Traces
from depthcast.shared.trace_identity import identity_of

MS = 1_769_904_000_000
US = MS * 1000
SRC = f"{MS}-0"


def made(tier: str, share: float = 1.0) -> tuple[Traces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return Traces(SimpleSpanProcessor(exporter), tier, "p", share), exporter


def shown(exporter: InMemorySpanExporter) -> list[tuple[str, int, int]]:
    """Name, beginning and end of each span, in µs after `XADD`."""
    spans = exporter.get_finished_spans()
    return [(span.name, at(span.start_time), at(span.end_time)) for span in spans]


def at(ns: int | None) -> int:
    assert ns is not None
    return ns // 1000 - US


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_leader_and_gateway_write_one_trace() -> None:
    leader, led = made("ingestor")
    gateway, delivered = made("gateway")
    leader.publish(3, SRC, US + 2_000, US + 9_000)
    gateway.deliver(3, SRC, (US + 8_000, US + 9_500, US + 11_000))
    assert shown(led) == [("event", 0, 9_000), ("input", 0, 2_000), ("publish", 2_000, 9_000)]
    assert shown(delivered) == [("read", 8_000, 9_500), ("write", 9_500, 11_000)]
    spans = [*led.get_finished_spans(), *delivered.get_finished_spans()]
    identity = identity_of("p", 3, SRC, 1.0)
    assert identity is not None
    contexts = [span.get_span_context() for span in spans]
    assert {context.trace_id for context in contexts if context} == {identity.trace_id}
    assert contexts[0] is not None
    assert contexts[0].span_id == identity.span_id
    assert [parent_of(span) for span in spans] == [None] + [identity.span_id] * 4
    assert len({context.span_id for context in contexts if context}) == 5
    assert spans[0].resource.attributes["service.name"] == "depthcast-ingestor"
    assert dict(spans[4].attributes or {}) == {"depthcast.partition": 3, "depthcast.src": SRC}


def test_what_is_not_sampled_has_no_span() -> None:
    some, exporter = made("gateway", 0.0)
    some.deliver(0, SRC, (US, US, US))
    some.publish(0, SRC, US, US)
    assert shown(exporter) == []


def test_an_entry_whose_id_is_no_time_has_no_span_of_the_leader() -> None:
    some, exporter = made("ingestor")
    some.publish(0, "no id", US, US)
    assert shown(exporter) == []


def test_clocks_that_differ_make_no_span_that_ends_before_it_begins() -> None:
    some, exporter = made("gateway")
    some.deliver(0, SRC, (US + 5_000, US, US + 1))
    assert shown(exporter) == [("read", 5_000, 5_000), ("write", 0, 1)]


def test_an_entry_that_does_not_say_when_it_was_written_is_only_flushed() -> None:
    some, exporter = made("gateway")
    some.deliver(0, SRC, (None, US, US + 1))
    assert shown(exporter) == [("write", 0, 1)]


def test_nothing_is_imported_where_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "depthcast.shared.runtime.open_telemetry", None)
    assert traces.start("gateway", "p", 0.0) is None


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "depthcast.shared.runtime.open_telemetry", None)
    with pytest.raises(SettingsError, match=r"^DEPTHCAST_TRACE_SHARE: 0\.1 needs OpenTelemetry: pip install"):
        traces.start("gateway", "p", 0.1)
