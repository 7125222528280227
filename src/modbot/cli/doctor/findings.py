"""Findings: what the doctor says. A *kind* is what it can say at all, with a stable code; a finding is one case of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`wrong`: something does not work now, or cannot start. `warning`: it works, and the next fault will hurt."""

    WRONG = "wrong"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that the doctor can find. `means`, `effect` and `fix` are sentences; `{subject}` in them is what the finding is about."""

    code: str
    level: Level
    means: str
    effect: str
    fix: str

    def found(self, cause: str, *, subject: str = "") -> Finding:
        """Make a finding of this kind; `cause` says what was seen this time, with its figures."""
        return Finding(self, subject, cause)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, about `subject`: a pod, a variable, a folder."""

    kind: Kind
    subject: str
    cause: str

    @property
    def effect(self) -> str:
        """What comes of it."""
        return self.kind.effect.replace("{subject}", self.subject)

    @property
    def fix(self) -> str:
        """What to do."""
        return self.kind.fix.replace("{subject}", self.subject)


def listed(names: Sequence[str], *, most: int = 4) -> str:
    """Name some of many things."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
