"""The gateway pod of production with two witnesses more. Its requests carry its name and incarnation in the User-Agent.

By that the simulator's log of requests says who acted, and `owners` compares it with who was the owner.
"""

from __future__ import annotations

import sys
from typing import Any

from chaos import features
from modbot.discord import rest
from modbot.services.gateway import main, pod

_AGENT = rest._USER_AGENT
_init = pod.GatewayPod.__init__


def _introduced(self: pod.GatewayPod, *arguments: Any) -> None:
    _init(self, *arguments)
    rest._USER_AGENT = f"{_AGENT} {self.pod_id}/{self.incarnation}"


def run() -> int:
    pod.all_features = features.witnessed
    pod.GatewayPod.__init__ = _introduced
    return main.main()


if __name__ == "__main__":
    sys.exit(run())
