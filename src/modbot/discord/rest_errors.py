"""How a request to Discord can fail.

Messages name the route's template, the HTTP status and Discord's numeric code with Discord's own sentence. They never hold the bot
token, an interaction's token or a user's text (of a rejected form only the paths and codes of the fields are kept).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from modbot.discord.routes import Route
from modbot.domain.errors import ModbotError

_MISSING_PERMISSIONS: Final = frozenset({50001, 50013})
_MESSAGE_LENGTH: Final = 200


class RestError(ModbotError):
    """Discord did not do what was asked."""

    code = "discord"
    status = 502

    def __init__(
        self, route: Route, *, http_status: int = 0, discord_code: int = 0, text: str = "", fields: tuple[str, ...] = ()
    ) -> None:
        parts = [str(route), str(http_status or ""), str(discord_code or ""), text, ", ".join(fields)]
        super().__init__(" ".join(part for part in parts if part))
        self.route = route
        self.http_status = http_status
        self.discord_code = discord_code
        self.fields = fields


class TokenInvalidError(RestError):
    """Discord does not accept the token of the request."""

    code = "discord_unauthorized"
    hint = "For the bot: renew DISCORD_HASH. For an interaction: it is older than 15 minutes or was answered already."


class ForbiddenError(RestError):
    """Discord forbids this request."""

    code = "discord_forbidden"
    hint = "The code says why; `/setup` in the guild shows what is missing."


class MissingPermissionsError(ForbiddenError):
    """The bot lacks a permission in that guild or channel, or stands below the member it should act on."""

    code = "discord_permissions"
    hint = "Run `/setup` in the guild; it names what is missing. Or move the role of modbot up in the server settings."


class UnknownError(RestError):
    """The thing is not there (any more); `discord_code` says which."""

    code = "discord_unknown"
    hint = "For deleting and the like this counts as done."


class InvalidFormError(RestError):
    """Discord does not accept the form of the request: a defect of modbot or a limit that was not kept."""

    code = "discord_form"
    hint = "Report the fields and codes of this message."


class RejectedError(RestError):
    """Discord refuses the request for another reason."""

    code = "discord_rejected"


class RateLimitedError(RestError):
    """Discord asks to wait longer than the request may."""

    code = "discord_rate_limit"
    hint = "Try again after the time that `retry_after` says."
    retry = True

    def __init__(self, route: Route, *, retry_after: float, scope: str) -> None:
        super().__init__(route, http_status=429, text=f"{scope} limit, retry after {retry_after:.1f} s")
        self.retry_after = retry_after
        self.scope = scope


class ServerError(RestError):
    """Discord failed or did not answer; it is not known whether the request was carried out."""

    code = "discord_server"
    hint = "Look at discordstatus.com. Idempotent requests may be repeated, others after looking whether they worked."
    retry = True


class FencedError(ModbotError):
    """The lease is not valid for as long as the request may take, so it was not sent (I2)."""

    code = "fenced"
    status = 409
    hint = "The shard's owner, here or elsewhere, carries the effect out once its lease is valid."
    retry = True


class ProblemBody(msgspec.Struct, frozen=True):
    """The body of Discord's error answers."""

    message: str = ""
    code: int = 0
    retry_after: float = 0.0
    errors: dict[str, Any] = msgspec.field(default_factory=dict)


_BODY: Final = msgspec.json.Decoder(ProblemBody, strict=False)
_KINDS: Final[dict[int, type[RestError]]] = {
    400: InvalidFormError,
    401: TokenInvalidError,
    403: ForbiddenError,
    404: UnknownError,
}


def read_problem(body: bytes) -> ProblemBody:
    """Read an error answer; one that is not Discord's JSON (a proxy's page) is an empty problem."""
    try:
        return _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ProblemBody()


def decide_error(route: Route, status: int, body: bytes) -> RestError:
    """Return the error for an answer with a status of 400 or more, other than 429."""
    problem = read_problem(body)
    kind = _KINDS.get(status, ServerError if status >= 500 else RejectedError)
    if kind is ForbiddenError and problem.code in _MISSING_PERMISSIONS:
        kind = MissingPermissionsError
    return kind(
        route,
        http_status=status,
        discord_code=problem.code,
        text=problem.message[:_MESSAGE_LENGTH] if kind is not InvalidFormError else "",
        fields=tuple(_fields(problem.errors)),
    )


def _fields(errors: dict[str, Any], path: str = "") -> list[str]:
    """List `path: CODE` of every complaint in Discord's error tree."""
    found: list[str] = []
    for key, value in errors.items():
        if key == "_errors" and isinstance(value, list):
            found += [f"{path or '(body)'}: {each.get('code', '?')}" for each in value if isinstance(each, dict)]
        elif isinstance(value, dict):
            found += _fields(value, f"{path}.{key}" if path else key)
    return found
