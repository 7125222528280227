"""Reports and tracking: the first half of the core loop.

Members report a message (anonymous: who reported is never kept, only a keyed hash that rotates daily and is forgotten after two days);
moderators track one. Both end as an entry in the author's thread and a line in the mod log. The same message reported again adds to
its entry. What was reported is kept as evidence when the menu is opened, so that deleting the message meanwhile does not help.
"""

from modbot.features.reports import acting, handlers

feature = acting.feature

__all__ = ["feature", "handlers"]
