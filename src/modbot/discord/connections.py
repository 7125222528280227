"""One gateway connection: from HELLO to its end.

Three tasks work on it side by side and end together. *Reading* takes messages from the socket and never waits for anything but
room in the intake (back-pressure). *Greeting* waits for HELLO, then resumes or, with a permit, identifies; when Discord answers
with op 9 `false` it goes on, after a random pause and with another permit, on the same socket. *Beating* sends heartbeats.

The connection never decides about the session beyond that: it ends with an `Ending`, and `sessions` decides what follows.
Whatever happens, our side of the close carries 4000, since 1000 and 1001 would end the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Literal

import aiohttp
import msgspec
import structlog

from modbot.discord import sending
from modbot.discord.closing import VOLUNTARY, Ending, Next, decide_after_close
from modbot.discord.frames import Control, FrameReader, Op, Unreadable
from modbot.discord.heartbeats import Heart
from modbot.discord.intake import Intake, Stats
from modbot.discord.sending import Identity, SendLimiter
from modbot.discord.transports import FrameError

_log = structlog.get_logger(__name__)
_LONGEST_INTERVAL: Final = 600.0
Socket = aiohttp.ClientWebSocketResponse[Literal[False]]


async def at_once() -> None:
    """Let a RESUME be sent without asking anybody."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting times in seconds. `reidentify` is the range that Discord documents for op 9; the rest is ours."""

    connect: float = 10.0
    hello: float = 20.0
    close: float = 1.0
    reidentify: tuple[float, float] = (1.0, 5.0)
    backoff_base: float = 1.0
    backoff_cap: float = 60.0
    stable_after: float = 10.0


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection is given: who we are, how to wait, and the owner's callables.

    `permit` returns once an IDENTIFY may be sent, `may_resume` once a RESUME may. `durable_seq` is what heartbeats acknowledge. `random` is in [0, 1), `clock`
    counts monotonic seconds.
    """

    identity: Identity
    timing: Timing
    permit: Callable[[], Awaitable[None]]
    may_resume: Callable[[], Awaitable[None]]
    durable_seq: Callable[[], int | None]
    random: Callable[[], float]
    clock: Callable[[], float]
    stats: Stats


class _EndedError(Exception):
    """Leaves a task with the reason for the connection's end."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Connection:
    """A socket that was just opened; `run` lives as long as it does."""

    def __init__(self, *, socket: Socket, reader: FrameReader, intake: Intake, environment: Environment) -> None:
        self._socket = socket
        self._reader = reader
        self._intake = intake
        self._env = environment
        self._limiter = SendLimiter()
        self._heart: Heart | None = None
        self._hello = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._refused = asyncio.Event()
        self._end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.established = False

    @property
    def latency(self) -> float | None:
        """Seconds between the last heartbeat and its acknowledgement."""
        return self._heart.latency if self._heart is not None else None

    async def run(self) -> Ending:
        """Serve until the end; the socket is closed then. Raises `GatewayRefusedError` and bugs."""
        jobs = (self._read(), self._greet(), self._beat())
        tasks = [asyncio.create_task(self._guard(job)) for job in jobs]
        try:
            return await self._end
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:  # also when this task is cancelled just now: the close must carry our code
                await self._close()

    def stop(self) -> None:
        """End the connection from our side; the session can be resumed afterwards."""
        self._finish(Ending(next=Next.STOP, reason="stopped", code=VOLUNTARY))

    def renew(self, reason: str) -> None:
        """End the connection and the session with it."""
        self._finish(Ending(next=Next.NEW_SESSION, reason=reason, code=VOLUNTARY, immediate=True))

    async def _guard(self, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except _EndedError as ended:
            self._finish(ended.ending)
        except FrameError as error:
            self._finish(Ending(next=Next.RESUME, reason=str(error)))
        except (aiohttp.ClientError, ConnectionError) as error:
            self._finish(Ending(next=Next.RESUME, reason=f"connection lost ({type(error).__name__})"))
        except Exception as error:  # noqa: BLE001 - not swallowed: `run` raises it
            if not self._end.done():
                self._end.set_exception(error)

    def _finish(self, ending: Ending) -> None:
        if not self._end.done():
            self._end.set_result(ending)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(self._env.timing.close):
                await self._socket.close(code=VOLUNTARY)
        except TimeoutError:
            _log.info("gateway.close_timeout")

    # Reading

    async def _read(self) -> None:
        while True:
            if self._intake.full:
                self._note_blocked()
                await self._intake.room()
                self._note_blocked()
            message = await self._socket.receive()
            if message.type not in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}:
                raise _EndedError(decide_after_close(self._close_code(message)))
            if self._heart is not None:
                self._heart.frame_seen()
            self._take(message.data)

    @staticmethod
    def _close_code(message: Any) -> int | None:
        """Only a close frame has a code; errors and a vanished peer have none."""
        return int(message.data) if message.type is aiohttp.WSMsgType.CLOSE and message.data else None

    def _note_blocked(self) -> None:
        if self._heart is not None:
            self._heart.reading_blocked()

    def _take(self, data: bytes) -> None:
        frame = self._reader.read(data)
        if frame is None:
            return
        if isinstance(frame, Control):
            self._control(frame)
            return
        if isinstance(frame, Unreadable) and frame.name == "READY":
            raise FrameError(f"READY cannot be read: {frame.reason}.")
        self._intake.take(frame)
        if not self.established and getattr(frame, "name", None) in {"READY", "RESUMED"}:
            self.established = True

    def _control(self, control: Control) -> None:
        if control.op == Op.HEARTBEAT_ACK:
            if self._heart is not None:
                self._heart.acknowledged(self._env.clock())
        elif control.op == Op.HEARTBEAT:
            self._beat_now.set()
        elif control.op == Op.HELLO:
            self._greeted(control.d)
        elif control.op == Op.RECONNECT:
            raise _EndedError(Ending(next=Next.RESUME, reason="Discord asked to reconnect", immediate=True))
        elif control.op == Op.INVALID_SESSION:
            self._invalid(resumable=control.d is True)
        else:
            _log.info("gateway.unknown_opcode", op=control.op)

    def _greeted(self, body: Any) -> None:
        interval = body.get("heartbeat_interval") if isinstance(body, dict) else None
        if not isinstance(interval, int | float) or not 0 < interval / 1000 <= _LONGEST_INTERVAL:
            raise FrameError("HELLO has no usable heartbeat interval.")
        self._heart = Heart(interval=interval / 1000, fraction=self._env.random(), now=self._env.clock())
        self._hello.set()

    def _invalid(self, *, resumable: bool) -> None:
        if resumable:
            raise _EndedError(Ending(next=Next.RESUME, reason="Discord asked to resume"))
        self._intake.lose("Discord refused the session (op 9)")
        self.established = False
        self._refused.set()

    # Greeting

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(self._env.timing.hello):
                await self._hello.wait()
        except TimeoutError:
            raise _EndedError(Ending(next=Next.RESUME, reason="no HELLO")) from None
        if self._intake.offset is not None:
            await self._env.may_resume()
        if (offset := self._intake.offset) is not None:
            await self._send(sending.resume(self._env.identity, offset))
            await self._pause_when_refused()
        while True:
            await self._env.permit()
            self._refused.clear()
            self._env.stats.identifies += 1
            await self._send(sending.identify(self._env.identity))
            await self._pause_when_refused()

    async def _pause_when_refused(self) -> None:
        await self._refused.wait()
        self._refused.clear()
        low, high = self._env.timing.reidentify
        await asyncio.sleep(low + (high - low) * self._env.random())

    # Beating

    async def _beat(self) -> None:
        await self._hello.wait()
        heart = self._heart
        assert heart is not None
        while True:
            if await self._requested_within(heart.seconds_until_due(self._env.clock())):
                await self._send(sending.heartbeat(self._env.durable_seq()), heartbeat=True)
                continue
            if self._intake.full:
                heart.reading_blocked()
            if (reason := heart.why_dead()) is not None:
                self._env.stats.zombies += 1
                raise _EndedError(Ending(next=Next.RESUME, reason=reason, immediate=True))
            heart.beaten(self._env.clock())
            await self._send(sending.heartbeat(self._env.durable_seq()), heartbeat=True)

    async def _requested_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._beat_now.wait()
        except TimeoutError:
            return False
        self._beat_now.clear()
        return True

    async def _send(self, data: bytes, *, heartbeat: bool = False) -> None:
        if delay := self._limiter.delay(self._env.clock(), heartbeat=heartbeat):
            await asyncio.sleep(delay)
        self._limiter.sent(self._env.clock())
        await self._socket.send_str(data.decode())
