"""What the tests of the shard engine share: a clock that stands still, a Discord in memory and short ways to events."""

import asyncio
import itertools
import json
import types
from datetime import UTC, datetime, timedelta

import msgspec

from modbot.discord import events
from modbot.discord.events import Ready
from modbot.discord.frames import Dispatch
from modbot.discord.intake import Batch, SessionStarted
from modbot.discord.interactions import Interaction
from modbot.discord.rest import Response
from modbot.discord.rest_errors import RestError, ServerError
from modbot.domain.ids import Epoch, GuildId, ShardId, first_snowflake_at
from modbot.domain.offsets import Offset
from modbot.shard import runner as runner_module
from modbot.shard.engine import Engine, Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOT = 900
GUILD = 7 << 22
EVERYONE = GUILD
MOD_ROLE, HIGH_ROLE, LOW_ROLE, BOT_ROLE = 501, 502, 503, 504
OWNER, MODERATOR, MEMBER, OTHER = 11, 12, 13, 14
MOD_LOG, CHANNEL = 301, 302
SHARD = ShardId("0-of-1")
URL = "wss://resume.example"


class Killed(BaseException):
    """The process dies here; no handler may take it for an error."""


class Clock:
    def __init__(self):
        self.moment = START

    def now(self):
        return self.moment

    def advance(self, seconds):
        self.moment += timedelta(seconds=seconds)


def snowflake(clock, number=0):
    return first_snowflake_at(clock.now()) + number


class Killer:
    """Counts the points at which a process may die and dies at the one that is chosen (0: never)."""

    def __init__(self, at=0):
        self.at = at
        self.passed = 0
        self.dead = asyncio.Event()

    def point(self):
        if self.dead.is_set():
            raise Killed
        self.passed += 1
        if self.passed == self.at:
            self.dead.set()
            raise Killed


class KillingJournal:
    def __init__(self, engine, killer):
        self._engine = engine
        self._killer = killer

    async def commit(self, work):
        self._killer.point()
        result = await self._engine.commit(work)
        self._killer.point()
        return result


