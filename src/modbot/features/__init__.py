"""One folder per feature, always the same inner shape.

`__init__.py` is what others may use; `handlers.py` declares events, commands, buttons and timers; `acting.py` holds the effects;
`views.py` builds what people see; `queries.sql` and `migrations/` are the rows. A feature never imports another feature's inside.
"""

from modbot.features import activity, moderation, reports, setup, user_threads
from modbot.shard import gaps, interactions, snapshot
from modbot.shard.feature import Feature


def all_features() -> tuple[Feature, ...]:
    """Return every feature of modbot, in the order in which they see an event: the guild snapshot first, then the plan of repairs."""
    return (
        snapshot.feature,
        gaps.feature,
        interactions.feature,
        activity.feature,
        user_threads.feature,
        moderation.feature,
        reports.feature,
        setup.feature,
    )
