"""The faults by their numbers in the plan of the project: F1 to F19. Each is one function that breaks something and mends it again.

What has no counterpart here: F16 (scale up and down), which belongs to the tests of rebalancing.
"""

from __future__ import annotations

from chaos.faults import discord, moving, pods, surroundings
from chaos.faults.fault import Fault

ALL: dict[str, Fault] = {
    fault.name: fault for fault in (*pods.FAULTS, *moving.FAULTS, *surroundings.FAULTS, *discord.FAULTS)
}

__all__ = ["ALL", "Fault"]
