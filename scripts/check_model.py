"""Checks the models in `model/` with spin: the true ones hold in every reachable state, the broken ones are caught.

Each check is one run of the model checker: spin writes a program, gcc compiles it, it visits every state. A check of a true model passes
when no assertion fails and the whole space was seen; at full size every statement must be reached (a model in which nothing happens
proves nothing). A check of a broken variant passes when the named assertion fails. `make model` runs all of them and prints what they found;
`ARGS=--deep` adds larger spaces, which take some minutes and up to 6 GB of memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "model"
TOOLS = ("spin", "gcc")
NO_TOOLS = "Debian's spin or gcc is not installed (scripts/install-test-tools)"
ENDLESS = "non-progress cycle"
_DEPTH = 1_000_000
_VIOLATED = re.compile(r"^pan:\d+: (?:assertion violated (\w+)|(non-progress cycle|invalid end state))", re.MULTILINE)
_STATES = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)
_UNREACHED = re.compile(r'^\t\S+\.pml:(\d+), state \d+, "(.*)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One run: a model, its switches and sizes (`name` or `name=value`), and the assertion that must fail, None for none.

    `endless`: search for runs that never end instead of assertions that fail. `covers`: every statement must be reached.
    """

    model: str
    defines: tuple[str, ...] = ()
    fails: str | None = None
    endless: bool = False
    covers: bool = False

    @property
    def name(self) -> str:
        """Return what identifies the check in a report."""
        return " ".join([self.model, *self.defines, *(["endless"] if self.endless else [])])


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found. `unreached`: statements other than assertions that no run comes to, with their lines."""

    fails: str | None
    states: int
    seconds: float
    whole: bool
    unreached: list[str] = field(default_factory=list)


TRUE = (
    Check("leases", covers=True),
    Check("ownership", covers=True),
    Check("ownership", ("PODS=3", "FAULTS=1", "MOVES=1")),
    Check("ownership", ("FAULTS=1",), endless=True),
)
DEEP = (
    Check("leases", ("GRANTS=7",)),
    Check("ownership", ("FAULTS=3",)),
    Check("ownership", ("FAULTS=3", "MOVES=1", "EVENTS=3")),
    Check("ownership", ("PODS=3", "FAULTS=1")),
    Check("ownership", ("PODS=3", "MOVES=1")),
    Check("ownership", endless=True),
)
# Either of two guards is enough: the model says that they are one more than needed, and holds with one of them gone.
SPARE = (
    Check("ownership", ("FAULTS=1", "COMPLETE_WITHOUT_EPOCH")),
    Check("ownership", ("FAULTS=1", "GRANTS_KEEP_MOVE")),
)


def _broken(model: str, switches: str, fails: str, *, endless: bool = False) -> Check:
    size = ("FAULTS=1",) if model == "ownership" else ()
    return Check(model, (*size, *switches.split()), fails, endless)


BROKEN = (
    _broken("leases", "COUNTED_FROM_RECEIPT", "I1_one_owner"),
    _broken("leases", "NO_GATE", "I2_no_effect_of_an_old_owner"),
    _broken("leases", "GATE_ASKS_FOR_NOW", "I2_no_effect_of_an_old_owner"),
    _broken("leases", "ENDED_MAY_RENEW", "I1_one_owner"),
    _broken("leases", "STOPPED_AFTER_GATE", "I2_no_effect_of_an_old_owner"),
    _broken("ownership", "FILE_EPOCH_NOT_COMPARED", "I3_once_in_order"),
    _broken("ownership", "LOCAL_WITHOUT_SINCE", "I6_identify"),
    _broken("ownership", "SEQ_AT_RECEIPT", "I4_not_the_fold"),
    _broken("ownership", "ACK_OF_COMMITTED", "I6_identify"),
    _broken("ownership", "ACK_WITHOUT_GATE", "I6_identify"),
    _broken("ownership", "RESTORED_IN_PLACE", "I8_shared_path"),
    _broken("ownership", "SERVED_BEFORE_A_SNAPSHOT", "I8_start_empty"),
    _broken("ownership", "RESUMES_WITHOUT_CANCELLING", "I1_one_owner"),
    _broken("ownership", "NEVER_CANCELS", "ends_unserved"),
    _broken("ownership", "STOPPED_FOR_ANY_MOVE", "I1_one_owner"),
    _broken("ownership", "COPY_BY_EPOCH_ALONE", "I6_identify"),
    _broken("ownership", "STAMPED_BEFORE_COMPLETE", "I8_shared_path"),
    _broken("ownership", "COMPLETE_WITHOUT_MOVE", "I1_one_owner"),
    _broken("ownership", "COMPLETE_WITHOUT_INCARNATION", "ends_unserved"),
    _broken("ownership", "COMPLETE_WITHOUT_EPOCH GRANTS_KEEP_MOVE", "I1_one_owner"),
    _broken("ownership", "ASKS_AGAIN_WHEN_REFUSED", ENDLESS, endless=True),
)


def missing() -> list[str]:
    """Return the tools that are needed and not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run(check: Check, folder: Path) -> Found:
    """Build and run the checker of one model in an empty folder; raises `RuntimeError` with the tool's words when that fails."""
    started = time.monotonic()
    switches = [f"-D{name}" for name in check.defines]
    # -o3: a transition per statement, so that the report of unreached ones is complete
    _tool(["spin", "-o3", "-a", *switches, str(FOLDER / f"{check.model}.pml")], folder)
    mode = "-DNP" if check.endless else "-DSAFETY"
    speed = "-O0" if check.fails else "-O2"  # broken ones are found in a moment, compiling takes longer
    _tool(["gcc", "-w", speed, mode, "-o", "pan", "pan.c"], folder)
    text = _tool(["./pan", f"-m{_DEPTH}", "-w22", *(["-l"] if check.endless else [])], folder)
    violated = _VIOLATED.search(text)
    states = _STATES.search(text)
    if states is None:
        raise RuntimeError(f"The checker of {check.name} did not finish:\n{text}")
    return Found(
        fails=None if violated is None else violated[1] or violated[2],
        states=int(states[1]),
        seconds=time.monotonic() - started,
        whole="max search depth too small" not in text and "Search not completed" not in text,
        unreached=[
            f"{line}: {statement}"
            for line, statement in _UNREACHED.findall(text)
            if statement != "-end-" and not statement.startswith("assert(")
        ],
    )


def complaint(check: Check, found: Found) -> str | None:
    """Say what is wrong with what a check found, None if it is as it must be."""
    if found.fails != check.fails:
        return f"expected {check.fails or 'that it holds'}, found {found.fails or 'that it holds'}"
    if check.fails is None and not found.whole:
        return "the state space was not seen as a whole"
    if check.covers and found.unreached:
        return "never reached: " + "; ".join(found.unreached)
    return None


def main(arguments: list[str]) -> int:
    """Run every check and print a line for each; 1 when one is not as it must be."""
    if missing():
        print(NO_TOOLS, file=sys.stderr)
        return 1
    failed = 0
    for check in (*TRUE, *SPARE, *BROKEN, *(DEEP if "--deep" in arguments else ())):
        with tempfile.TemporaryDirectory(prefix="modbot-model-") as folder:
            found = run(check, Path(folder))
        wrong = complaint(check, found)
        failed += wrong is not None
        verdict = wrong or (f"caught by {check.fails}" if check.fails else "holds")
        mark = "FAILED" if wrong else "ok"
        print(f"{mark:6} {found.states:>9} states {found.seconds:5.1f} s  {check.name}: {verdict}", flush=True)
    return min(1, failed)


def _tool(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
