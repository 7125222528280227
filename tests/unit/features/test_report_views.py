"""What moderators read about a report: exact, in plain words, and everything quoted shown literally."""

import pytest

from modbot.domain import actions, texts
from modbot.domain.actions import ActionKind
from modbot.domain.evidence import Evidence, File
from modbot.domain.ids import ChannelId, GuildId, MessageId, UserId
from modbot.features.reports import views
from modbot.features.reports.views import Entry, Report, Statistics


def entry(text="hello", kind="report", category=None, **evidence):
    report = Report(kind, UserId(9) if kind == "track" else None, category, None, 1_700_000_000_000)
    found = Evidence(text=text, **evidence)
    return Entry(GuildId(1), MessageId(2), ChannelId(3), UserId(4), "ada_l", found, (report,))


def line(statistics=(1, 1, 1), **fields):
    return views.log_line(entry(**fields), Statistics(*statistics), ChannelId(5))


def test_the_line_says_what_happened_to_whom():
    assert line(category="spam").splitlines() == [
        "🚩 **ada\\_l** was reported for *spam or scam* in <#3>: “hello”",
        "-# first time on record · 1 word · <#5>",
    ]
    assert line(kind="track").startswith("📌 **ada\\_l** was tracked in <#3>")


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        ((2, 2, 1), "on record 2 times, all in the last 30 days ·"),
        ((9, 2, 1), "on record 9 times, 2 of them in the last 30 days ·"),
        ((9, 2, 3), "on record 9 times, 2 of them in the last 30 days, in 3 channels ·"),
    ],
)
def test_the_line_tells_the_record(statistics, words):
    assert words in line(statistics)


def test_a_message_without_text_is_named_so():
    shown = line(text="", files=(File("a.png", 3, "https://cdn.test/a"),))
    assert "a message without text" in shown
    assert "· 1 file ·" in shown


def test_an_excerpt_keeps_mentions_whole_and_silent():
    assert texts.excerpt("ask <@12> or <@&34> in <#56>") == "ask <@12> or <@&34> in <#56>"
    assert texts.excerpt("a" * 70 + " <@1234567890123456>") == "a" * 70 + "…"
    assert texts.excerpt("nice <a:otter_x:123>") == "nice \\:otter\\_x\\:"


@pytest.mark.parametrize("text", ["# big", "-# small", "- item", "1. item", "> again"])
def test_a_quote_holds_no_blocks(text):
    (quoted,) = texts.quote(f"  {text}", 100).splitlines()
    assert quoted.replace("\\", "") == f">   {text}"
    assert quoted != f">   {text}"


@pytest.mark.parametrize(
    ("number", "asked", "words"),
    [
        (1, 1, "1 reported message deleted"),
        (3, 3, "3 reported messages deleted"),
        (2, 3, "2 of 3 reported messages deleted"),
    ],
)
def test_deletions_are_counted(number, asked, words):
    assert views.deleted(number, asked) == words


@pytest.mark.parametrize("kind", list(ActionKind))
def test_a_form_names_the_person_within_discords_limit(kind):
    assert "ada" in actions.title(kind, "ada")
    long = actions.title(kind, "a" * 32)
    assert len(long) <= 45
    assert long.endswith("?")
