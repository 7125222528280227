"""The repository's pages, as the tests of the documentation read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/**/README.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


def read(name: str) -> str:
    """Return the text of a page by its path from the root."""
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", text)


def code(text: str) -> list[str]:
    """Return what stands in code blocks and in code spans."""
    return [match[0] for match in _FENCE.finditer(text)] + _SPAN.findall(prose(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
