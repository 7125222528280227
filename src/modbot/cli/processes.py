"""Child processes that are kept running, the way a kubelet keeps containers: started, watched, started again, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_GRACE = 15.0
_SHORT_LIFE = 2.0
_LONGEST_PAUSE = 5.0
_WORDS = 5
_DRAIN = 1.0
_LONGEST_LINE = 2**20
Told = Callable[[str], None]


@dataclass(slots=True)
class Child:
    """One process: its command, its environment (nothing of ours leaks in), and where its output goes.

    With a `log` it leads a session of its own and writes to that file. Without one it stays in our process group, and what it writes
    goes to our stderr, line by line and unchanged.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path | None
    tell: Told
    user: str | None = None
    """As whom it runs, when not as ourselves."""
    short_life: float = _SHORT_LIFE
    """Seconds after which it counts as having stayed up."""
    most_deaths: int | None = None
    """After so many short lives in a row it is not started again, and `given_up` is set."""
    restarts: int = 0
    failed_starts: int = 0
    """How often in a row it ended by itself right after its start."""
    short_lives: int = 0
    """How often in a row it ended right after its start, by itself or by a signal."""
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    _words: deque[bytes] = field(default_factory=lambda: deque(maxlen=_WORDS))
    _passing_on: asyncio.Task[None] | None = None
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
        await self._heard()

    def last_words(self) -> str:
        """Return the end of its log, for the sentence about why it would not start."""
        if self.log is None:
            return b"".join(self._words).decode(errors="replace").rstrip()
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_WORDS:])
        return ""

    async def _spawn(self) -> None:
        with contextlib.ExitStack() as stack:
            output: Any = asyncio.subprocess.PIPE if self.log is None else stack.enter_context(self.log.open("ab"))
            self._process = await asyncio.create_subprocess_exec(
                *self.arguments,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=self.log is not None,
                user=self.user,
                limit=_LONGEST_LINE,
            )
        if self._process.stdout is not None:
            self._passing_on = asyncio.create_task(self._pass_on(self._process.stdout))

    async def _pass_on(self, output: asyncio.StreamReader) -> None:
        """Write what it writes to our stderr; whole lines, so that those of several children do not mix."""
        while True:
            try:
                line = await output.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as error:
                line = await output.read(error.consumed)
            if not line:
                return
            self._words.append(line)
            with contextlib.suppress(OSError):  # whoever reads our log is gone; nobody else is to die of it
                os.write(sys.stderr.fileno(), line)

    async def _heard(self) -> None:
        """Wait for the last words of a process that has ended; a child of its own may hold its output open."""
        if self._passing_on is not None:
            await asyncio.wait([self._passing_on], timeout=_DRAIN)
            self._passing_on.cancel()

    async def _keep(self) -> None:
        pause = 0.0
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            await self._heard()
            short = time.monotonic() - started < self.short_life
            self.failed_starts = self.failed_starts + 1 if short and code >= 0 else 0
            self.short_lives = self.short_lives + 1 if short else 0
            if self.short_lives == self.most_deaths:
                self.tell(f"{self.name} ended ({_ending(code)}); it does not stay up")
                self.given_up.set()
                return
            self.tell(f"{self.name} ended ({_ending(code)}); starting it again")
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
