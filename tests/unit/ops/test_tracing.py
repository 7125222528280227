"""What a span says, what it keeps to itself, and when nothing is recorded at all."""

from __future__ import annotations

import builtins
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

import tracekit
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import ShardId
from modbot.ops import logs, tracing
from modbot.ops.tracing import Fact
from tracekit import Recorder


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with tracekit.recording(monkeypatch) as found:
        yield found


def test_without_an_exporter_nothing_is_recorded_and_nothing_is_stored() -> None:
    with tracing.below(None), tracing.span("a", {Fact.COMMAND: "x"}):
        assert tracing.traceparent() is None
        assert tracing.trace_id() is None
        assert not tracing.is_open()


def test_a_span_elsewhere_is_the_child_of_what_the_header_names(recorder: Recorder) -> None:
    with tracing.below(None), tracing.span("here", {}, client=True):
        header = tracing.traceparent()
    assert header is not None
    with tracing.below(header), tracing.span("there", {}, server=True):
        pass
    here, there = recorder.one("here"), recorder.one("there")
    assert there.parent is not None
    assert there.parent.span_id == here.context.span_id
    assert there.context.trace_id == here.context.trace_id


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-0-0-01", "00-" + "f" * 32 + "-" + "0" * 16 + "-01"])
def test_without_a_sound_header_a_trace_begins(recorder: Recorder, header: str | None) -> None:
    with tracing.span("outside", {}), tracing.below(header), tracing.span("root", {}):
        pass
    assert recorder.one("root").parent is None


def test_what_is_not_sampled_is_not_sampled_elsewhere_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with tracekit.recording(monkeypatch, ParentBased(ALWAYS_OFF)), tracing.below(None), tracing.span("here", {}):
        header = tracing.traceparent()
    assert header is not None
    with tracekit.recording(monkeypatch, ParentBased(tracekit.ALWAYS_ON)) as recorder:
        with tracing.below(header), tracing.span("there", {}):
            pass
        assert recorder.spans == []


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError("from 812345678901234567"), "ValueError"), (InvalidInputError("a secret"), "invalid_input")],
)
def test_an_exception_leaves_its_kind_and_not_its_text(recorder: Recorder, error: Exception, outcome: str) -> None:
    with pytest.raises(type(error)), tracing.below(None), tracing.span("a", {}):
        raise error
    span = recorder.one("a")
    assert span.attributes == {Fact.OUTCOME.value: outcome}
    assert span.events == ()
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, None)


def test_a_dedicated_shard_is_not_called_by_its_guild() -> None:
    assert tracing.shard_name(ShardId("guild-812345678901234567")) == "dedicated"
    assert tracing.shard_name(ShardId("3-of-16")) == "3-of-16"


def test_a_log_line_names_its_trace(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(log_format="json", level="info", service="test")
    try:
        with tracing.below(None), tracing.span("a", {}):
            structlog.get_logger().info("inside")
        structlog.get_logger().info("outside")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    inside, outside = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert inside["trace_id"] == trace.format_trace_id(recorder.one("a").context.trace_id)
    assert "trace_id" not in outside


def test_traces_that_cannot_be_sent_stop_the_start_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError("no", name=name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(tracing.TracingNotInstalledError, match=r"opentelemetry\.exporter"):
        tracing.set_up("http", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert "tracing" in tracing.TracingNotInstalledError.hint
    for environment in (
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"},
    ):
        tracing.set_up("http", environment)()
