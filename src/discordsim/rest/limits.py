"""Discord's rate limits as clients meet them.

Three walls stand one behind the other. A *bucket* belongs to one or more routes and is counted apart for each client and
each top-level resource (channel, guild, webhook with token); it refills whole, a fixed time after its first use. The *global* limit counts all
requests of one bot in a second, except those of interactions. The *invalid request* limit counts 401, 403 and 429 per address (429 of
scope `shared` excepted); above it Discord's proxy answers 403 without JSON, whatever is asked.
Discord does not publish the sizes; the table holds what clients have observed. Refuses to know HTTP: `pipeline` turns verdicts into answers.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from discordsim.rest.switches import RestSwitches


class Scope(StrEnum):
    """Whose limit was hit."""

    USER = "user"
    GLOBAL = "global"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Rule:
    """`allowed` requests in `seconds`, counted under `bucket`."""

    bucket: str
    allowed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket says to a request; times in seconds, `reset` in unix seconds. `refused` names the scope of a refusal."""

    bucket: str | None = None
    limit: int = 0
    remaining: int = 0
    reset: float = 0.0
    reset_after: float = 0.0
    refused: Scope | None = None

    def headers(self) -> dict[str, str]:
        """Return the X-RateLimit headers; a request that hit the global limit or has no bucket gets none of a bucket."""
        found: dict[str, str] = {}
        if self.bucket is not None:
            found = {
                "X-RateLimit-Limit": str(self.limit),
                "X-RateLimit-Remaining": str(self.remaining),
                "X-RateLimit-Reset": f"{self.reset:.3f}",
                "X-RateLimit-Reset-After": f"{self.reset_after:.3f}",
                "X-RateLimit-Bucket": self.bucket,
            }
        return found | (refusal_headers(self.refused, self.reset_after) if self.refused else {})


def refusal_headers(scope: Scope, retry_after: float) -> dict[str, str]:
    """Return the headers that only a 429 carries."""
    found = {"Retry-After": str(math.ceil(retry_after)), "X-RateLimit-Scope": scope.value}
    return found | ({"X-RateLimit-Global": "true"} if scope is Scope.GLOBAL else {})


_MESSAGE = "/channels/{channel_id}/messages/{message_id}"
_REACTIONS = f"{_MESSAGE}/reactions"
_MEMBER = "/guilds/{guild_id}/members/{user_id}"
_OBSERVED: dict[tuple[str, str], Rule] = {
    ("POST", "/channels/{channel_id}/messages"): Rule("message-create", 5, 5.0),
    ("PATCH", _MESSAGE): Rule("message-edit", 5, 5.0),
    ("DELETE", _MESSAGE): Rule("message-delete", 5, 1.0),
    ("POST", "/channels/{channel_id}/messages/bulk-delete"): Rule("message-bulk-delete", 1, 1.0),
    ("POST", "/channels/{channel_id}/typing"): Rule("typing", 5, 5.0),
    ("PATCH", "/channels/{channel_id}"): Rule("channel-edit", 5, 15.0),
    ("PATCH", _MEMBER): Rule("member-edit", 10, 10.0),
    ("PUT", f"{_MEMBER}/roles/{{role_id}}"): Rule("member-roles", 10, 10.0),
    ("DELETE", f"{_MEMBER}/roles/{{role_id}}"): Rule("member-roles", 10, 10.0),
    ("DELETE", _MEMBER): Rule("member-kick", 5, 1.0),
    ("PUT", "/guilds/{guild_id}/bans/{user_id}"): Rule("ban", 5, 1.0),
    ("DELETE", "/guilds/{guild_id}/bans/{user_id}"): Rule("unban", 5, 1.0),
    ("POST", "/guilds/{guild_id}/bulk-ban"): Rule("bulk-ban", 1, 1.0),
    ("POST", "/users/@me/channels"): Rule("direct-open", 10, 10.0),
    ("GET", "/users/@me/guilds"): Rule("own-guilds", 1, 1.0),
    ("GET", "/gateway/bot"): Rule("gateway-bot", 2, 5.0),
}
_FREE = "/interactions/"
_WEBHOOK_WITH_TOKEN = "/webhooks/{"  # noqa: S105 - the start of a route


