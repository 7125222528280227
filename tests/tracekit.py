"""Traces in tests: a collector that processes send to, and a recorder inside the test's own process."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from modbot.ops import tracing


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as it was sent; `parent` is empty at the root of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str]
    events: int
    status: str


@dataclass(slots=True)
class Collector:
    """Takes OTLP over HTTP and keeps every span."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)

    def way_to(self, span: Span) -> tuple[str, ...]:
        """Return the names from the root of the trace to a span; nothing while one in between is not here."""
        by_id = {each.span: each for each in self.spans if each.trace == span.trace}
        names = [span.name]
        while span.parent in by_id:
            span = by_id[span.parent]
            names.insert(0, span.name)
        return () if span.parent else tuple(names)

    async def take(self, request: web.Request) -> web.Response:
        """Keep what a process sends."""
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service=told["service.name"],
                        name=each.name,
                        trace=each.trace_id.hex(),
                        span=each.span_id.hex(),
                        parent=each.parent_span_id.hex(),
                        attributes={pair.key: str(pair.value).strip() for pair in each.attributes},
                        events=len(each.events),
                        status=each.status.message,
                    )
                    for each in scope.spans
                ]
        return web.Response()


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector on a free port."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    collector.url = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        await runner.cleanup()


class Recorder:
    """Spans of this process."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return those that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


@contextlib.contextmanager
def recording(monkeypatch: pytest.MonkeyPatch, sampler: Sampler = ALWAYS_ON) -> Iterator[Recorder]:
    """Record what the code under test does in this process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("modbot"))
    yield Recorder(exporter)
    provider.shutdown()
