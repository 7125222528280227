"""All invariants, asked of a running system after each fault and of a quiet one at the end.

While people go on writing, what must hold at any moment is compared: every file is a prefix (I3, I4), grants and acts (I1, I2), first
answers (I7), IDENTIFYs (I6). When all is quiet, also what must have come to its end: nothing is missing, every deferred answer was
completed, every note is posted once (I5), every replica can be restored (I8).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from chaos import answers, files, logs
from chaos.files import Snapshot
from chaos.oracle import Verdict, snapshots
from chaos.systems import System
from modbot.cli.stack import StartError
from modbot.domain.errors import ModbotError
from modbot.shard import inspecting

_LOGGED = 20_000


@dataclass(slots=True)
class Found:
    """What a check came to."""

    verdict: Verdict = field(default_factory=Verdict)
    violations: set[str] = field(default_factory=set)
    identifies: int = 0
    unjudged: int = 0
    """Interactions of which the simulator cannot say whether they were answered in time."""

    def all(self) -> set[str]:
        """Return every violated promise as a sentence that begins with its invariant."""
        lost = {f"I3 lost {each}" for each in self.verdict.lost}
        doubled = {f"I3 doubled {each}" for each in self.verdict.doubled}
        return self.violations | self.verdict.wrong | lost | doubled


@dataclass(slots=True)
class Checks:
    """The checks of one system; they remember how far they have looked."""

    system: System
    renewed: bool = False
    """Whether a fault gave reason to begin sessions anew since the last look."""
    _looked: float = field(default_factory=time.time)

    async def in_motion(self) -> Found:
        """Check while people write: one file, drawn by chance, is also restored from its replica."""
        found = Found()
        taken = await snapshots(self.system.stack)
        restored = await self._restore([self.system.chance.choice(taken).shard_id] if taken else [], found)
        await self._compare(found, taken + restored)
        await self._ask(found)
        return found

    async def at_rest(self) -> Found:
        """Stop the load, wait for the end of everything, and check all."""
        found = Found()
        await self.system.load.stop()
        await self._wait(found)
        # Before the files: the rebalancer may still move a shard, and the RESUME of that is an event as well.
        due = {each["session_id"]: each["seq"] for each in await self.system.stack.control("GET", "sessions")}
        taken = await snapshots(self.system.stack)
        await asyncio.sleep(1.5)  # the replica follows within a second
        restored = await self._restore([each.shard_id for each in taken], found)
        await self._compare(found, taken + restored)
        for each in taken:
            if each.seq < due.get(each.session_id or "", 0):
                found.violations.add(
                    f"I3 {each.shard_id}: stands at {each.seq}, Discord was at {due[each.session_id or '']}"
                )
        for shard_id in logs.rolled_back(self.system.stack) - {each.shard_id for each in taken if each.rollbacks}:
            found.violations.add(f"I9 {shard_id}: fell back to an older replica, and the file does not say so")
        if len(taken) != self.system.setup.shards:
            found.violations.add(f"I8 {len(taken)} shard files for {self.system.setup.shards} shards")
        asked = [each for each in await self._ask(found) if not self._rolled_back(each["created"])]
        found.violations |= answers.misapplied(asked, taken)
        found.violations |= await answers.misposted(self.system.stack, self.system.people, asked)
        found.violations |= {
            f"I7 the simulator could not take an interaction: {each}" for each in self.system.load.troubles
        }
        return found

    def _rolled_back(self, moment: float) -> bool:
        return any(since <= moment <= until for since, until in self.system.rolled_back)

    async def _compare(self, found: Found, taken: list[Snapshot]) -> None:
        await self.system.oracle.read()
        for each in taken:
            found.verdict.add(await self.system.oracle.judge(each))

    async def _restore(self, shard_ids: list[str], found: Found) -> list[Snapshot]:
        restored: list[Snapshot] = []
        for shard_id in shard_ids:
            try:
                snapshot = await files.restored(self.system.stack, shard_id)
            except ModbotError as error:
                found.violations.add(f"I8 {shard_id}: the newest replica cannot be restored: {error}")
                continue
            if snapshot is not None:
                restored.append(snapshot)
        return restored

    async def _ask(self, found: Found) -> list[dict[str, Any]]:
        system, since = self.system, self._looked
        self._looked = time.time() - 1.0
        log = await system.stack.control("GET", f"rest/log?limit={_LOGGED}")
        stalls = await system.stack.control("GET", "stalls")
        await system.history.read()
        found.violations |= system.history.two_owners()
        acts = [each for each in log["requests"] if each["time"] >= since]
        found.violations |= system.history.strangers(acts, system.shard_of_channel, stalls["stalls"])
        counters = await system.stack.control("GET", "counters")
        found.identifies = counters["identifies"] - system.identifies
        system.identifies = counters["identifies"]
        if found.identifies and not self.renewed:
            found.violations.add(f"I6 {found.identifies} IDENTIFYs without need")
        self.renewed = False
        for name in ("identifies_too_fast", "identifies_over_limit"):
            if counters[name]:
                found.violations.add(f"I6 {counters[name]} {name.replace('_', ' ')}")
        asked = await answers.records(system.stack)
        unjudged = await answers.late_judge(system.stack, asked)
        found.unjudged = len(unjudged)
        found.violations |= answers.refused(each for each in asked if each["id"] not in unjudged)
        return asked

    async def _wait(self, found: Found) -> None:
        stack = self.system.stack
        for condition, what in (
            (self._caught_up, "I3 not every shard caught up"),
            (self._repaired, "I9 not every gap was repaired"),
            (lambda: answers.complete(stack), "I7 not every interaction was completed"),
            (self._done, "I5 not every effect came to its end"),
        ):
            try:
                await stack.until(condition, what)
            except StartError as error:
                found.violations.add(f"{what}: {error}")

    async def _caught_up(self) -> bool:
        listed = await self.system.stack.control("GET", "sessions")
        seqs = {each["session_id"]: each["seq"] for each in listed}
        looks = [inspecting.look(path) for path in files.newest(self.system.stack).values()]
        offsets = {look.offset.session_id: look.offset.seq for look in looks if look.offset is not None}
        return len(offsets) == self.system.setup.shards and all(
            seqs.get(key, -1) <= seq for key, seq in offsets.items()
        )

    async def _repaired(self) -> bool:
        paths = files.newest(self.system.stack).values()
        return all(each.state in {"done", "left"} for path in paths for each in inspecting.repairs(path))

    async def _done(self) -> bool:
        looks = [inspecting.look(path) for path in files.newest(self.system.stack).values()]
        return all(look.pending_effects == 0 for look in looks)