def rule_for(method: str, route: str) -> Rule | None:
    """Return the rule of a route template (without the API prefix); None for interaction callbacks, which have no bucket."""
    if route.startswith(_FREE):
        return None
    if route.startswith(_REACTIONS) and method in {"PUT", "DELETE"}:
        return Rule("reactions", 1, 0.25)
    if route.startswith(_WEBHOOK_WITH_TOKEN):
        return Rule("webhooks", 5, 2.0)
    if "/commands" in route and method in {"POST", "PATCH", "PUT"}:
        return Rule(f"{method} {route}", 5, 20.0)
    return _OBSERVED.get((method, route), Rule(f"{method} {route}", 50, 1.0))


def bucket_id(bucket: str) -> str:
    """Return the opaque name under which clients see a bucket."""
    return hashlib.md5(bucket.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class _Window:
    used: int
    ends: float


class Limiter:
    """Counts requests; `clock` in unix seconds, `switches` returns those in force."""

    def __init__(self, switches: Callable[[], RestSwitches], clock: Callable[[], float]) -> None:
        self._read_switches, self._clock = switches, clock
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._global: dict[str, _Window] = {}
        self._invalid: dict[str, deque[float]] = {}
        self._old_edits: dict[int, deque[float]] = {}
        self._sweep_at = 0.0

    @property
    def _switches(self) -> RestSwitches:
        return self._read_switches()

    def take(self, client: str, method: str, route: str, major: str, *, counts_globally: bool = True) -> Verdict:
        """Count a request of a client and judge it; a refused one still costs nothing of its bucket."""
        if not self._switches.limits:
            return Verdict()
        moment = self._clock()
        self._sweep(moment)
        if counts_globally:
            wait = self._take_global(client, moment)
            if wait is not None:
                return Verdict(reset=moment + wait, reset_after=wait, refused=Scope.GLOBAL)
        rule = rule_for(method, route)
        return Verdict() if rule is None else self._take_bucket(client, rule, major, moment)

    def _take_global(self, client: str, moment: float) -> float | None:
        window = self._global.get(client)
        if window is None or window.ends <= moment:
            window = self._global[client] = _Window(0, moment + 1.0)
        if window.used >= self._scaled(self._switches.global_per_second):
            return window.ends - moment
        window.used += 1
        return None

    def _take_bucket(self, client: str, rule: Rule, major: str, moment: float) -> Verdict:
        key = (client, rule.bucket, major)
        window = self._windows.get(key)
        if window is None or window.ends <= moment:
            window = self._windows[key] = _Window(0, moment + rule.seconds)
        allowed = self._scaled(rule.allowed)
        refused = window.used >= allowed
        window.used += not refused
        return Verdict(
            bucket=bucket_id(rule.bucket),
            limit=allowed,
            remaining=allowed - window.used,
            reset=window.ends,
            reset_after=window.ends - moment,
            refused=Scope.USER if refused else None,
        )

    def _scaled(self, allowed: int) -> int:
        return max(int(allowed * self._switches.limits_scale), 1)

    def _sweep(self, moment: float) -> None:
        """Forget windows that ended, once a minute, so that long runs stay small."""
        if moment < self._sweep_at:
            return
        self._sweep_at = moment + 60.0
        self._windows = {key: one for key, one in self._windows.items() if one.ends > moment}
        self._global = {key: one for key, one in self._global.items() if one.ends > moment}

    def count_invalid(self, address: str) -> None:
        """Count a 401, 403 or 429 against an address."""
        self._invalid.setdefault(address, deque()).append(self._clock())

    def invalid_requests(self, address: str) -> int:
        """Return how many invalid requests of the address count now."""
        found = self._invalid.get(address, deque())
        _forget(found, self._clock() - self._switches.invalid_seconds)
        return len(found)

    def is_banned(self, address: str) -> bool:
        """Tell whether the proxy keeps the address out."""
        return self._switches.limits and self.invalid_requests(address) >= self._switches.invalid_requests

    def forgive(self) -> None:
        """Forget all counts, bans included."""
        for counts in (self._windows, self._global, self._invalid, self._old_edits):
            counts.clear()

    def take_old_edit(self, channel_id: int) -> float | None:
        """Count an edit of a message older than an hour; return the seconds to wait when there were too many."""
        found, moment = self._old_edits.setdefault(channel_id, deque()), self._clock()
        _forget(found, moment - self._switches.old_edit_seconds)
        if self._switches.limits and len(found) >= self._scaled(self._switches.old_edits):
            return found[0] + self._switches.old_edit_seconds - moment
        found.append(moment)
        return None


def _forget(moments: deque[float], before: float) -> None:
    while moments and moments[0] <= before:
        moments.popleft()
