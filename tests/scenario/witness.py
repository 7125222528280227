"""What the simulated Discord delivered, beside what the shard files hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import ledger

from modbot.cli.stack import Stack
from modbot.shard import inspecting


@dataclass
class Verdict:
    expected: int = 0
    found: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    dead_letters: int = 0
    gaps: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order or self.dead_letters or self.gaps)

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.expected} events, lost {len(self.lost)} {self.lost[:3]}, doubled {len(self.doubled)} "
            f"{self.doubled[:3]}, out of order {self.out_of_order[:3]}, dead letters {self.dead_letters}, gaps {self.gaps}"
        )


async def caught_up(stack: Stack) -> bool:
    """Whether every shard file has reached the last number that its session was given."""
    sessions = {session["session_id"]: session for session in await stack.control("GET", "sessions")}
    offsets = {each.offset.session_id: each.offset.seq for each in _findings(stack) if each.offset is not None}
    return bool(sessions) and all(offsets.get(key, -1) >= session["seq"] for key, session in sessions.items())


async def judge(stack: Stack) -> Verdict:
    """Compare the delivered events of every session with the ledger of its shard file, in order."""
    verdict = Verdict()
    written = _ledgers(stack)
    for session in await stack.control("GET", "sessions"):
        log = (await stack.control("GET", f"delivered?session_id={session['session_id']}"))["log"]
        expected = [f"{session['session_id']}/{line['seq']}" for line in log if line["name"] in ledger.NAMES]
        found = written.get(session["session_id"], [])
        _compare(verdict, expected, found)
    for each in _findings(stack):
        verdict.dead_letters += each.dead_letters
        verdict.gaps += each.gaps
    return verdict


def _compare(verdict: Verdict, expected: list[str], found: list[str]) -> None:
    verdict.expected += len(expected)
    verdict.found += len(found)
    counted = Counter(found)
    verdict.lost += [cause for cause in expected if cause not in counted]
    verdict.doubled += [cause for cause, number in counted.items() if number > 1]
    numbers = [int(cause.rpartition("/")[2]) for cause in found]
    verdict.out_of_order += [
        cause for cause, one, next_ in zip(found, numbers, numbers[1:], strict=False) if next_ < one
    ]


def _ledgers(stack: Stack) -> dict[str, list[str]]:
    ledgers: dict[str, list[str]] = {}
    for path in _paths(stack):
        for (cause,) in inspecting.rows(path, "SELECT cause FROM ledger ORDER BY entry_id"):
            ledgers.setdefault(cause.partition("/")[0], []).append(cause)
    return ledgers


def _findings(stack: Stack) -> list[inspecting.Findings]:
    return [inspecting.look(path) for path in _paths(stack)]


def _paths(stack: Stack) -> list[Path]:
    """The file of every shard: of several copies the one that was written under the newest epoch."""
    newest: dict[str, tuple[int, Path]] = {}
    for volume in sorted(stack.plan.state.glob("gateway-*")):
        for path in inspecting.files(volume):
            try:
                epoch = inspecting.look(path).epoch
            except apsw.CantOpenError:  # a former owner has just deleted it
                continue
            if epoch > newest.get(path.name, (0, path))[0]:
                newest[path.name] = (epoch, path)
    return [path for _, path in newest.values()]
