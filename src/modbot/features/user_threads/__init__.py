"""User threads: one permanent thread per (guild, user) under the mod log, with the moderators' controls on top.

Other features use `ensure`, `post` and `announce` inside their effects. Effects that touch a user's thread run in the lane
`lane_of(user)`, one after the other, so that a thread is made once and its entries stand in order.
"""

from modbot.features.user_threads.acting import Person, announce, ensure, lane_of, post
from modbot.features.user_threads.handlers import feature

__all__ = ["Person", "announce", "ensure", "feature", "lane_of", "post"]
