"""What a message contributes, in every script, and in bounded time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modbot.domain import activity
from modbot.domain.activity import Code, Measure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Measure(0, 0)),
        ("hello big world", Measure(15, 3)),
        ("don't stop", Measure(10, 2)),
        ("日本語", Measure(3, 3)),
        ("👩‍👩‍👧 ok", Measure(4, 1)),
        ("see `x = 1` now", Measure(8, 2, (Code("", 1, 5, 2, 1),))),
        ("```py\na = 1\nb = 2\n```", Measure(0, 0, (Code("py", 1, 11, 4, 2),))),
        ("```PY\na\n``````py\nb\n```", Measure(0, 0, (Code("py", 2, 2, 2, 2),))),
        (
            "[the docs](https://Docs.Example/a?token=1) <https://user:pw@b.example:8/x>",
            Measure(8, 2, (), ("docs.example", "b.example")),
        ),
        ("https://[broken", Measure(0, 0)),
        ("``` open", Measure(8, 1)),
    ],
)
def test_measures(text, expected):
    assert activity.measure(text) == expected


@given(st.text(max_size=300))
@settings(deadline=None, database=None, derandomize=True)
def test_any_text_can_be_measured_and_only_hosts_are_kept(text):
    measured = activity.measure(text + " https://host.example/secret?q=1#f")
    assert measured.chars >= 0
    assert measured.words >= 0
    assert all("/" not in host and "?" not in host for host in measured.hosts)


@pytest.mark.parametrize("piece", ["[", "`", "```", "[](http://", "http://", "`a", "[a](", "<http://", "a.", "```x"])
def test_no_text_of_discords_length_takes_long(piece):
    text = ("http` " + piece * 4000)[:4000]
    begin = time.process_time()
    activity.measure(text)
    assert time.process_time() - begin < 0.2
