"""What the pods' logs say that no file and no answer of the simulator does."""

from __future__ import annotations

import json

from modbot.cli.stack import Stack


def rolled_back(stack: Stack) -> set[str]:
    """Return the shards that were restored from an older epoch than one that was found unsound."""
    passed_over: dict[str, int] = {}
    found: set[str] = set()
    for path in sorted((stack.plan.state / "logs").glob("gateway-*.log")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if '"event": "replica_passed_over"' in line and '"outcome": "incomplete"' not in line:
                told = json.loads(line)
                passed_over[told["shard"]] = max(told["from_epoch"], passed_over.get(told["shard"], 0))
            elif '"event": "shard_restored"' in line:
                told = json.loads(line)
                if told["from_epoch"] < passed_over.get(told["shard"], 0):
                    found.add(told["shard"])
    return found
