"""`modbot` without the time that its imports take: a process that has them forks for each command.

`program` writes a stand-in for the executable. It hands its arguments, folder, variables and the three streams to the process that waits
at a socket, and ends with the exit code that comes back. What runs is the same command line in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

_STAND_IN = """\
#!{python} -S
import json, os, socket, sys
order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({address!r})
    socket.send_fds(asking, [len(order).to_bytes(4, "big")], [0, 1, 2])
    asking.sendall(order)
    sys.exit(asking.recv(1)[0])
"""
_MODULES = (
    "modbot.cli.archive_calls",
    "modbot.cli.dedicating",
    "modbot.cli.doctor.running",
    "modbot.cli.operating",
    "modbot.cli.showing",
)


@contextlib.contextmanager
def program(path: Path) -> Iterator[None]:
    """Keep the process running, and the stand-in at `path`, while the block runs."""
    address = str(path.with_suffix(".socket"))
    path.write_text(_STAND_IN.format(python=sys.executable, address=address))
    path.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def _serve(address: str) -> None:
    for module in _MODULES:
        __import__(module)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)  # noqa: T201 - the one who waits reads it
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(asked)
            asked.close()


def _answer(asked: socket.socket) -> None:
    """Run one command in a child of this forked process, so that its exit code comes back however it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(asked, 4, 3)
    order = b""
    while len(order) < int.from_bytes(length, "big"):
        order += asked.recv(65536)
    arguments, folder, variables = json.loads(order)
    child = os.fork()
    if child == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        _run(arguments)
    _, status = os.waitpid(child, 0)
    asked.sendall(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
    os._exit(0)


def _run(arguments: list[str]) -> None:
    """Run the command line and end at once: nothing of a forked process needs to be put in order."""
    from modbot.cli.main import main

    code = 1
    try:
        main.main(arguments, prog_name="modbot")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - a forked process must not go back into the one it came from
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
