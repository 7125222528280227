"""The `kubectl` of the cluster in miniature: the sub-commands of the pages, answered by `Cluster`; the rest is the real one's.

As a program it only passes its words on to the test, over a Unix socket, and prints the answer.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["MINIATURE_SOCKET"])


def main() -> int:
    """Ask, print, and return the exit code."""
    connection = _Connection("miniature")
    connection.request("POST", "/", json.dumps({"words": sys.argv[1:], "folder": str(Path.cwd())}))
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    sys.stdout.write(answer["out"])
    sys.stderr.write(answer["told"])
    return int(answer["code"])


if __name__ == "__main__":
    sys.exit(main())
