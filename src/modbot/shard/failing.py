"""What a person reads when something could not be done: what went wrong in plain words, and what to do."""

from __future__ import annotations

from modbot.domain.errors import ModbotError
from modbot.shard.effects import RefusedError, UserError

_MISSING_PERMISSIONS = frozenset({50013, 50001})
_SERVER_WIDE = frozenset({"Ban Members", "Kick Members", "Timeout Members"})


def sentence(error: ModbotError | None, *, reference: str) -> str:
    """Return the sentence for the person who asked; `reference` is in the log as well."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, RefusedError):
        return refusal(error)
    return (
        f"This did not work, and it is my fault or Discord's. It is recorded as `{reference}`. Please try again later."
    )


def refusal(error: RefusedError) -> str:
    """Explain a refusal of Discord."""
    if error.discord_code in _MISSING_PERMISSIONS and error.needs:
        place = "" if error.needs in _SERVER_WIDE else ", or in the channel's permissions"
        return f"I need *{error.needs}* for this. Give it to my role in the server settings{place}, then try again."
    return f"Discord refused this: {error} (code {error.discord_code})."
