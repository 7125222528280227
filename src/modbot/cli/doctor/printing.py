"""Shows findings to people, in 80 columns, and to programs as JSON."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from modbot.cli.doctor.facts import Facts
from modbot.cli.doctor.findings import Finding, Level, listed

_WIDTH: Final = 80
_INDENT: Final = " " * 9
_COLOURS: Final = {Level.WRONG: "red", Level.WARNING: "yellow"}


def show(console: Console, found: Sequence[Finding]) -> None:
    """Print each finding: what it is, what it is about, cause, effect, fix. What has the same effect and fix is told once."""
    for (kind, effect, fix), alike in itertools.groupby(found, key=lambda each: (each.kind, each.effect, each.fix)):
        same = list(alike)
        title = Text(f"{kind.level:<8} ", style=f"bold {_COLOURS[kind.level]}")
        title.append(kind.code, style="bold")
        subjects = listed([finding.subject for finding in same if finding.subject])
        title.append(f"  {subjects}" if subjects else "", style="not bold")
        console.print(title, soft_wrap=True)
        named = len(same) > 1
        causes = [f"{each.subject}: {each.cause}" if named and each.subject else each.cause for each in same]
        for word, text in (*(("cause", cause) for cause in causes), ("effect", effect), ("fix", fix)):
            for line in _wrapped(word, text):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print()


def verdict(facts: Facts, found: Sequence[Finding]) -> str:
    """Say in one sentence how it is."""
    wrong = sum(finding.kind.level is Level.WRONG for finding in found)
    warnings = len(found) - wrong
    if not found:
        return "Nothing is wrong" + (" with what was looked at." if facts.unseen else ".")
    parts = [f"{wrong} wrong" if wrong else "nothing is wrong"]
    if warnings:
        parts.append("1 warning" if warnings == 1 else f"{warnings} warnings")
    sentence = ", ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def as_json(facts: Facts, found: Sequence[Finding]) -> bytes:
    """Return the same for programs."""
    rows = [
        {
            "code": finding.kind.code,
            "level": finding.kind.level,
            "subject": finding.subject,
            "cause": finding.cause,
            "effect": finding.effect,
            "fix": finding.fix,
        }
        for finding in found
    ]
    return msgspec.json.encode({"place": facts.place, "findings": rows, "unseen": facts.unseen})


def _wrapped(word: str, text: str) -> list[str]:
    first = f"  {word:<7}"
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )
