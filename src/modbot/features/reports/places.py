"""Where a message stands."""

from __future__ import annotations

import msgspec

from modbot.domain.ids import ChannelId, MessageId


class Place(msgspec.Struct, frozen=True):
    """A message in its channel or thread."""

    channel_id: ChannelId
    message_id: MessageId