class FakeDiscord:
    """Stands in for `RestClient`: keeps messages, threads, members and bans; can fail before or after it acted."""

    def __init__(self, clock):
        self.clock = clock
        self.killer = Killer()
        self.calls = []
        self.faults = []
        self.messages = {}
        self.threads = {}
        self.members = {}
        self.bans = {}
        self.entries = []
        self.channels = []
        self.replies = {}
        self.responses = {}
        self.files = {}
        self.uploads = []
        self.commands = []
        self._nonces = {}
        self._numbers = itertools.count(1)

    def fail(self, method, part, error, *, times=1, after=False):
        """Let the next requests whose template contains `part` fail, before or after they were carried out."""
        self.faults.append([method, part, error, times, after])

    def reject(self, method, part, code, *, times=1, text="no"):
        self.fail(
            method, part, lambda route: RestError(route, http_status=400, discord_code=code, text=text), times=times
        )

    def lose(self, method, part, *, times=1):
        self.fail(method, part, lambda route: ServerError(route, http_status=502), times=times, after=True)

    def made(self, method, part):
        return [call for call in self.calls if call["method"] == method and part in call["template"]]

    async def request(self, route, *, json=None, params=None, reason=None, files=(), background=False):
        self.killer.point()
        call = {"method": route.method, "template": route.template, "path": route.path, "json": json}
        self.calls.append({**call, "params": params, "reason": reason, "files": files, "background": background})
        fault = self._fault(route)
        if fault is not None and not fault[4]:
            raise fault[2](route)
        answer = self._answer(route, json, params, files)
        await asyncio.sleep(0)
        self.killer.point()
        if fault is not None:
            raise fault[2](route)
        return Response(status=200, body=b"" if answer is None else msgspec.json.encode(answer))

    async def download(self, url, *, limit):
        self.killer.point()
        content = self.files.get(url)
        if isinstance(content, Exception):
            raise content
        return content if content is not None and len(content) <= limit else None

    def contents(self, channel):
        return [message["content"] for message in self.messages.get(channel, [])]

    def _fault(self, route):
        for fault in self.faults:
            if fault[0] == route.method and fault[1] in route.template and fault[3]:
                fault[3] -= 1
                return fault
        return None

    def _answer(self, route, body, params, files):
        parts = route.path.strip("/").split("/")
        match route.method, route.template:
            case "POST", "/channels/{channel_id}/messages":
                return self._send(int(parts[1]), body, files)
            case "GET", "/channels/{channel_id}/messages":
                return self._page(self.messages.get(int(parts[1]), []), params)[::-1]
            case "GET", "/guilds/{guild_id}/audit-logs":
                return {"audit_log_entries": self._page(self.entries, params), "users": []}
            case "GET", "/guilds/{guild_id}/bans":
                return self._page([{"user": {"id": str(each)}} for each in sorted(self.bans)], params)
            case "GET", "/guilds/{guild_id}/channels":
                return self.channels
            case "PATCH", "/channels/{channel_id}/messages/{message_id}":
                return self._edit(route, int(parts[1]), int(parts[3]), body)
            case "DELETE", "/channels/{channel_id}/messages/{message_id}":
                return self._delete(route, int(parts[1]), int(parts[3]))
            case "POST", "/channels/{channel_id}/threads":
                return self._open_thread(int(parts[1]), body)
            case "GET", "/guilds/{guild_id}/threads/active":
                return {"threads": list(self.threads.values())}
            case "GET", "/guilds/{guild_id}/members/{user_id}":
                return self._member(route, int(parts[3]))
            case "DELETE", "/guilds/{guild_id}/members/{user_id}":
                self._member(route, int(parts[3]))
                del self.members[int(parts[3])]
            case "PATCH", "/guilds/{guild_id}/members/{user_id}":
                self._member(route, int(parts[3])).update(body)
            case "PUT", "/guilds/{guild_id}/bans/{user_id}":
                self.bans[int(parts[3])] = body
                self.members.pop(int(parts[3]), None)
            case "PATCH", template if "@original" in template:
                self.replies.setdefault(parts[2], []).append(body)
                return {"id": "1"}
            case "POST", template if template.endswith("/callback"):
                self.responses.setdefault(int(parts[1]), []).append(body)
            case "GET", template if template.endswith("/commands"):
                return self.commands
            case "PUT", template if template.endswith("/commands"):
                self.commands = body
            case other:
                raise AssertionError(f"the fake does not know {other}")
        return None

    @staticmethod
    def _page(things, params):
        """Return the oldest things after an id, as Discord does with `after`."""
        after, limit = int((params or {}).get("after", 0)), int((params or {}).get("limit", 50))
        number = lambda each: int(each["id"] if "id" in each else each["user"]["id"])  # noqa: E731 - short
        return [each for each in sorted(things, key=number) if number(each) > after][:limit]

    def _send(self, channel, body, files):
        nonce = body.get("nonce")
        held = self._nonces.get((channel, nonce)) if nonce else None
        if held is not None and self.clock.now() - held[0] < timedelta(minutes=3):
            return held[1]
        message = {
            "id": str(snowflake(self.clock, next(self._numbers))),
            "channel_id": str(channel),
            "author": {"id": str(BOT), "username": "modbot", "bot": True},
            "content": body.get("content", "").strip(),
            "components": body.get("components", []),
        }
        self.messages.setdefault(channel, []).append(message)
        self.uploads += [file.name for file in files]
        if nonce:
            self._nonces[channel, nonce] = (self.clock.now(), message)
        return message

    def _find(self, route, channel, message_id):
        for message in self.messages.get(channel, []):
            if int(message["id"]) == message_id:
                return message
        raise RestError(route, http_status=404, discord_code=10008, text="Unknown Message")

    def _edit(self, route, channel, message_id, body):
        message = self._find(route, channel, message_id)
        message["content"] = body.get("content", message["content"])
        return message

    def _delete(self, route, channel, message_id):
        message = self._find(route, channel, message_id)
        self.messages[channel].remove(message)

    def _open_thread(self, parent, body):
        thread_id = snowflake(self.clock, next(self._numbers))
        self.threads[thread_id] = {"id": str(thread_id), "parent_id": str(parent), "name": body["name"], "type": 11}
        return self.threads[thread_id]

    def _member(self, route, user_id):
        if user_id not in self.members:
            raise RestError(route, http_status=404, discord_code=10007, text="Unknown Member")
        return self.members[user_id]

    def join(self, user_id, *roles):
        user = {"id": str(user_id), "username": f"user{user_id}"}
        self.members[user_id] = {"user": user, "roles": [str(role) for role in roles]}


class Pauses:
    """Replaces the runner's sleep: time passes on the fake clock only, and every pause is noted."""

    def __init__(self, monkeypatch, clock):
        self.seconds = []
        sleep = asyncio.sleep

        async def pause(seconds):
            if seconds > 0:
                self.seconds.append(seconds)
                clock.advance(seconds)
            await sleep(0)

        shim = types.SimpleNamespace(**{**vars(asyncio), "sleep": pause})
        monkeypatch.setattr(runner_module, "asyncio", shim)


