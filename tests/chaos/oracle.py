"""The oracle: folds what Discord delivered, and says where a shard file is something else (I3, I4, I9).

Every session that ever was is read from the simulator's own log. A file without gaps must hold exactly the fold of the events up to its
seq: each event once, in order, and rows that follow from the payloads. A file with gaps is compared by message: what it lacks must be gone
from Discord too, and lie in a gap that the file names.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import msgspec

from chaos import files
from chaos.files import Snapshot
from chaos.folding import Event, Fold
from modbot.cli.stack import Stack

_PATIENCE = aiohttp.ClientTimeout(total=60)


class _Log(msgspec.Struct):
    log: list[Event]


@dataclass(slots=True)
class _Session:
    shard: int
    began: int
    events: list[Event] = field(default_factory=list)
    fold: Fold = field(default_factory=Fold)
    folded: int = 0

    def fold_to(self, session_id: str, seq: int) -> Fold:
        """Return the fold of the events up to `seq`; the last one is kept, because most questions go forward."""
        if self.folded and self.events[self.folded - 1].seq > seq:
            self.fold, self.folded = Fold(), 0
        while self.folded < len(self.events) and self.events[self.folded].seq <= seq:
            self.fold.apply(session_id, self.events[self.folded])
            self.folded += 1
        return self.fold


@dataclass(slots=True)
class Verdict:
    """What a comparison found. `lost` and `doubled` name events; `named` counts what gaps admit to have lost."""

    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    named: int = 0
    compared: int = 0

    def add(self, other: Verdict) -> None:
        self.lost |= other.lost
        self.doubled |= other.doubled
        self.wrong |= other.wrong
        self.named += other.named
        self.compared += other.compared


@dataclass(slots=True)
class Oracle:
    """Reads the simulator's log on and on. Use one per stack, from its beginning."""

    stack: Stack
    sessions: dict[str, _Session] = field(default_factory=dict)

    async def read(self) -> None:
        """Read what was delivered since the last time."""
        listed = await self.stack.control("GET", "sessions?ended=yes")
        for each in listed:
            known = self.sessions.setdefault(each["session_id"], _Session(each["shard"][0], len(self.sessions)))
            if each["seq"] > (known.events[-1].seq if known.events else 0):
                await self._read_session(each["session_id"], known)

    async def _read_session(self, session_id: str, known: _Session) -> None:
        after = known.events[-1].seq if known.events else 0
        path = f"/control/delivered?session_id={session_id}&after_seq={after}"
        async with self.stack.session.get(f"{self.stack.chat_url}{path}", timeout=_PATIENCE) as answer:
            answer.raise_for_status()
            known.events += msgspec.json.decode(await answer.read(), type=_Log).log

    async def judge(self, snapshot: Snapshot) -> Verdict:
        """Compare one file, live or restored, with the log. Read the log after the snapshot was taken."""
        if snapshot.dead_letters:
            return Verdict(wrong={f"I9 {snapshot.shard_id}: {snapshot.dead_letters} dead letters"})
        if snapshot.gaps:
            return await self._judge_by_message(snapshot)
        return await asyncio.to_thread(self._judge_exactly, snapshot)

    def delivered(self, shard: int) -> int:
        """Return how many messages sessions of a shard were given."""
        return sum(
            event.name == "MESSAGE_CREATE"
            for each in self.sessions.values()
            if each.shard == shard
            for event in each.events
        )

    def _judge_exactly(self, snapshot: Snapshot) -> Verdict:
        verdict = Verdict()
        number = int(snapshot.shard_id.partition("-")[0])
        own = self.sessions.get(snapshot.session_id or "")
        if own is None:
            if self.delivered(number):
                verdict.wrong.add(f"I8 {snapshot.shard_id}: a file from the beginning, although events were delivered")
            return verdict
        others = [
            key for key, each in self.sessions.items() if each.shard == number and each is not own and _speaks(each)
        ]
        if others:
            verdict.wrong.add(f"I9 {snapshot.shard_id}: {len(others)} other sessions, and no gap is recorded")
        fold = own.fold_to(snapshot.session_id or "", snapshot.seq)
        verdict.compared = len(fold.ledger)
        _compare_causes(verdict, fold.ledger, snapshot)
        if not verdict.lost and not verdict.doubled:
            _compare_rows(verdict, fold, snapshot)
        return verdict

    async def _judge_by_message(self, snapshot: Snapshot) -> Verdict:
        verdict = Verdict()
        number = int(snapshot.shard_id.partition("-")[0])
        ended = {gap.session_id: gap.after for gap in snapshot.gaps if gap.kind == "session"}
        expected: dict[int, str] = {}
        delivered: Counter[int] = Counter()
        for session_id, each in self.sessions.items():
            if each.shard == number:
                last = snapshot.seq if session_id == snapshot.session_id else ended.get(session_id)
                for event in each.events:
                    if event.name == "MESSAGE_CREATE" and (last is None or event.seq <= last):
                        expected.setdefault(int(event.data["id"]), event.data["channel_id"])
                        delivered[int(event.data["id"])] += 1
        counted = Counter(snapshot.created)
        verdict.compared = len(expected)
        verdict.doubled = {
            f"{snapshot.shard_id} message {key}" for key, times in counted.items() if times > max(1, delivered[key])
        }
        if snapshot.repairing:
            return verdict  # what it lacks now it may have in a moment
        for message_id in sorted(expected.keys() - counted.keys()):
            if await self._exists(expected[message_id], message_id):
                verdict.lost.add(f"{snapshot.shard_id} message {message_id}")
            else:
                verdict.named += 1
        return verdict

    async def _exists(self, channel_id: str, message_id: int) -> bool:
        headers = {"Authorization": f"Bot {self.stack.discord['bot_token']}"}
        url = f"{self.stack.discord['api_url']}/channels/{channel_id}/messages/{message_id}"
        while True:
            async with self.stack.session.get(url, headers=headers) as answer:
                if answer.status != 429:
                    return answer.status == 200
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))


