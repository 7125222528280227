"""From the bodies of Create and Edit Message to drafts and changes, with files, replies, forwards and nonces.

The rules of content, embeds, mentions and components are those of `interactions.bodies`: one set for every way of sending.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from discordsim.interactions import bodies, uploads
from discordsim.rest import forms
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.world import errors
from discordsim.world.model.messages import Draft, Message, MessageFlag
from discordsim.world.payloads import Json

_SHARED = ("content", "embeds", "components", "flags", "allowed_mentions", "tts", "poll")
_INT64 = 2**63 - 1
FORWARD = 1


class Reference(msgspec.Struct):
    """A message reference: `type` 0 replies, 1 forwards."""

    message_id: Id
    channel_id: Id | None = None
    guild_id: Id | None = None
    fail_if_not_exists: bool | None = None
    type: Literal[0, 1] | None = None


class Attached(msgspec.Struct):
    """One item of `attachments`: a new file by its number or a present one by its id."""

    id: Id
    filename: Annotated[str, Meta(max_length=1024)] | None = None
    description: Annotated[str, Meta(max_length=1024)] | None = None


class Extras(msgspec.Struct):
    """The fields of Create Message that answers to interactions do not have."""

    nonce: Annotated[str, Meta(max_length=25)] | Annotated[int, Meta(ge=-_INT64, le=_INT64)] | None = None
    enforce_nonce: bool | None = None
    message_reference: Reference | None = None
    sticker_ids: Annotated[list[Id], Meta(max_length=3)] | None = None
    attachments: Annotated[list[Attached], Meta(max_length=10)] | None = None


def draft(call: Call, channel_id: int, body: Any) -> Draft:
    """Return the draft that a body of Create Message asks for. Errors: 50006, 50035, 50081 (unknown sticker)."""
    extras = forms.parse(body, Extras)
    if extras.sticker_ids:
        raise errors.DiscordError(400, 50081, "Invalid sticker sent")
    shared = _shared(body)
    flags = bodies.check_flags(shared.get("flags"))
    if flags & MessageFlag.EPHEMERAL:
        raise errors.invalid("flags", "MESSAGE_FLAGS_INVALID", "Only answers to interactions can be ephemeral.")
    _require_listed(extras.attachments, call)
    attachments = call.rest.files.keep(channel_id, call.uploads, _raw_list(body))
    made = bodies.parse_draft(shared, attachments=attachments)
    made.embeds = uploads.link(made.embeds, attachments)
    made.components = uploads.link(made.components, attachments)
    made.nonce, made.enforce_nonce = extras.nonce, bool(extras.enforce_nonce)
    made.message_reference = _reference(extras.message_reference)
    return made


def changes(call: Call, message: Message, body: Any) -> Json:
    """Return the changes that a body of Edit Message asks for. Errors: 50035."""
    extras = forms.parse(body, Extras)
    shared = _shared(body)
    if isinstance(body, dict) and body.get("attachments") is not None:
        shared["attachments"] = body["attachments"]
    _require_listed(extras.attachments, call, present=message.attachments)
    uploaded = call.rest.files.keep(message.channel_id, call.uploads, _raw_list(body))
    found = bodies.parse_changes(shared, flags=message.flags, uploaded=uploaded, present=message.attachments)
    every = found.get("attachments", message.attachments)
    return {
        key: uploads.link(value, every) if key in {"embeds", "components"} else value for key, value in found.items()
    }


def _shared(body: Any) -> Json:
    return {key: body[key] for key in _SHARED if key in body} if isinstance(body, dict) else {}


def _raw_list(body: Any) -> Any:
    return body.get("attachments") if isinstance(body, dict) else None


def _require_listed(listed: list[Attached] | None, call: Call, *, present: list[Json] | None = None) -> None:
    """Refuse an attachment object that names neither an uploaded nor a present file."""
    known = {one.index for one in call.uploads} | {one["id"] for one in present or []}
    for index, one in enumerate(listed or []):
        if str(one.id) not in known:
            text = f"Attachment data references missing file with index or id {one.id}"
            raise errors.invalid(f"attachments.{index}", "MESSAGE_ATTACHMENT_NOT_FOUND", text)


def _reference(wanted: Reference | None) -> Json | None:
    if wanted is None:
        return None
    if wanted.type == FORWARD and wanted.channel_id is None:
        raise errors.invalid("message_reference.channel_id", "BASE_TYPE_REQUIRED", "This field is required")
    found = forms.sent(wanted)
    return {key: value for key, value in found.items() if value is not None}
