"""Litestream sidecars as processes: one per gateway pod of the system on this machine, and the one that `modbot single` may bring along."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

PROGRAM = Path(sysconfig.get_path("scripts")) / "litestream"
"""The wheel of the extra `dev` puts it there."""
_MODEST = ("nice", "-n", "10")
"""Where everything shares a few cores, pods come first: a whole file that is uploaded must not slow them down. In a cluster the shares
of the containers do that."""
_CONFIG = """\
socket:
  enabled: true
  path: {socket}
snapshot:
  interval: 1h
logging:
  type: json
  stderr: true
"""


def command(program: str, config: Path, socket: Path) -> tuple[str, ...]:
    """Write the configuration of a sidecar with that control socket, and return how it is started. The pod tells it what to replicate."""
    config.write_text(_CONFIG.format(socket=json.dumps(str(socket))), "utf-8")
    return (*_MODEST, program, "replicate", "-config", str(config))


def keys(pair: tuple[str, str]) -> dict[str, str]:
    """Return the variables by which pods and sidecars take the keys of a store; none for a folder."""
    key, secret = pair
    return {"LITESTREAM_ACCESS_KEY_ID": key, "LITESTREAM_SECRET_ACCESS_KEY": secret} if key else {}
