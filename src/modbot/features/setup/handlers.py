"""`/setup`: shows the settings, changes those that are given, and says what modbot still needs."""

from __future__ import annotations

from modbot.discord.interactions import Interaction
from modbot.domain import permissions, settings
from modbot.domain.ids import ChannelId, RoleId
from modbot.domain.settings import MOD_LOG, MODERATOR_ROLE, SettingKind, SettingSpec
from modbot.shard import guild_settings, snapshot
from modbot.shard.effects import UserError
from modbot.shard.feature import Access, CommandKind, Deferral, Feature, Option, OptionKind
from modbot.shard.responses import Reply, Response
from modbot.shard.transaction import Transaction

feature = Feature("setup")
_TEXT_CHANNEL = 0
_OPTIONS = (
    Option(MODERATOR_ROLE.name, MODERATOR_ROLE.description, OptionKind.ROLE),
    Option(MOD_LOG.name, MOD_LOG.description, OptionKind.CHANNEL),
    Option(
        "clear",
        "A setting to empty.",
        OptionKind.STRING,
        choices=tuple((spec.name, spec.title) for spec in settings.ALL),
    ),
)


@feature.command(
    "setup",
    kind=CommandKind.SLASH,
    access=Access.ADMINISTRATOR,
    defers=Deferral.EPHEMERAL,
    description="Show or change modbot's settings for this server.",
    options=_OPTIONS,
)
def set_up(tx: Transaction, interaction: Interaction) -> Response:
    """Change the given settings and empty the one to clear; without any, show them all."""
    given = {option.name: str(option.value) for option in interaction.data.options} if interaction.data else {}
    invoker = interaction.invoker
    if invoker is None:
        raise UserError("This works in servers only.")
    for spec in settings.ALL:
        if spec.name in given:
            _check(tx, spec, given[spec.name])
            guild_settings.change(tx, spec, given[spec.name], changed_by=invoker.id)
        elif given.get("clear") == spec.name:
            guild_settings.change(tx, spec, None, changed_by=invoker.id)
    return Reply("\n".join(_overview(tx)))


def _check(tx: Transaction, spec: SettingSpec, value: str) -> None:
    if spec.kind is SettingKind.ROLE:
        if int(value) == tx.guild_id or RoleId(int(value)) not in snapshot.roles_of(tx):
            raise UserError(f"**{spec.title}**: choose a role of this server other than @everyone.")
    elif snapshot.channel_kind(tx, ChannelId(int(value))) != _TEXT_CHANNEL:
        raise UserError(f"**{spec.title}**: choose a text channel of this server.")


def _overview(tx: Transaction) -> list[str]:
    lines = ["**modbot's settings for this server**"]
    for spec in settings.ALL:
        value = guild_settings.read(tx, spec)
        shown = "not set" if value is None else _mention(spec, value)
        lines.append(f"{spec.title}: {shown}")
        lines += [f"-# ⚠ I need *{name}* there." for name in _missing(tx, spec, value)]
        if spec.private and value is not None and snapshot.everybody_sees(tx, ChannelId(int(value))):
            lines.append("-# ⚠ Everybody can see that channel and would read the reports. Hide it from *@everyone*.")
    if all(guild_settings.read(tx, spec) for spec in settings.ALL):
        lines.append(
            "-# To report a message, right-click it (on a phone: press and hold), then *Apps → Report*. "
            "Moderators find *Track* in the same place."
        )
    return lines


def _missing(tx: Transaction, spec: SettingSpec, value: str | None) -> list[str]:
    if value is None or spec.kind is not SettingKind.CHANNEL:
        return []
    bits = snapshot.own_permissions(tx, ChannelId(int(value)))
    return ["the channel back: it was deleted"] if bits is None else permissions.missing(bits, spec.needs)


def _mention(spec: SettingSpec, value: str) -> str:
    return f"<@&{value}>" if spec.kind is SettingKind.ROLE else f"<#{value}>"