def _speaks(session: _Session) -> bool:
    return any(event.name == "MESSAGE_CREATE" for event in session.events)


def _compare_causes(verdict: Verdict, expected: list[str], snapshot: Snapshot) -> None:
    counted = Counter(snapshot.causes)
    known = set(expected)
    verdict.lost |= {cause for cause in expected if cause not in counted}
    verdict.doubled |= {cause for cause, times in counted.items() if times > 1}
    early = [cause for cause in counted if cause not in known]
    if early:
        verdict.wrong.add(
            f"I4 {snapshot.shard_id}: {len(early)} entries that its seq {snapshot.seq} does not cover, as {early[0]}"
        )
    elif not verdict.lost and not verdict.doubled and snapshot.causes != expected:
        verdict.wrong.add(f"I3 {snapshot.shard_id}: events out of order")


def _compare_rows(verdict: Verdict, fold: Fold, snapshot: Snapshot) -> None:
    reactions = {key: those for key, those in fold.reactions.items() if those}
    counts = {key: len(those) for key, those in reactions.items()}
    for what, wanted, found in (
        ("activity", fold.rows, snapshot.rows),
        ("reactions", reactions, snapshot.reactions),
        ("counts of reactions", counts, snapshot.counts),
    ):
        if wanted != found:
            differing = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
            key = min(differing)
            verdict.wrong.add(
                f"I4 {snapshot.shard_id}: {len(differing)} {what} differ from the fold at seq {snapshot.seq}, as {key}: "
                f"{wanted.get(key)} delivered, {found.get(key)} in the file"
            )


async def snapshots(stack: Stack) -> list[Snapshot]:
    """Look into the file of every shard."""
    paths = await asyncio.to_thread(files.newest, stack)
    return [await asyncio.to_thread(files.snapshot, path) for path in paths.values()]
