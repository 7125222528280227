"""The tree of errors that people get to see.

Every class docstring is the operator's sentence. A class carries a stable `code`, the HTTP `status` it maps to at an edge,
a `hint` (what to do) and whether a `retry` can help. The message of an instance says what happened this time; it never holds a
secret or a user's text.
"""

from __future__ import annotations

from typing import ClassVar


class ModbotError(Exception):
    """Something went wrong that modbot has a name for."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    hint: ClassVar[str] = "Look at the log lines with this code around the same time."
    retry: ClassVar[bool] = False


class InvalidInputError(ModbotError):
    """What was sent does not have the expected form; nothing was changed."""

    code = "invalid_input"
    status = 400
    hint = "Correct the named field and send it again."


class NotFoundError(ModbotError):
    """The named thing does not exist here."""

    code = "not_found"
    status = 404
    hint = "Check the name; `modbot pods` lists the pods, `modbot shards` the shards."


class UnauthorizedError(ModbotError):
    """The caller did not prove who it is."""

    code = "unauthorized"
    status = 401
    hint = "Send the internal token (MODBOT_INTERNAL_TOKEN) as a bearer token."


class SettingsError(ModbotError):
    """A setting is missing or not valid, so the process does not start."""

    code = "settings"
    hint = "docs/reference/settings.md lists every setting with its form and default."


class StaleEpochError(ModbotError):
    """The shard has been granted to somebody newer; this owner must not write any more (I2)."""

    code = "stale_epoch"
    status = 409
    hint = "Ask the config service who owns the shard now."
    retry = True


class PodBusyError(ModbotError):
    """Another process of this pod still has a valid lease."""

    code = "pod_busy"
    status = 409
    hint = "Wait until its lease ran out, or register with the lock of the data folder held."
    retry = True


class MoveRefusedError(ModbotError):
    """The shard cannot be handed to that pod now; nothing was changed."""

    code = "move_refused"
    status = 409
    hint = "`modbot pods` and `modbot shards` show who is live, full, draining or moving."
    retry = True


class AdoptionRefusedError(ModbotError):
    """What the replica store knows cannot be taken over now; nothing was changed."""

    code = "adoption_refused"
    status = 409
    hint = "docs/how-to/replicas.md tells what an adoption needs, under “Let a database take the store over”."


class NotOwnerError(ModbotError):
    """This pod does not own the shard."""

    code = "not_owner"
    status = 421
    hint = "Refresh the routing table and send the request to the owner."
    retry = True


class UnavailableError(ModbotError):
    """A part that is needed for this does not answer at the moment."""

    code = "unavailable"
    status = 503
    hint = "Try again in a moment; `modbot status` shows which part is missing."
    retry = True
