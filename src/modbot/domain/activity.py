"""What a message contributes: characters, words, code and links. Pure; the text itself is never kept.

Characters are graphemes and words follow Unicode's word boundaries, with each ideograph counting as a word, so that a count means the
same in every script. Of a link only the host is kept: query strings are private.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import regex

_TOKENS = regex.compile(
    r"```(?P<fenced>.*?)\n?```"
    r"|`(?P<inline>[^`\n]+)`"
    r"|\[(?P<label>[^\]\n]*)\]\(<?(?P<target>https?://[^\s>)]+)>?[^)\n]{0,300}\)"
    r"|<?(?P<bare>https?://[^\s>)]+)>?",
    regex.DOTALL,
)
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}\p{N}_]+(?:['\u2019.][\p{L}\p{M}\p{N}_]+)*")
_GRAPHEME = regex.compile(r"\X")
_LANGUAGE = regex.compile(r"[A-Za-z0-9_+#.-]{1,20}")


class Code(msgspec.Struct, frozen=True):
    """The code blocks of one language in a message; inline code and blocks without a language have the language ''."""

    language: str
    blocks: int
    chars: int
    words: int
    lines: int


class Measure(msgspec.Struct, frozen=True):
    """What one message contributes."""

    chars: int
    words: int
    code: tuple[Code, ...] = ()
    hosts: tuple[str, ...] = ()


def measure(text: str) -> Measure:
    """Measure a message's text. Code and addresses do not count as prose; the labels of links do."""
    if "`" not in text and "http" not in text:
        return Measure(_count_chars(text), _count_words(text))
    prose: list[str] = []
    code: list[Code] = []
    hosts: list[str] = []
    position = 0
    for match in _TOKENS.finditer(text):
        prose.append(text[position : match.start()])
        position = match.end()
        if match["fenced"] is not None:
            code.append(_fenced(match["fenced"]))
        elif match["inline"] is not None:
            code.append(_code("", match["inline"]))
        else:
            prose.append(match["label"] or "")
            hosts.append(_host(match["target"] or match["bare"]))
    prose.append(text[position:])
    joined = "".join(prose)
    return Measure(
        _count_chars(joined), _count_words(joined), _by_language(code), tuple(host for host in hosts if host)
    )


def _fenced(body: str) -> Code:
    first, newline, rest = body.partition("\n")
    if newline and (not first.strip() or _LANGUAGE.fullmatch(first.strip())):
        return _code(first.strip().lower(), rest)
    return _code("", body)


def _code(language: str, body: str) -> Code:
    lines = len(body.splitlines()) if body else 0
    return Code(language, 1, _count_chars(body), _count_words(body), lines)


def _by_language(blocks: list[Code]) -> tuple[Code, ...]:
    sums: dict[str, Code] = {}
    for block in blocks:
        known = sums.get(block.language)
        sums[block.language] = block if known is None else _plus(known, block)
    return tuple(sums.values())


def _plus(left: Code, right: Code) -> Code:
    return Code(
        left.language,
        left.blocks + right.blocks,
        left.chars + right.chars,
        left.words + right.words,
        left.lines + right.lines,
    )


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:  # a malformed address, such as an unclosed IPv6 bracket, has no host
        return ""


def _count_chars(text: str) -> int:
    stripped = text.strip()
    if stripped.isascii() and "\r" not in stripped:
        return len(stripped)
    return sum(1 for _ in _GRAPHEME.finditer(stripped))


def _count_words(text: str) -> int:
    return len(_WORD.findall(text))
