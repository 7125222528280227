"""Logs hold no secret, whatever field it slipped into."""

import errno
import io
import json
import sys

import pytest
import structlog

from modbot.ops import logs, metrics
from modbot.ops.settings import Secret

SECRET = 'tok"en\\value-1234567890'


@pytest.fixture
def written(monkeypatch):
    """What is written to standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    structlog.contextvars.clear_contextvars()
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(params=["json", "console"])
def log(request, written):
    logs.configure(log_format=request.param, level="info", service="test", secrets=[Secret(SECRET), Secret("")])
    return structlog.get_logger()


@pytest.mark.parametrize(
    "value",
    [SECRET, f"Bot {SECRET}", RuntimeError(SECRET), [SECRET], {"a": (SECRET,)}, {SECRET: 1}, Secret(SECRET)],
    ids=["text", "part", "error", "list", "nested", "key", "secret"],
)
def test_a_secret_is_replaced_in_every_kind_of_field(log, written, value):
    log.info("event", field=value)
    assert "event" in written.getvalue()
    assert "value-1234567890" not in written.getvalue()


def test_a_secret_is_replaced_in_a_traceback(log, written):
    log.error("event", exc_info=RuntimeError(SECRET))
    assert "RuntimeError" in written.getvalue()
    assert "value-1234567890" not in written.getvalue()


def test_lines_are_json_and_carry_the_service(written, monkeypatch):
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure(log_format="json", level="warning", service="test")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud", number=1)
    line = json.loads(written.getvalue())
    assert (line["event"], line["number"], line["service"], line["level"]) == ("loud", 1, "test", "warning")


class _Full(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise OSError(errno.EPIPE, "Broken pipe")


def test_a_line_that_cannot_be_written_is_counted_and_nothing_else_happens() -> None:
    before = metrics.LOG_LINES_LOST._value.get()
    structlog.PrintLogger(logs.Lossy(_Full())).msg("a failure that somebody recovers from")
    assert metrics.LOG_LINES_LOST._value.get() > before
