"""Child processes that are kept running, the way a kubelet keeps containers: started, watched, started again, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_GRACE = 15.0
_SHORT_LIFE = 2.0
_LONGEST_PAUSE = 5.0
Told = Callable[[str], None]


@dataclass(slots=True)
class Child:
    """One process: its command, its environment (nothing of ours leaks in), and where its output goes."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    tell: Told
    restarts: int = 0
    failed_starts: int = 0
    """How often in a row it ended by itself right after its start."""
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _allowed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it and keep it running."""
        self._allowed.set()
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    def kill(self) -> None:
        """End it at once, as a crash would; it is started again."""
        self._signal(signal.SIGKILL)

    def ask(self, number: signal.Signals) -> None:
        """Send it a signal; if it ends, it is started again."""
        self._signal(number)

    def freeze(self, *, frozen: bool) -> None:
        """Stop its time, as a machine that hangs would, or let it go on."""
        self._signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def hold(self, *, held: bool) -> None:
        """Keep it from being started again, or let it."""
        if held:
            self._allowed.clear()
        else:
            self._allowed.set()

    async def gone(self) -> None:
        """Wait until the process that runs now has ended."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self, *, asking: signal.Signals = signal.SIGTERM, grace: float = _GRACE) -> None:
        """Ask it to stop, and end it when it does not within the grace time."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(asking)
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            self.tell(f"{self.name} did not stop within {grace:.0f} s and was ended")
            self._signal(signal.SIGKILL)
            await process.wait()

    def last_words(self) -> str:
        """Return the end of its log, for the sentence about why it would not start."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-5:])
        return ""

    async def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.arguments,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        pause = 0.0
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            self.tell(f"{self.name} ended ({_ending(code)}); starting it again")
            short = time.monotonic() - started < _SHORT_LIFE
            self.failed_starts = self.failed_starts + 1 if short and code >= 0 else 0
            pause = min(_LONGEST_PAUSE, pause * 2 or 0.5) if short else 0.0
            await asyncio.sleep(pause)
            await self._allowed.wait()
            self.restarts += 1
            await self._spawn()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module with this interpreter."""
    return (sys.executable, "-m", module, *arguments)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name
