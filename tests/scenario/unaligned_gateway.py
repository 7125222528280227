"""A gateway pod that is broken on purpose: it applies everything that it held, whatever the giver has applied already."""

import sys

import guild_witnessed_gateway

from modbot.domain import alignment
from modbot.domain.alignment import Alignment, Meeting
from modbot.services.gateway import main

alignment.decide = lambda _applied, held: Alignment(tuple(range(len(held))), Meeting.ALIGNED)

if __name__ == "__main__":
    assert guild_witnessed_gateway
    sys.exit(main.main())
