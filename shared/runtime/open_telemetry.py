"""Spans of traced entries, by OpenTelemetry. Import it only where traces are on: it is of the extra `traces`.

One trace is of one input entry, from `XADD` to the sockets of clients. The leader writes its first span, of
the time until its result is published, and the two parts of it; each gateway adds the time from there.
"""

from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from depthcast.shared.input_times import input_ts_of
from depthcast.shared.trace_identity import TraceIdentity, identity_of
from depthcast.shared.version import VERSION

SCOPE: Final = "depthcast"


class _Ids(RandomIdGenerator):
    """Random IDs, but for a span whose identity is given."""

    def __init__(self) -> None:
        self.given: TraceIdentity | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.given is None else self.given.trace_id

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.given is None else self.given.span_id


class Traces:
    """Writes the spans of one process. All times are µs since 1970.

    `share`: of all entries that are traced. `tier` and `instance` name the process.
    """

    def __init__(self, processor: SpanProcessor, tier: str, prefix: str, share: float) -> None:
        self.prefix = prefix
        self.share = share
        self._ids = _Ids()
        resource = Resource.create({"service.name": f"depthcast-{tier}", "service.version": VERSION})
        # Nobody waits for a collector when the process ends; the last spans may be lost.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SCOPE, VERSION)

    def publish(self, partition: int, src: str, consumed_us: int, published_us: int) -> None:
        """A leader has published an entry whose last input is `src`."""
        identity = identity_of(self.prefix, partition, src, self.share)
        added_us = input_ts_of(src)
        if identity is None or not added_us:
            return
        about: Mapping[str, str | int] = {"depthcast.partition": partition, "depthcast.src": src}
        self._ids.given = identity
        self._write("event", Context(), added_us, published_us, about)
        self._ids.given = None
        inside = _inside(identity)
        self._write("input", inside, added_us, consumed_us, about)
        self._write("publish", inside, consumed_us, published_us, about)

    def deliver(self, partition: int, src: str, times: tuple[int | None, int, int]) -> None:
        """A gateway has flushed such an entry. `times`: when it was written, read and flushed."""
        identity = identity_of(self.prefix, partition, src, self.share)
        if identity is None:
            return
        written_us, read_us, flushed_us = times
        about: Mapping[str, str | int] = {"depthcast.partition": partition, "depthcast.src": src}
        inside = _inside(identity)
        if written_us is not None:
            self._write("read", inside, written_us, read_us, about)
        self._write("write", inside, read_us, flushed_us, about)

    def _write(
        self, name: str, context: Context, began_us: int, ended_us: int, about: Mapping[str, str | int]
    ) -> None:
        span = self._tracer.start_span(name, context=context, attributes=about, start_time=began_us * 1000)
        span.end(end_time=max(ended_us, began_us) * 1000)


def to_collector() -> SpanProcessor:
    """Sends spans to where the variables of OpenTelemetry say, such as OTEL_EXPORTER_OTLP_ENDPOINT."""
    return BatchSpanProcessor(OTLPSpanExporter())


def _inside(identity: TraceIdentity) -> Context:
    """The context of a span below the first one of a trace."""
    parent = SpanContext(
        identity.trace_id, identity.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
