"""`modbot doctor` itself: looks, decides, prints, and returns 0 (fine), 1 (something is wrong) or 2 (there was nothing to look at).

Before a start, some of what is wrong may come right by itself: the config service or the store may be about to come. Then it looks again
until `timeout` is over, so that a pod does not fall into the ever longer pauses of a container that crashes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from modbot.cli import tables
from modbot.cli.doctor import checks, looking, printing
from modbot.cli.doctor.checks import around, config
from modbot.cli.doctor.facts import Facts
from modbot.cli.doctor.findings import Finding, Level
from modbot.cli.doctor.looking import Order
from modbot.ops import logs

_AGAIN: Final = 2.0
_MAY_COME: Final = (config.UNREACHABLE, around.STORE_AWAY)


def run(order: Order, *, as_json: bool, timeout: float) -> int:
    """Do one examination; `timeout` in seconds, before a start only."""
    logs.quiet()  # what a client retries is not a finding
    facts, found = asyncio.run(_examine(order, timeout))
    if as_json:
        sys.stdout.write(printing.as_json(facts, found).decode() + "\n")
    else:
        printing.show(tables.console(), found)
    talk = tables.console(stderr=True)
    for each in facts.unseen:
        talk.print(f"not looked at: {each}", style="dim", markup=False, highlight=False, soft_wrap=True)
    talk.print(printing.verdict(facts, found), markup=False, highlight=False, soft_wrap=True)
    return int(any(finding.kind.level is Level.WRONG for finding in found))


async def _examine(order: Order, timeout: float) -> tuple[Facts, list[Finding]]:  # noqa: ASYNC109 - the user's
    until = time.monotonic() + timeout
    while True:
        facts = await looking.look(order)
        found = checks.decide_findings(facts)
        wrong = [finding.kind for finding in found if finding.kind.level is Level.WRONG]
        waits = order.before_start and wrong and all(kind in _MAY_COME for kind in wrong)
        if not waits or time.monotonic() + _AGAIN > until:
            return facts, found
        names = ", ".join(dict.fromkeys(kind.code for kind in wrong))
        sys.stderr.write(f"waiting: {names}\n")
        await asyncio.sleep(_AGAIN)
