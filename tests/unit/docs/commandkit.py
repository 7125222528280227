"""The commands of the pages: every line that begins with `$ ` in a console block, and what can be done about it here.

A command has exactly one kind. The rules stand in `_RULES`; a program that they do not name has none, and that fails the tests. The
kind of a line that starts several programs is the most demanding of theirs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import docskit

_BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_INNER = re.compile(r"\$\(([^()]*)\)")
_SEPARATORS = frozenset({"|", "||", "&&", ";", "&", "(", ")"})
_KEYWORDS = frozenset({"do", "done", "then", "fi", "else", "while", "if", "!"})
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)


class Kind(IntEnum):
    """What a command needs, in growing order."""

    ALONE = 1
    SYSTEM = 2
    CLUSTER = 3
    OUTSIDE = 4


TELLS = {
    Kind.ALONE: "runs here as it is",
    Kind.SYSTEM: "runs against a system as `modbot dev` starts it",
    Kind.CLUSTER: "needs a cluster: its words are checked, and what it runs inside a pod is run",
    Kind.OUTSIDE: "needs the outside world or does not end: its words and files are checked",
}

_POD = r"(gateway-\d|deploy/(http|config)-service|-l component=(gateway|http|config))"
_IN_PODS = re.compile(rf"kubectl (exec (-it )?{_POD} -- |logs {_POD}( -c litestream)?( --\S+)*$)")
_TEXT_TOOLS = (
    "awk|base64|cat|chmod|cp|cut|diff|echo|export|grep|head|jq|mkdir|mv|openssl|sed|seq|sleep|sort|tail|test|tr|wc"
)
_SERVERS = "adopt|config|demo|dev|gateway|http|migrate|single"
_RULES: tuple[tuple[Kind, str], ...] = (
    (Kind.OUTSIDE, r"scripts/install-test-tools\b"),
    (Kind.SYSTEM, r"(cat|cp|grep|ls|mv|rm|tail) .*(/data/|/var/tmp/|\.modbot/dev/)"),
    (Kind.ALONE, rf"({_TEXT_TOOLS}|scripts/[\w-]+)\b"),
    (Kind.ALONE, r"rm [\w.-]+$"),
    (Kind.ALONE, r"modbot( [a-z-]+)* (--help|-h|--version)$"),
    (Kind.OUTSIDE, rf"modbot ({_SERVERS})\b"),
    (Kind.SYSTEM, r"modbot \w"),
    (Kind.SYSTEM, r"(curl|kill|litestream (restore|ltx)|python|sqlite3)\b"),
    (Kind.CLUSTER, r"kubectl \w"),
    (
        Kind.OUTSIDE,
        r"(docker (build|compose|push|run)|make [\w-]+|git (clone|checkout)|editor|promtool (check|test))\b",
    ),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page, with its continuation lines and its here-document; `line` is the number of its first line."""

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def parts(self) -> list[list[str]]:
        """The words of each program that it starts."""
        return [part for text in _lines(self.text) for part in _split(text)]

    @property
    def kind(self) -> Kind | None:
        """What it needs; None when the rules do not know one of its programs."""
        kinds = [kind_of(part) for part in self.parts]
        return None if not kinds or None in kinds else max(kind for kind in kinds if kind is not None)

    @property
    def runs_in_pods(self) -> bool:
        """Whether all that needs a cluster is looking into pods, which the processes of a system on one machine can stand for."""
        asked = [" ".join(part) for part in self.parts if part[0] == "kubectl"]
        return self.kind is Kind.CLUSTER and all(_IN_PODS.match(text) for text in asked)


def commands(page: str) -> list[Command]:
    """Return the commands of a page in order."""
    text = docskit.read(page)
    return [each for match in _BLOCK.finditer(text) for each in _of_block(page, text, match)]


def everything() -> list[Command]:
    """Return the commands of all pages."""
    return [command for page in docskit.NAMES for command in commands(page)]


def kind_of(words: list[str]) -> Kind | None:
    """Return what one program with its arguments needs, by the rules."""
    text = " ".join([words[0].rpartition("/")[2] if words[0].startswith(".venv/") else words[0], *words[1:]])
    return next((kind for kind, rule in _RULES if re.match(rule, text)), None)


def table(found: list[Command]) -> str:
    """Show each command with its kind, to be printed when a test fails."""
    rows = [
        f"{each.place:<48} {each.kind.name if each.kind else '???':<8} {each.text.splitlines()[0]}" for each in found
    ]
    return "\n".join(["", *rows, ""])


def _of_block(page: str, text: str, match: re.Match[str]) -> Iterator[Command]:
    indent, body = match[1], match[2]
    number = text[: match.start()].count("\n") + 2
    lines = [line.removeprefix(indent) for line in body.splitlines()]
    position = 0
    while position < len(lines):
        start = position
        position += 1
        if not lines[start].startswith("$ "):
            continue
        taken = [lines[start].removeprefix("$ ")]
        while position < len(lines) and _open(taken):
            taken.append(lines[position])
            position += 1
        yield Command(page, number + start, "\n".join(taken))


def _open(taken: list[str]) -> bool:
    """Whether a command goes on in the next line."""
    document = _HEREDOC.search(taken[0])
    if document is not None:
        return len(taken) == 1 or taken[-1] != document[2]
    if taken[-1].endswith("\\"):
        return True
    try:
        shlex.split("\n".join(taken), comments=True)
    except ValueError:
        return True
    return False


def _lines(text: str) -> list[str]:
    """Return the command without its here-document, and the commands inside of `$(…)`."""
    first = text.splitlines()[0] if _HEREDOC.search(text.splitlines()[0]) else text.replace("\\\n", " ")
    inner = _INNER.findall(first)
    return [_INNER.sub("0", first), *inner]


def _split(text: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    redirected = False
    for token in lexer:
        if token in _SEPARATORS:
            yield from _program(words)
            words = []
        elif redirected or set(token) <= {"<", ">", "&"}:
            redirected = not redirected
        else:
            words.append(token)
    yield from _program(words)


def _program(words: list[str]) -> Iterator[list[str]]:
    """Leave out what the shell itself does: keywords, loops over words, assignments."""
    while words and (words[0] in _KEYWORDS or (_ASSIGNMENT.fullmatch(words[0]) and len(words) > 1)):
        words = words[1:]
    if words and words[0] != "for" and not _ASSIGNMENT.fullmatch(words[0]):
        yield words
