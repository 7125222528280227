"""The Litestream sidecars of the system on this machine: one process per gateway pod, with its socket on the pod's volume."""

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


def command(state: Path, number: int, volume: Path) -> tuple[str, ...]:
    """Write the configuration of a pod's sidecar and return how it is started. The pod tells it what to replicate."""
    volume.mkdir(exist_ok=True)
    config = state / f"litestream-{number}.yml"
    config.write_text(_CONFIG.format(socket=json.dumps(str(volume.resolve() / "litestream.sock"))), "utf-8")
    return (*_MODEST, str(PROGRAM), "replicate", "-config", str(config))


def keys(pair: tuple[str, str]) -> dict[str, str]:
    """Return the variables by which pods and sidecars take the keys of a store; none for a folder."""
    key, secret = pair
    return {"LITESTREAM_ACCESS_KEY_ID": key, "LITESTREAM_SECRET_ACCESS_KEY": secret} if key else {}