class World:
    """One pod's tools over one data folder; engines are opened and lost on it."""

    def __init__(self, path, features, *, series=(), clock=None):
        self.clock = clock or Clock()
        self.discord = FakeDiscord(self.clock)
        self.registry = Registry(features)
        self.registry.series += series
        self.writer = Writer(now=self.clock.now)
        self.tools = Tools(self.writer, self.registry, self.discord, BOT, self.clock.now)
        self.path = path
        self.engine = None
        self.epoch = 0
        self.seq = 0
        self.kills_repairs = False
        self._ids = itertools.count(1)
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    async def open(self, *, epoch=None, expected=False, killer=None):
        self.epoch = epoch or self.epoch + 1
        self.engine = await Engine.open(self.tools, self.path, SHARD, Epoch(self.epoch), expected=expected)
        self.discord.killer = killer or Killer()
        journal = KillingJournal(self.engine, self.discord.killer)
        (self.engine.repairer if self.kills_repairs else self.engine.runner)._journal = journal
        return self.engine

    async def close(self):
        if self.engine is not None:
            await self.engine.close()
            self.engine = None
        await self.writer.close()

    async def reopen(self, **options):
        await self.engine.close()
        return await self.open(expected=True, **options)

    async def idle(self):
        """Wait until every effect is settled or the process is dead."""
        async with asyncio.timeout(5):
            waits = [
                asyncio.ensure_future(self.engine.runner.wait_idle()),
                asyncio.ensure_future(self.discord.killer.dead.wait()),
            ]
            _done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in pending:
                wait.cancel()

    async def start_session(self, session="s1"):
        user = {"id": str(BOT), "username": "modbot"}
        ready = {"session_id": session, "resume_gateway_url": URL, "user": user, "guilds": [{"id": str(GUILD)}]}
        self.session = session
        self.seq = 1
        started = SessionStarted(self.offset(), msgspec.convert(ready, Ready, strict=False))
        return await self.engine.apply(Batch((started,), self.offset()))

    def offset(self, seq=None):
        return Offset(session_id=self.session, resume_url=URL, seq=self.seq if seq is None else seq)

    async def dispatch(self, name, *bodies):
        items = []
        for body in bodies:
            self.seq += 1
            items.append(dispatch(self.seq, name, body))
        return await self.engine.apply(Batch(tuple(items), self.offset()))

    async def fire_timers(self, seconds=0.0):
        """Let time pass and the timers that are due fire."""
        self.clock.advance(seconds)
        rounds = 0
        while await self.rows("SELECT 1 FROM timers WHERE due_at <= ?", round(self.clock.now().timestamp() * 1000)):
            self.engine._timers_changed.set()
            rounds += 1
            assert rounds < 200, "timers do not fire"

    async def rows(self, sql, *bindings):
        return await self.engine.commit(lambda tx: tx.all(sql, bindings))

    async def row(self, sql, *bindings):
        rows = await self.rows(sql, *bindings)
        assert len(rows) == 1, rows
        return rows[0]

    async def interact(self, interaction, *, deferred=False):
        return json.loads(await self.engine.interact(interaction, deferred=deferred, durable=True))

    def interaction_id(self):
        return snowflake(self.clock, 1000 + next(self._ids))

    def press(self, kind, data, *, user=MODERATOR, roles=(MOD_ROLE,), permissions=0, **more):
        """Build an interaction of a member of the guild."""
        number = self.interaction_id()
        member = {"user": {"id": str(user), "username": f"user{user}"}, "roles": [str(role) for role in roles]}
        body = {
            "id": str(number),
            "type": kind,
            "token": f"token-{number}",
            "application_id": str(BOT),
            "guild_id": str(GUILD),
            "channel_id": str(CHANNEL),
            "member": {**member, "permissions": str(permissions)},
            "data": data,
            **more,
        }
        return msgspec.convert(body, Interaction, strict=False)


def dispatch(seq, name, body):
    raw = json.dumps(body).encode()
    data = msgspec.json.decode(raw, type=events.TYPES[name], strict=False)
    return Dispatch(seq=seq, name=name, data=data, raw=msgspec.Raw(raw))


def guild_body():
    roles = [
        {"id": str(EVERYONE), "name": "@everyone", "position": 0, "permissions": str(1 << 10)},
        {"id": str(LOW_ROLE), "name": "low", "position": 1, "permissions": "0"},
        {"id": str(MOD_ROLE), "name": "mods", "position": 2, "permissions": "0"},
        {"id": str(BOT_ROLE), "name": "modbot", "position": 3, "permissions": str(1 << 3), "managed": True},
        {"id": str(HIGH_ROLE), "name": "high", "position": 4, "permissions": "0"},
    ]
    return {
        "id": str(GUILD),
        "name": "Guild",
        "owner_id": str(OWNER),
        "roles": roles,
        "channels": [
            {"id": str(MOD_LOG), "type": 0, "name": "mod-log"},
            {"id": str(CHANNEL), "type": 0, "name": "chat"},
        ],
        "members": [{"user": {"id": str(BOT), "username": "modbot"}, "roles": [str(BOT_ROLE)]}],
    }


def message_body(message_id, *, content="hello", channel=CHANNEL, **more):
    return {
        "id": str(message_id),
        "channel_id": str(channel),
        "guild_id": str(GUILD),
        "author": {"id": str(MEMBER), "username": f"user{MEMBER}"},
        "content": content,
        "attachments": [],
        **more,
    }


GUILD_ID = GuildId(GUILD)
