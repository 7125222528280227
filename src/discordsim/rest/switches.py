"""What can be turned about the REST API while it runs: its limits, scaled or off."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class RestSwitches(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Unknowns and limits of Discord's REST API; all may change at any time. Times in seconds."""

    limits: bool = True
    """Whether there are rate limits at all."""
    limits_scale: Positive = 1.0
    """Multiplies every allowance: 2.0 is twice as generous."""
    global_per_second: Count = 50
    """Requests of one bot per second."""
    invalid_requests: Count = 10_000
    """Answers with 401, 403 or 429 to one address within `invalid_seconds` after which it is kept out."""
    invalid_seconds: Positive = 600.0
    """See `invalid_requests`."""
    old_edits: Count = 30
    """Edits of messages older than an hour per channel within `old_edit_seconds`; Discord tells that there is a limit (30046), not which."""
    old_edit_seconds: Positive = 3600.0
    """See `old_edits`."""
    daily_command_creates: Count = 200
    """New application commands per day, globally and in each guild."""
