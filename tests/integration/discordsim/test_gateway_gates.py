"""Who is kept from which events by permissions and places, and when a session is beyond resuming."""

import pytest
from probe import rig

from discordsim.world import automod, channels, errors, members, posting, roles
from discordsim.world.model.channels import PermissionOverwrite
from discordsim.world.model.messages import Draft
from discordsim.world.permissions import Permission

RULE = {
    "name": "words",
    "event_type": 1,
    "trigger_type": 1,
    "trigger_metadata": {"keyword_filter": ["casino"]},
    "actions": [{"type": 1}],
    "enabled": True,
}


def deny(r, bit):
    """Take a permission from the bot's role and from @everyone."""
    guild = r.guild()
    for role_id in (*guild.members[r.app.id].roles, guild.id):
        left = guild.roles[role_id].permissions & ~int(bit | Permission.ADMINISTRATOR)
        roles.edit(r.world, guild.id, role_id, {"permissions": str(left)})


def say(r, text):
    return posting.create(r.world, r.general().id, r.people()[1].id, Draft(content=text))


async def names(probe):
    """Return the names of all events that are on their way."""
    start = len(probe.seen)
    await probe.send(1, probe.seq)
    await probe.until(11)
    return {one["t"] for one in probe.seen[start:-1]}


@pytest.mark.parametrize("denied", [False, True])
async def test_automod_events_need_manage_guild(denied):
    async with rig(guilds=1) as r:
        if denied:
            deny(r, Permission.MANAGE_GUILD)
        probe = await r.ready()
        rule = automod.create_rule(r.world, r.guild().id, RULE, actor_id=r.guild().owner_id)
        with pytest.raises(errors.DiscordError, match="blocked by automatic moderation"):
            say(r, "casino")
        automod.edit_rule(r.world, r.guild().id, rule.id, {"name": "other"}, actor_id=r.guild().owner_id)
        automod.delete_rule(r.world, r.guild().id, rule.id, actor_id=r.guild().owner_id)
        told = {one for one in await names(probe) if one.startswith("AUTO_MODERATION_")}
        rules = {f"AUTO_MODERATION_RULE_{verb}" for verb in ("CREATE", "UPDATE", "DELETE")}
        assert told == (set() if denied else rules | {"AUTO_MODERATION_ACTION_EXECUTION"})


@pytest.mark.parametrize("denied", [False, True])
async def test_audit_log_entries_need_view_audit_log(denied):
    async with rig(guilds=1) as r:
        if denied:
            deny(r, Permission.VIEW_AUDIT_LOG)
        probe = await r.ready()
        guild = r.guild()
        someone = next(one for one in r.people() if one.id != guild.owner_id)
        members.ban(r.world, guild.id, someone.id, actor_id=guild.owner_id)
        told = await names(probe)
        assert told >= {"GUILD_BAN_ADD", "GUILD_MEMBER_REMOVE"}
        assert ("GUILD_AUDIT_LOG_ENTRY_CREATE" in told) is not denied


async def test_messages_of_a_hidden_channel_do_not_arrive():
    async with rig(guilds=1) as r:
        hidden = r.general()
        probe = await r.ready()
        say(r, "seen")
        assert (await probe.until("MESSAGE_CREATE"))["d"]["content"] == "seen"
        blinding = PermissionOverwrite(r.app.id, type=1, deny=int(Permission.VIEW_CHANNEL))
        channels.set_overwrite(r.world, hidden.id, blinding)
        message = say(r, "unseen")
        posting.edit(r.world, hidden.id, message.id, {"content": "still unseen"})
        assert await names(probe) & {"MESSAGE_CREATE", "MESSAGE_UPDATE"} == set()
        channels.delete_overwrite(r.world, hidden.id, r.app.id)
        say(r, "seen again")
        assert (await probe.until("MESSAGE_CREATE"))["d"]["content"] == "seen again"


async def test_direct_messages_go_to_shard_0_only():
    async with rig(guilds=4) as r:
        first, second = await r.ready(shard=[0, 2]), await r.ready(shard=[1, 2])
        person = r.people()[0]
        channel = channels.open_direct(r.world, person.id, r.app.id)
        posting.create(r.world, channel.id, person.id, Draft(content="psst"))
        got = (await first.until("MESSAGE_CREATE"))["d"]
        assert (got["content"], got["channel_id"], "guild_id" in got) == ("psst", str(channel.id), False)
        await second.silent()
        other = channels.open_direct(r.world, person.id, r.people()[1].id)
        posting.create(r.world, other.id, person.id, Draft(content="between us"))
        await first.silent()


async def test_old_events_leave_the_buffer():
    async with rig(guilds=1, buffer_event_seconds=10.0) as r:
        probe = await r.ready()
        await probe.drop()
        say(r, "young")
        r.simulator.clock.advance(9)
        again = await r.resume(probe)
        assert (await again.until("RESUMED"))["op"] == 0
        assert [one["d"]["content"] for one in again.seen if one["t"] == "MESSAGE_CREATE"] == ["young"]
        await again.drop()
        say(r, "gets old")
        r.simulator.clock.advance(11)
        late = await r.resume(again)
        assert (await late.receive()) == {"t": None, "s": None, "op": 9, "d": False}


async def test_missed_heartbeats_end_the_session_when_switched_on():
    async with rig(guilds=1, heartbeat_interval=0.1, timeout_ends_session=True) as r:
        probe = await r.ready()
        assert await probe.closed() == 4009
        assert r.hub.counters.sessions_ended == 1
        late = await r.resume(probe)
        assert (await late.receive()) == {"t": None, "s": None, "op": 9, "d": False}
