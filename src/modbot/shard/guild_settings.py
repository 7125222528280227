"""Where a guild's settings are kept, with their history: who changed what, from which value to which, and when."""

from __future__ import annotations

from modbot.domain.ids import ChannelId, RoleId, UserId
from modbot.domain.settings import MOD_LOG, MODERATOR_ROLE, SettingSpec
from modbot.ops import statements
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "guild_settings.sql")


def read(tx: Transaction, spec: SettingSpec) -> str | None:
    """Return a setting of the current guild, or None when it is not set."""
    value: str | None = tx.value(_SQL["read_setting"], (tx.guild_id, spec.name))
    return value


def change(tx: Transaction, spec: SettingSpec, value: str | None, *, changed_by: UserId) -> bool:
    """Set or clear a setting of the current guild; False when it had that value already."""
    old = read(tx, spec)
    if old == value:
        return False
    if value is None:
        tx.execute(_SQL["clear_setting"], (tx.guild_id, spec.name))
    else:
        tx.execute(_SQL["write_setting"], (tx.guild_id, spec.name, value))
    tx.execute(_SQL["record_change"], (tx.guild_id, spec.name, old, value, changed_by, tx.now_ms))
    return True


def moderator_role(tx: Transaction) -> RoleId | None:
    """Return the role whose holders are moderators."""
    value = read(tx, MODERATOR_ROLE)
    return None if value is None else RoleId(int(value))


def mod_log(tx: Transaction) -> ChannelId | None:
    """Return the mod-log channel."""
    value = read(tx, MOD_LOG)
    return None if value is None else ChannelId(int(value))
