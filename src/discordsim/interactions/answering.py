"""What answers and follow-ups do to the world: messages, ephemeral ones, the "thinking" state, updates, deletions.

The ephemeral flag is fixed at deferral: whatever fills the waiting message cannot change who sees it.
Refuses to judge tokens and times; `hub` has done that.
"""

import copy
from typing import Any

from discordsim.interactions import bodies
from discordsim.interactions.records import InteractionType, Record
from discordsim.interactions.replies import Reply, ReplyType
from discordsim.interactions.uploads import FileStore, Upload, link
from discordsim.world import deleting, drafts, errors, posting
from discordsim.world.model.messages import Draft, Message, MessageFlag, MessageType
from discordsim.world.payloads import Json
from discordsim.world.world import World

_COMMAND_MESSAGES = {1: MessageType.CHAT_INPUT_COMMAND, 2: MessageType.CONTEXT_MENU_COMMAND}
_COMMAND_MESSAGES[3] = MessageType.CONTEXT_MENU_COMMAND


class Answering:
    """Applies checked answers of one application's interactions to the world."""

    def __init__(self, world: World, files: FileStore) -> None:
        self._world, self._files = world, files

    def apply(self, record: Record, reply: Reply, uploads: list[Upload]) -> None:
        """Do what a first answer asks for. Errors: 50006, 50035, 10008, 50083."""
        if reply.type is ReplyType.MESSAGE:
            record.original = self._post(record, reply.data, uploads, first=True)
            record.ephemeral = bool(record.original.flags & MessageFlag.EPHEMERAL)
        elif reply.type is ReplyType.DEFERRED_MESSAGE:
            self._defer(record, int(reply.data.get("flags") or 0))
        elif reply.type is ReplyType.DEFERRED_UPDATE:
            record.original = self._pressed(record)
        elif reply.type is ReplyType.UPDATE_MESSAGE:
            record.original = self._change(self._pressed(record), reply.data, uploads)
        elif reply.type is ReplyType.MODAL:
            record.modal = copy.deepcopy(reply.data)
            drafts.number(record.modal["components"])
        else:
            record.choices = reply.data.get("choices")

    def follow_up(self, record: Record, body: Any, uploads: list[Upload]) -> Message:
        """Post a follow-up, or fill the waiting message with it. Errors: 50006, 50035, 50083."""
        if record.filling:
            return self.fill(record, body, uploads)
        message = self._post(record, body, uploads, first=False)
        record.followups[message.id] = message
        return message

    def fill(self, record: Record, body: Any, uploads: list[Upload]) -> Message:
        """Give the waiting message its content. Errors: 10008, 50006, 50035."""
        message = self.original(record)
        message.flags &= ~MessageFlag.LOADING
        try:
            self._change(message, body, uploads)
        except errors.DiscordError:
            message.flags |= MessageFlag.LOADING
            raise
        record.filling = False
        return message

    def edit(self, record: Record, message: Message, body: Any, uploads: list[Upload]) -> Message:
        """Change the original or a follow-up. Errors: 10008, 50006, 50035."""
        if record.filling and message is record.original:
            return self.fill(record, body, uploads)
        return self._change(message, body, uploads)

    def delete(self, record: Record, message: Message) -> None:
        """Delete the original or a follow-up; a waiting message is answered by that."""
        deleting.delete(self._world, message.channel_id, message.id)
        record.followups.pop(message.id, None)
        if message is record.original:
            record.filling = False

    def original(self, record: Record) -> Message:
        """Return the message of the first answer; 10008 when there is none (any more)."""
        if record.original is None:
            raise errors.unknown_message()
        return self._world.message(record.original.channel_id, record.original.id)

    def message(self, record: Record, which: str) -> Message:
        """Return `@original` or a follow-up by id; 10008 for others."""
        if which == "@original":
            return self.original(record)
        if record.original is not None and which == str(record.original.id):
            return self.original(record)
        found = record.followups.get(int(which)) if which.isdecimal() else None
        if found is None:
            raise errors.unknown_message()
        return self._world.message(found.channel_id, found.id)

    def _pressed(self, record: Record) -> Message:
        if record.pressed is None:
            raise errors.unknown_message()
        return self._world.message(record.pressed.channel_id, record.pressed.id)

    def _post(self, record: Record, body: Any, uploads: list[Upload], *, first: bool) -> Message:
        draft = self._draft(record, body, uploads)
        if draft.flags & MessageFlag.EPHEMERAL:
            draft.visible_to = record.user_id
        self._sign(record, draft, first=first)
        return posting.create(self._world, record.channel_id, record.application_id, draft, enforce=False)

    def _draft(self, record: Record, body: Any, uploads: list[Upload]) -> Draft:
        bodies.parse_draft(body, attachments=[])
        listed = body.get("attachments") if isinstance(body, dict) else None
        kept = self._files.keep(record.channel_id, uploads, listed)
        return bodies.parse_draft(link(copy.deepcopy(body), kept), attachments=kept)

    def _defer(self, record: Record, flags: int) -> None:
        record.ephemeral, record.filling = bool(flags & MessageFlag.EPHEMERAL), True
        kept = flags & MessageFlag.EPHEMERAL | MessageFlag.LOADING
        draft = Draft(flags=int(kept), visible_to=record.user_id if record.ephemeral else None)
        self._sign(record, draft, first=True)
        record.original = posting.create(self._world, record.channel_id, record.application_id, draft, enforce=False)

    def _sign(self, record: Record, draft: Draft, *, first: bool) -> None:
        """Say whose answer it is; answers to presses and follow-ups are replies to the message they belong to."""
        draft.application_id = draft.webhook_id = record.application_id
        draft.interaction_metadata = record.metadata
        if first and record.type is InteractionType.COMMAND:
            draft.type = _COMMAND_MESSAGES[record.payload["data"]["type"]]
            return
        target = record.pressed if first else record.original
        if target is not None and target.visible_to is None:
            draft.message_reference = {"message_id": str(target.id), "fail_if_not_exists": False}
            allowed: Json = draft.allowed_mentions or {"parse": ["users", "roles", "everyone"]}
            draft.allowed_mentions = allowed | {"replied_user": False}

    def _change(self, message: Message, body: Any, uploads: list[Upload]) -> Message:
        present = message.attachments
        bodies.parse_changes(body, flags=message.flags, uploaded=[], present=present)
        listed = body.get("attachments") if isinstance(body, dict) else None
        kept = self._files.keep(message.channel_id, uploads, listed)
        linked = link(copy.deepcopy(body), [*present, *kept])
        changes = bodies.parse_changes(linked, flags=message.flags, uploaded=kept, present=present)
        return posting.edit(self._world, message.channel_id, message.id, changes)
