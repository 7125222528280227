"""What Discord answers when it refuses: an HTTP status, a numeric code, a sentence and, for forms, where it hurts.

Every refusal of the world is a `DiscordError`; codes and sentences are those of the public documentation.
"""

from discordsim.world.payloads import Json

_NAMED: dict[int, tuple[int, str]] = {
    10001: (404, "Unknown account"),
    10002: (404, "Unknown Application"),
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10009: (404, "Unknown permission overwrite"),
    10011: (404, "Unknown Role"),
    10013: (404, "Unknown User"),
    10014: (400, "Unknown Emoji"),
    10015: (404, "Unknown Webhook"),
    10026: (404, "Unknown Ban"),
    10062: (404, "Unknown interaction"),
    10063: (404, "Unknown application command"),
    10066: (404, "Unknown application command permissions"),
    10068: (404, "Unknown AutoMod rule"),
    20016: (429, "This action cannot be performed due to slowmode rate limit"),
    20028: (429, "The write action you are performing on the channel has hit the write rate limit"),
    30003: (400, "Maximum number of pins reached for the channel (250)"),
    30005: (400, "Maximum number of server roles reached (250)"),
    30010: (400, "Maximum number of reactions reached (20)"),
    30013: (400, "Maximum number of guild channels reached (500)"),
    30046: (429, "Maximum number of edits to messages older than 1 hour reached. Try again later"),
    40001: (401, "Unauthorized"),
    40007: (403, "The user is banned from this guild"),
    40060: (400, "Interaction has already been acknowledged"),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50013: (403, "Missing Permissions"),
    50016: (400, "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100"),
    50019: (400, "A message can only be pinned to the channel it was sent in"),
    50021: (403, "Cannot execute action on a system message"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50028: (400, "Invalid Role"),
    50034: (400, "A message provided was too old to bulk delete"),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Thread is archived"),
    160004: (400, "A thread has already been created for this message"),
    160005: (400, "Thread is locked"),
    160006: (400, "Maximum number of active threads reached"),
    200000: (400, "Message was blocked by automatic moderation"),
}


class DiscordError(Exception):
    """Discord refused the request; `payload()` is the body it answers with."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def payload(self) -> Json:
        """Return the JSON body of the answer."""
        body: Json = {"message": self.message, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


def named(code: int) -> DiscordError:
    """Return the refusal with a documented code; KeyError for a code this world never uses."""
    status, message = _NAMED[code]
    return DiscordError(status, code, message)


def invalid(field: str, kind: str, message: str) -> DiscordError:
    """Return 50035 for one field, given as a dotted path such as `embeds.0.title`."""
    tree: Json = {"_errors": [{"code": kind, "message": message}]}
    for part in reversed(field.split(".")):
        tree = {part: tree}
    return DiscordError(400, 50035, "Invalid Form Body", tree)


def too_long(field: str, limit: int) -> DiscordError:
    """Return 50035 for a text above its limit in characters."""
    return invalid(field, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def unknown_channel() -> DiscordError:
    """Return 10003."""
    return named(10003)


def unknown_guild() -> DiscordError:
    """Return 10004."""
    return named(10004)


def unknown_member() -> DiscordError:
    """Return 10007."""
    return named(10007)


def unknown_message() -> DiscordError:
    """Return 10008."""
    return named(10008)


def unknown_role() -> DiscordError:
    """Return 10011."""
    return named(10011)


def unknown_user() -> DiscordError:
    """Return 10013."""
    return named(10013)


def unknown_emoji() -> DiscordError:
    """Return 10014."""
    return named(10014)


def unknown_ban() -> DiscordError:
    """Return 10026."""
    return named(10026)


def unknown_interaction() -> DiscordError:
    """Return 10062."""
    return named(10062)


def already_acknowledged() -> DiscordError:
    """Return 40060."""
    return named(40060)


def missing_access() -> DiscordError:
    """Return 50001: the actor cannot see the channel or is not in the guild."""
    return named(50001)


def missing_permissions() -> DiscordError:
    """Return 50013: the actor lacks a permission or stands too low in the role hierarchy."""
    return named(50013)
