"""What the operator's verbs print: tables of shards, pods and plans that fit 80 columns, and their JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from modbot.cluster import protocol
from modbot.domain.ids import ShardId
from modbot.domain.replicas import Proof

if TYPE_CHECKING:
    from modbot.cli.adopting import Plan
    from modbot.cli.drilling import Row

WIDTH = 80


def shards(found: Sequence[protocol.ShardDetail]) -> RenderableType:
    """Build the table of shards: owner, weight, pin, and what is going on."""
    made = _table(("SHARD", "OWNER", "EPOCH", "WEIGHT", "PIN", "NOW"), right={"EPOCH", "WEIGHT"}, wide="NOW")
    for shard in found:
        now, colour = "", "yellow"
        if shard.target is not None:
            now = f"moving to {shard.target}"
        elif shard.owner is None:
            now, colour = shard.waiting, "red"
        made.add_row(
            shard.shard_id,
            shard.owner or "-",
            str(shard.epoch),
            f"{shard.weight:.1f}",
            shard.pin or "",
            Text(now, style=colour),
        )
    return made


def pods(found: Sequence[protocol.PodHealth], shards: Sequence[protocol.ShardDetail]) -> RenderableType:
    """Build the table of pods: shards of capacity, load, what comes and goes, labels."""
    made = _table(
        ("POD", "STATE", "SHARDS", "LOAD", "COMING", "GOING", "LABELS"),
        right={"SHARDS", "LOAD", "COMING", "GOING"},
        wide="LABELS",
    )
    for pod in sorted(found, key=lambda each: each.pod_id):
        mine = [shard for shard in shards if shard.owner == pod.pod_id]
        coming = [shard for shard in shards if shard.target == pod.pod_id]
        going = [shard for shard in mine if shard.target is not None]
        load = sum(shard.weight for shard in [*mine, *coming]) - sum(shard.weight for shard in going)
        made.add_row(
            pod.pod_id,
            state(pod),
            f"{len(mine)}/{pod.capacity}",
            f"{load:.1f}",
            str(len(coming) or ""),
            str(len(going) or ""),
            ", ".join(f"{key}={value}" for key, value in sorted(pod.labels.items())),
        )
    return made


def state(pod: protocol.PodHealth) -> Text:
    """Say in a word how a pod is."""
    if pod.state is not protocol.PodState.LIVE:
        word = f"{pod.state}, drained" if pod.cordoned else str(pod.state)
        return Text(word, style="red" if pod.state is protocol.PodState.LOST else "dim")
    if pod.draining:
        return Text("stopping", style="yellow")
    return Text("drained", style="yellow") if pod.cordoned else Text("live", style="green")


def plan(found: protocol.RebalancePlan, *, only: frozenset[ShardId] | None = None) -> RenderableType:
    """Show a plan: its moves with their reasons, what cannot move, and the verdict. `only`: these shards."""
    parts: list[RenderableType] = []
    moves = [move for move in found.moves if only is None or move.shard_id in only]
    held = [each for each in found.held if only is None or each.shard_id in only]
    if moves:
        made = _table(("SHARD", "FROM", "TO", "WHY"), wide="WHY")
        for move in moves:
            made.add_row(move.shard_id, move.source, move.target, move.reason)
        parts.append(made)
    parts += [Text(f"{each.shard_id} stays: {each.reason}", style="yellow") for each in held]
    if found.waits:
        parts.append(Text(found.waits, style="yellow"))
    if only is None:
        if moves:
            parts.append(
                Text(
                    f"{count(len(moves))}; most loaded pod: {found.imbalance:.2f} → {found.imbalance_after:.2f} times the mean."
                )
            )
        parts.append(Text(found.verdict))
    return Group(*parts)


def drill(found: Sequence[Row]) -> RenderableType:
    """Build the table of a restore drill, and the line about all of it."""
    made = _table(
        ("SHARD", "EPOCH", "SEQ", "AGE", "BYTES", "ROWS", "SECONDS", "VERDICT"),
        right={"EPOCH", "SEQ", "AGE", "BYTES", "ROWS", "SECONDS"},
        wide="VERDICT",
    )
    for row in found:
        proven = row.verdict is Proof.PROVEN
        made.add_row(
            row.shard_id,
            "-" if row.epoch is None else str(row.epoch),
            "-" if row.seq is None else str(row.seq),
            "-" if row.age is None else f"{row.age:.0f} s",
            str(row.size),
            str(sum(row.rows.values())),
            f"{row.seconds:.1f}",
            Text("proven", style="green") if proven else Text(f"{row.verdict}: {row.reason}", style="red"),
        )
    sound = sum(row.verdict is Proof.PROVEN for row in found)
    return Group(made, Text(f"{sound} of {len(found)} shards are proven."))


def adoption(found: Plan) -> RenderableType:
    """Build the table of an adoption, and the line about what is to be done or was done."""
    if found.empty:
        return Text("There is nothing to do: this database knows all that the store does.")
    made = _table(("SHARD", "STORE", "HERE", "BECOMES"), right={"STORE", "HERE"}, wide="BECOMES")
    for line in found.shards:
        made.add_row(line.shard_id, str(line.store), str(line.database), line.becomes)
    parts: list[RenderableType] = [made]
    if found.holder not in {None, found.cluster}:
        parts.append(
            Text(f"The store is in the service of cluster {found.holder}; it becomes that of {found.cluster}.")
        )
    if found.done:
        parts.append(Text("Done. Start the gateway pods.", style="green"))
    elif found.waits:
        parts.append(Text(f"Not now: {found.waits}.", style="red"))
    else:
        parts.append(Text("Nothing was changed; --yes does it.", style="yellow"))
    return Group(*parts)


def count(moves: int) -> str:
    """Say how many moves."""
    return "1 move" if moves == 1 else f"{moves} moves"


def console(*, stderr: bool = False) -> Console:
    """Return a console that is as wide as the terminal; where there is none, 80 columns."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=WIDTH)


def _table(titles: Sequence[str], *, wide: str, right: set[str] | frozenset[str] = frozenset()) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        made.add_column(title, justify="right" if title in right else "left", no_wrap=title != wide, overflow="fold")
    return made
