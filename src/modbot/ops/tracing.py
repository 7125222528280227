"""Traces: one tree from the arrival of an interaction to each request that it causes in Discord.

Without an exporter nothing is recorded: the API's spans do nothing, and nothing is stored. With the standard variable
`OTEL_EXPORTER_OTLP_ENDPOINT`, `set_up` brings in the SDK (the extra `tracing`); all other `OTEL_*` variables mean what they mean everywhere,
`OTEL_TRACES_SAMPLER` among them.

A span says what was done, where and how it ended. It never says for whom: attributes are the `Fact`s below and nothing else, an exception
leaves its class or code and not its text, and a dedicated shard (which is named after its guild) is called `dedicated`.

A trace goes from process to process in the header `traceparent` (W3C), and from a commit to the effect that was asked for in it in the
effect's row: the writer notes the span in which a piece of work was handed to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from importlib import metadata
from typing import Final

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modbot.domain import ids
from modbot.domain.errors import ModbotError, SettingsError
from modbot.domain.ids import ShardId

HEADER: Final = "traceparent"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_W3C: Final = TraceContextTextMapPropagator()
_tracer: Final = trace.get_tracer("modbot")


class TracingNotInstalledError(SettingsError):
    """Traces are asked for, and the packages that send them are not installed."""

    code = "tracing_not_installed"
    hint = "Install modbot with its extra `tracing`, or unset OTEL_EXPORTER_OTLP_ENDPOINT."


class Fact(StrEnum):
    """What a span may say."""

    COMMAND = "modbot.command"
    SHARD = "modbot.shard"
    POD = "modbot.pod"
    OUTCOME = "modbot.outcome"
    ATTEMPTS = "modbot.attempts"
    EFFECT = "modbot.effect"
    METHOD = "http.request.method"
    ROUTE = "http.route"
    STATUS = "http.response.status_code"


Facts = Mapping[Fact, str | int]


def set_up(service: str, environ: Mapping[str, str]) -> Callable[[], None]:
    """Send traces where the environment says; returns what to call at the end, so that the last ones are sent.

    Raises:
        TracingNotInstalledError: they are asked for and cannot be sent.
    """
    wanted = any(environ.get(name) for name in _ENDPOINTS)
    if not wanted or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingNotInstalledError(f"Traces cannot be sent: {error.name} is not installed.") from error
    told = {"service.version": metadata.version("modbot"), "service.instance.id": environ.get("POD_NAME", service)}
    if "OTEL_SERVICE_NAME" not in environ:
        told["service.name"] = f"modbot-{service}"
    provider = TracerProvider(resource=Resource.create(told))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextlib.contextmanager
def span(name: str, facts: Facts, *, server: bool = False, client: bool = False) -> Iterator[None]:
    """Record what happens in the block, as a child of the span that is open here."""
    kind = SpanKind.SERVER if server else SpanKind.CLIENT if client else SpanKind.INTERNAL
    with _tracer.start_as_current_span(
        name,
        kind=kind,
        attributes={fact.value: value for fact, value in facts.items()},
        record_exception=False,  # its text may hold what people wrote
        set_status_on_exception=False,
    ) as opened:
        try:
            yield
        except BaseException as error:
            opened.set_attribute(
                Fact.OUTCOME.value, error.code if isinstance(error, ModbotError) else type(error).__name__
            )
            opened.set_status(StatusCode.ERROR)
            raise


@contextlib.contextmanager
def below(parent: str | None) -> Iterator[None]:
    """Let spans of the block be children of a `traceparent` from elsewhere; without one they begin a trace."""
    token = context.attach(_W3C.extract({HEADER: parent} if parent else {}, context=context.Context()))
    try:
        yield
    finally:
        context.detach(token)


def note(fact: Fact, value: str | int) -> None:
    """Add a fact to the span that is open here."""
    trace.get_current_span().set_attribute(fact.value, value)


def traceparent() -> str | None:
    """Return the open span for a header or a row; None without one. One that is not sampled counts: its children are not either."""
    if not is_open():
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(HEADER)


def is_open() -> bool:
    """Say whether a span is open here: what is done in the background begins no trace of its own."""
    return trace.get_current_span().get_span_context().is_valid


def trace_id() -> str | None:
    """Return the id of the open trace for a log line."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None


def shard_name(shard_id: ShardId) -> str:
    """Return how a span calls a shard: without its guild."""
    return shard_id if ids.dedicated_guild(shard_id) is None else "dedicated"
