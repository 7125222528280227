"""The REST client: every request that leaves a pod for Discord leaves here.

The way of one request, again for each try:

1. wait for the route's bucket (`buckets`), in order;
2. wait for a token of this pod's share (`budgets`); a closed breaker refuses;
3. ask the **gate**, at the last moment before sending and with the time that the request may take: is the lease valid that long? A
   reason means no, and the request is not sent (`FencedError`, I2). Nothing is awaited between the gate and the send;
4. send, for at most the time that the gate was told.

Then: a 429 was not carried out, so it is always tried again, after what it says and where it says (`user` and `shared` hold the
bucket, `global` holds the whole budget). 5xx, timeouts and broken connections leave the outcome unknown: only repeatable routes
are tried again, with growing, fully jittered pauses; for others the caller gets `ServerError` and has to look. Waiting longer than
`patience` for a bucket, for a share or after 429s is `RateLimitedError`: effects have better places to wait than a coroutine.

Counted for the fleet: 401, 403 and 429, except 429 of scope `shared`, which Discord does not count.

What never happens: the token in an error, a log line or a `repr`; following a redirect with it; deciding what a failure means for
a feature.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import structlog
from yarl import URL

from modbot.discord import rest_errors
from modbot.discord.buckets import Bucket, Buckets, Limits, limits_of
from modbot.discord.budgets import Budget
from modbot.discord.rest_errors import FencedError, RateLimitedError, RestError, ServerError
from modbot.discord.routes import Route
from modbot.ops import metrics, tracing
from modbot.ops.settings import Secret
from modbot.ops.tracing import Fact

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_TOO_MANY: Final = 429
_COUNTED: Final = frozenset({401, 403})
_REASON_LENGTH: Final = 512
_USER_AGENT: Final = "DiscordBot (https://github.com/modbot/modbot, 0.1.0)"
TIMEOUT: Final = 3.0
"""Seconds that one try may take; the lease must be valid for as long when it begins."""
_CDN: Final = Route(method="GET", template="(attachment)", path="", authenticated=False)
_DOWNLOAD_SECONDS: Final = 20.0
Gate = Callable[[float], str | None]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment to upload; its place in the list is its id in the body's `attachments`."""

    name: str
    data: bytes
    content_type: str = "application/octet-stream"


class Response(msgspec.Struct, frozen=True):
    """An answer with a status of 2xx."""

    status: int
    body: bytes

    def decode(self, kind: type[_T]) -> _T:
        """Read the body as a type of `objects`."""
        return msgspec.json.decode(self.body, type=kind, strict=False)


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes
    limits: Limits | None


def always_open(_seconds: float) -> str | None:
    """Be the gate of processes that own no shard, such as `http` and one-off commands."""
    return None


