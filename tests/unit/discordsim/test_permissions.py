import pytest

from discordsim.world import access, channels, members, permissions, posting, roles, threads
from discordsim.world.errors import DiscordError
from discordsim.world.model.channels import PermissionOverwrite
from discordsim.world.model.messages import Draft
from discordsim.world.permissions import Permission


def bits(town, user_id, channel_id):
    return access.permissions_of(town.world, user_id, town.world.channel(channel_id))


def test_owner_may_everything_and_strangers_nothing(town):
    stranger = town.world.add_user("stranger")
    assert bits(town, town.place.owner_id, town.place.mod_log_id) == permissions.ALL
    assert bits(town, stranger.id, town.place.general_id) == permissions.NONE


def test_staff_channel_is_hidden_from_members_only(town):
    seen = [
        access.can_see(town.world, one, town.place.mod_log_id)
        for one in (town.place.member_ids[0], town.place.moderator_id, town.app.id)
    ]
    assert seen == [False, True, True]


def test_overwrites_apply_everyone_then_roles_then_member(town):
    send, who = int(Permission.SEND_MESSAGES), town.place.member_ids[0]
    results = []
    for one in (
        PermissionOverwrite(town.guild.id, 0, deny=send),
        PermissionOverwrite(town.place.member_role_id, 0, allow=send),
        PermissionOverwrite(who, 1, deny=send),
    ):
        channels.set_overwrite(town.world, town.place.general_id, one)
        results.append(bool(bits(town, who, town.place.general_id) & send))
    assert results == [False, True, False]


def test_role_allow_beats_role_deny(town):
    send, who = int(Permission.SEND_MESSAGES), town.place.member_ids[0]
    other = roles.create(town.world, town.guild.id, {"name": "muted"})
    members.add_role(town.world, town.guild.id, who, other.id)
    channels.set_overwrite(town.world, town.place.general_id, PermissionOverwrite(other.id, 0, deny=send))
    channels.set_overwrite(
        town.world, town.place.general_id, PermissionOverwrite(town.place.member_role_id, 0, allow=send)
    )
    assert bits(town, who, town.place.general_id) & send


def test_timeout_leaves_seeing_and_reading_until_it_ends(town):
    who = town.place.member_ids[0]
    members.time_out(town.world, town.guild.id, who, town.clock.now + 60, actor_id=town.place.moderator_id)
    assert bits(town, who, town.place.general_id) == Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY
    town.clock.now += 61
    assert bits(town, who, town.place.general_id) & Permission.SEND_MESSAGES


def test_threads_take_their_parents_overwrites_and_their_own_send_bit(town):
    who = town.place.member_ids[0]
    thread = threads.create(town.world, town.place.general_id, "side", owner_id=who, private=False)
    channels.set_overwrite(
        town.world, town.place.general_id, PermissionOverwrite(town.guild.id, 0, deny=int(Permission.SEND_MESSAGES))
    )
    assert posting.create(town.world, thread.id, who, Draft(content="still here")).channel_id == thread.id
    channels.set_overwrite(
        town.world,
        town.place.general_id,
        PermissionOverwrite(town.guild.id, 0, deny=int(Permission.SEND_MESSAGES_IN_THREADS)),
    )
    with pytest.raises(DiscordError) as refused:
        posting.create(town.world, thread.id, who, Draft(content="no more"))
    assert (refused.value.status, refused.value.code) == (403, 50013)


def test_private_threads_are_seen_by_members_and_thread_moderators(town):
    first, second = town.place.member_ids[:2]
    thread = threads.create(town.world, town.place.general_id, "secret", owner_id=first)
    seen = [access.can_see(town.world, one, thread.id) for one in (first, second, town.place.moderator_id)]
    assert seen == [True, False, True]


def test_hierarchy(town):
    guild, people = town.guild, town.guild.members
    owner, moderator, member = (
        people[town.place.owner_id],
        people[town.place.moderator_id],
        people[town.place.member_ids[0]],
    )
    assert permissions.outranks(guild, owner, moderator)
    assert permissions.outranks(guild, moderator, member)
    assert not permissions.outranks(guild, member, moderator)
    assert not permissions.outranks(guild, moderator, owner)
    assert not permissions.outranks(guild, moderator, moderator)


def test_moderators_cannot_ban_upwards_and_members_cannot_ban(town):
    for actor, target in ((town.place.moderator_id, town.app.id), (town.place.member_ids[0], town.place.member_ids[1])):
        with pytest.raises(DiscordError) as refused:
            members.ban(town.world, town.guild.id, target, actor_id=actor)
        assert refused.value.code == 50013
    assert not town.guild.bans


def test_nobody_grants_what_they_lack(town):
    with pytest.raises(DiscordError) as refused:
        roles.create(
            town.world, town.guild.id, {"permissions": str(int(Permission.ADMINISTRATOR))}, actor_id=town.app.id
        )
    assert refused.value.code == 50013