class RestClient:
    """See the module's essay."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        base_url: str,
        token: Secret,
        budget: Budget,
        gate: Gate = always_open,
        tries: int = 5,
        patience: float = 60.0,
        backoff: float = 0.5,
        rng: Callable[[], float] = random.random,
    ) -> None:
        """`base_url` ends with the version (`…/api/v10`); `patience` and `backoff` (first pause's ceiling) in seconds."""
        self._http = http
        self._base = base_url.rstrip("/")
        self._token = token
        self._budget = budget
        self._gate = gate
        self._tries = tries
        self._patience = patience
        self._backoff = backoff
        self._rng = rng
        self._buckets = Buckets()

    async def request(
        self,
        route: Route,
        *,
        json: Any = None,
        params: Mapping[str, str | int] | None = None,
        reason: str | None = None,
        files: Sequence[File] = (),
        auth: bool = True,
        background: bool = False,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - the gate has to be told
    ) -> Response:
        """Carry out one request and return Discord's answer.

        `reason` goes to the guild's audit log (cut to 512 characters). `timeout` is per try, in seconds. `background` requests take
        only what others leave of the share. Raises the errors of
        `rest_errors`, `FencedError` and `EgressClosedError`.
        """
        headers = self._headers(reason, auth=auth and route.authenticated)
        waited = 0.0
        for number in range(1, self._tries + 1):
            try:
                answer = await self._try(
                    route,
                    json=json,
                    params=params,
                    headers=headers,
                    files=files,
                    seconds=timeout,
                    background=background,
                )
            except ServerError:
                if number == self._tries or not route.repeatable:
                    raise
                pause = self._growing_pause(number)
            else:
                if 200 <= answer.status < 300:
                    return Response(answer.status, answer.body)
                pause = self._pause_after(route, answer, number, waited)
            waited += pause
            await asyncio.sleep(pause)
        raise AssertionError  # the last try returns or raises

    async def download(self, url: str, *, limit: int) -> bytes | None:
        """Fetch a file from Discord's CDN, without the token; None when it is gone or larger than `limit` bytes.

        Raises `ServerError` when the CDN does not answer.
        """
        seconds = aiohttp.ClientTimeout(total=_DOWNLOAD_SECONDS)
        try:
            async with self._http.get(URL(url, encoded=True), timeout=seconds, allow_redirects=False) as answer:
                if answer.status >= 500:
                    raise ServerError(_CDN, http_status=answer.status)
                if answer.status != 200:
                    return None
                content = await answer.content.read(limit + 1)
                while len(content) <= limit and (more := await answer.content.read(limit + 1 - len(content))):
                    content += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerError(_CDN, text=type(error).__name__) from None
        return content if len(content) <= limit else None

    async def _try(
        self,
        route: Route,
        *,
        json: Any,
        params: Any,
        headers: dict[str, str],
        files: Sequence[File],
        seconds: float,
        background: bool,
    ) -> _Answer:
        bucket = self._buckets.of(route)
        asked_at = time.monotonic()
        await self._within_patience(route, bucket.enter())
        answer: _Answer | None = None
        try:
            if route.interaction:
                self._budget.check_open()
            else:
                await self._within_patience(route, self._budget.take(background=background))
            metrics.REST_WAIT.observe(time.monotonic() - asked_at)
            if (why := self._gate(seconds)) is not None:
                metrics.REST_REQUESTS.labels("fenced").inc()
                raise FencedError(f"{route} was not sent: {why}.")
            with _traced(route):
                answer = await self._send(
                    route, json=json, params=params, headers=headers, files=files, seconds=seconds
                )
                tracing.note(Fact.STATUS, answer.status)
        finally:
            self._settle(route, bucket, answer)
        return answer

    async def _within_patience(self, route: Route, waiting: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await waiting
        except TimeoutError:
            metrics.REST_LIMITED.labels("local").inc()
            raise RateLimitedError(route, retry_after=self._patience, scope="local") from None

    def _settle(self, route: Route, bucket: Bucket, answer: _Answer | None) -> None:
        """Note what an answer says about limits, then let the next request in."""
        if answer is None:
            bucket.leave(None)
            return
        if answer.limits is not None:
            self._buckets.learn(route, bucket, answer.limits)
        if answer.status == _TOO_MANY:
            self._limited(bucket, answer)
        elif answer.status in _COUNTED:
            self._budget.count_invalid()
        bucket.leave(answer.limits, answered=200 <= answer.status < 300)

    def _limited(self, bucket: Bucket, answer: _Answer) -> None:
        scope = _scope(answer)
        metrics.REST_LIMITED.labels(scope).inc()
        if scope != "shared":
            self._budget.count_invalid()
        if scope == "global":
            self._budget.pause(_retry_after(answer))
        else:
            bucket.block(_retry_after(answer))

    def _pause_after(self, route: Route, answer: _Answer, number: int, waited: float) -> float:
        """Return the pause before the next try, or raise when there is none."""
        if answer.status == _TOO_MANY:
            wait, scope = _retry_after(answer), _scope(answer)
            _log.warning("rest.limited", route=str(route), scope=scope, retry_after=wait)
            if number == self._tries or waited + wait > self._patience:
                raise RateLimitedError(route, retry_after=wait, scope=scope)
            return wait
        error: RestError = rest_errors.decide_error(route, answer.status, answer.body)
        if isinstance(error, ServerError) and route.repeatable and number < self._tries:
            return self._growing_pause(number)
        raise error

    def _growing_pause(self, number: int) -> float:
        return float(self._backoff * 2 ** (number - 1) * self._rng())

    async def _send(
        self, route: Route, *, json: Any, params: Any, headers: dict[str, str], files: Sequence[File], seconds: float
    ) -> _Answer:
        data, headers = _body(json, files, headers)
        url = URL(self._base + route.path, encoded=True)
        if params:
            url = url.update_query(params)
        sent_at = time.monotonic()
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.request(route.method, url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                found = _Answer(answer.status, answer.headers, await answer.read(), limits_of(answer.headers))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.REST_REQUESTS.labels("unanswered").inc()
            # The error's own text may quote the path, and with it an interaction's token.
            raise ServerError(route, text=f"no answer ({type(error).__name__})") from None
        metrics.REST_SECONDS.observe(time.monotonic() - sent_at)
        metrics.REST_REQUESTS.labels(_outcome(found.status)).inc()
        return found

    def _headers(self, reason: str | None, *, auth: bool) -> dict[str, str]:
        headers = {"User-Agent": _USER_AGENT}
        if auth:
            headers["Authorization"] = f"Bot {self._token.reveal()}"
        if reason:
            headers["X-Audit-Log-Reason"] = quote(reason[:_REASON_LENGTH], safe="")
        return headers


def _body(json: Any, files: Sequence[File], headers: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """Encode the body: JSON, or multipart with `payload_json` and `files[n]`. Anew for each try, as forms are used up."""
    if not files:
        if json is None:
            return None, headers
        return msgspec.json.encode(json), headers | {"Content-Type": "application/json"}
    form = aiohttp.FormData()
    payload = msgspec.json.encode(json if json is not None else {}).decode()
    form.add_field("payload_json", payload, content_type="application/json")
    for number, file in enumerate(files):
        form.add_field(f"files[{number}]", file.data, filename=file.name, content_type=file.content_type)
    return form, headers


def _traced(route: Route) -> contextlib.AbstractContextManager[None]:
    """Record a request as part of what it belongs to; what is done in the background is in no trace."""
    if not tracing.is_open():
        return contextlib.nullcontext()
    return tracing.span("request to Discord", {Fact.METHOD: route.method, Fact.ROUTE: route.template}, client=True)


def _outcome(status: int) -> str:
    """Return the class of an answer for the metrics."""
    if status < 300:
        return "done"
    if status == _TOO_MANY:
        return "limited"
    if status in _COUNTED:
        return "denied"
    return "refused" if status < 500 else "failed"


def _retry_after(answer: _Answer) -> float:
    """Return the seconds to wait after a 429: the body is the most exact, the header is what a proxy in between sends."""
    seconds = rest_errors.read_problem(answer.body).retry_after
    if seconds <= 0:
        try:
            seconds = float(answer.headers.get("Retry-After", "1"))
        except ValueError:
            seconds = 1.0
    return max(0.0, seconds)


def _scope(answer: _Answer) -> str:
    """Return `user`, `global` or `shared`; a 429 that is not Discord's JSON comes from the proxy in front and holds for all."""
    if "X-RateLimit-Global" in answer.headers:
        return "global"
    own = rest_errors.read_problem(answer.body).retry_after > 0
    return answer.headers.get("X-RateLimit-Scope", "user" if own else "global")
