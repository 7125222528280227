import pytest

from discordsim.world import automod, channels, deleting, guilds, members, posting, reacting, threads
from discordsim.world.errors import DiscordError
from discordsim.world.events import Intent, without_content
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import Draft, MessageFlag


def post(town, text="hello", author=None, **fields):
    return posting.create(
        town.world, town.place.general_id, author or town.place.member_ids[0], Draft(content=text, **fields)
    )


def code_of(call, *args, **kwargs):
    with pytest.raises(DiscordError) as refused:
        call(*args, **kwargs)
    return refused.value.code


def actions(town):
    return [entry.action for entry in town.guild.audit_log]


def test_message_create_has_guild_member_and_string_ids(town):
    message = post(town, f"hi <@{town.app.id}>")
    event = town.events[-1]
    assert (event.name, event.intents, event.channel_id) == (
        "MESSAGE_CREATE",
        Intent.GUILD_MESSAGES,
        town.place.general_id,
    )
    data = event.data
    assert data["id"] == str(message.id)
    assert data["guild_id"] == str(town.guild.id)
    assert data["member"]["roles"] == [str(town.place.member_role_id)]
    assert "user" not in data["member"]
    assert data["mentions"][0]["id"] == str(town.app.id)
    assert data["timestamp"].endswith("+00:00")


def test_content_is_stripped_for_others_than_the_mentioned(town):
    post(town, f"for <@{town.app.id}>")
    mentioned = town.events[-1].data
    post(town, "secret", embeds=[{"title": "t"}])
    plain = town.events[-1].data
    assert without_content(mentioned, town.app.id)["content"]
    assert without_content(plain, town.app.id)["content"] == ""
    assert without_content(plain, town.app.id)["embeds"] == []
    assert plain["content"] == "secret"


def test_enforced_nonce_returns_the_first_message_for_five_minutes(town):
    first = post(town, nonce="n1", enforce_nonce=True)
    again = post(town, "other", nonce="n1", enforce_nonce=True)
    assert again is first
    assert len(town.named("MESSAGE_CREATE")) == 1
    assert post(town, nonce="n1", enforce_nonce=True, author=town.place.owner_id) is not first
    town.clock.now += 301
    assert post(town, nonce="n1", enforce_nonce=True) is not first


def test_limits_of_drafts(town):
    assert code_of(post, town, "") == 50006
    assert code_of(post, town, "x" * 2001) == 50035
    assert code_of(post, town, "x", components=[{"type": 10}], flags=int(MessageFlag.IS_COMPONENTS_V2)) == 50035


def test_components_get_ids(town):
    message = post(town, "", components=[{"type": 17, "components": [{"type": 10, "content": "a"}]}], flags=1 << 15)
    assert message.components[0]["id"] == 1
    assert message.components[0]["components"][0]["id"] == 2


def test_reply_and_forward(town):
    first = post(town, "first")
    reply = post(town, "second", message_reference={"message_id": str(first.id)})
    assert reply.payload()["referenced_message"]["content"] == "first"
    assert reply.payload()["type"] == 19
    forward = post(
        town, "", message_reference={"type": 1, "message_id": str(first.id), "channel_id": str(first.channel_id)}
    )
    assert forward.payload()["message_snapshots"][0]["message"]["content"] == "first"
    assert forward.flags & MessageFlag.HAS_SNAPSHOT


def test_edit_is_for_authors(town):
    message = post(town)
    assert (
        code_of(posting.edit, town.world, message.channel_id, message.id, {"content": "x"}, actor_id=town.app.id)
        == 50005
    )
    posting.edit(town.world, message.channel_id, message.id, {"content": "x"}, actor_id=message.author.id)
    assert town.events[-1].name == "MESSAGE_UPDATE"
    assert town.events[-1].data["edited_timestamp"] is not None


def test_repeated_deletions_raise_one_audit_entry(town):
    for _ in range(3):
        message = post(town)
        deleting.delete(town.world, message.channel_id, message.id, actor_id=town.place.moderator_id)
    assert actions(town) == [AuditAction.MESSAGE_DELETE]
    assert town.guild.audit_log[0].options == {"channel_id": str(town.place.general_id), "count": "3"}
    assert len(town.named("GUILD_AUDIT_LOG_ENTRY_CREATE")) == 1
    town.clock.now += 301
    message = post(town)
    deleting.delete(town.world, message.channel_id, message.id, actor_id=town.place.moderator_id)
    assert len(town.guild.audit_log) == 2


def test_aggregation_pushes_when_switched_on(town):
    town.world.audit_aggregation_pushes = True
    for _ in range(2):
        message = post(town)
        deleting.delete(town.world, message.channel_id, message.id, actor_id=town.place.moderator_id)
    assert [event.data["options"]["count"] for event in town.named("GUILD_AUDIT_LOG_ENTRY_CREATE")] == ["1", "2"]


def test_own_deletions_leave_no_trace(town):
    message = post(town)
    deleting.delete(town.world, message.channel_id, message.id, actor_id=message.author.id)
    assert town.guild.audit_log == []
    assert set(town.events[-1].data) == {"id", "channel_id", "guild_id"}


def test_bulk_delete_rules(town):
    messages = [post(town) for _ in range(3)]
    channel, actor = town.place.general_id, town.app.id
    assert code_of(deleting.bulk_delete, town.world, channel, [messages[0].id], actor_id=actor) == 50016
    deleting.bulk_delete(town.world, channel, [one.id for one in messages[:2]], actor_id=actor)
    assert town.named("MESSAGE_DELETE_BULK")[0].data["ids"] == [str(one.id) for one in messages[:2]]
    assert town.guild.audit_log[-1].options == {"count": "2"}
    town.clock.now += 15 * 86_400
    assert code_of(deleting.bulk_delete, town.world, channel, [messages[2].id, post(town).id], actor_id=actor) == 50034


def test_reactions(town):
    message = post(town)
    where = (town.world, message.channel_id, message.id)
    reacting.add(*where, "🔥", town.place.owner_id)
    reacting.add(*where, "🔥", town.place.owner_id)
    assert len(town.named("MESSAGE_REACTION_ADD")) == 1
    assert town.events[-1].data["member"]["user"]["id"] == str(town.place.owner_id)
    assert message.payload(town.place.owner_id)["reactions"][0]["me"]
    reacting.remove(*where, "🔥", town.place.owner_id, actor_id=town.place.owner_id)
    assert message.payload().get("reactions") is None
    assert code_of(reacting.add, *where, "nonsense", town.place.owner_id) == 10014


def test_thread_from_message_lives_by_discords_rules(town):
    message, who = post(town), town.place.member_ids[0]
    thread = threads.create_from_message(town.world, message.channel_id, message.id, "talk", owner_id=who)
    assert thread.id == message.id
    assert town.named("THREAD_CREATE")[0].data["newly_created"] is True
    assert town.named("MESSAGE_UPDATE")[0].data["thread"]["id"] == str(message.id)
    again = (town.world, message.channel_id, message.id, "talk")
    assert code_of(threads.create_from_message, *again, owner_id=who) == 160004
    threads.edit(town.world, thread.id, {"archived": True}, actor_id=who)
    assert code_of(threads.edit, town.world, thread.id, {"name": "x"}, actor_id=who) == 50083
    posting.create(town.world, thread.id, who, Draft(content="wake up"))
    assert thread.state().archived is False
    threads.edit(town.world, thread.id, {"archived": True, "locked": True}, actor_id=town.place.moderator_id)
    assert code_of(posting.create, town.world, thread.id, who, Draft(content="hello?")) == 50083
    assert {"key": "locked", "old_value": False, "new_value": True} in town.guild.audit_log[-1].changes


def test_forum_post_has_the_id_of_its_first_message(town):
    who = town.place.member_ids[0]
    thread, message = threads.create_post(
        town.world, town.place.forum_id, "why?", Draft(content="because"), owner_id=who
    )
    assert thread.id == message.id
    assert [event.name for event in town.events][:1] == ["THREAD_CREATE"]
    assert code_of(threads.create_post, town.world, town.place.forum_id, "empty", Draft(), owner_id=who) == 50006
    assert len(town.guild.threads) == 1


def test_too_many_active_threads(town):
    town.world.max_active_threads = 1
    threads.create(town.world, town.place.general_id, "one", owner_id=town.app.id)
    assert code_of(threads.create, town.world, town.place.general_id, "two", owner_id=town.app.id) == 160006


def test_ban_kick_timeout_events_and_audit(town):
    where, moderator = (town.world, town.guild.id), town.place.moderator_id
    first, second, third = town.place.member_ids
    post(town, author=first)
    members.ban(*where, first, actor_id=moderator, reason="spam", delete_message_seconds=60)
    members.kick(*where, second, actor_id=moderator)
    members.time_out(*where, third, town.clock.now + 60, actor_id=moderator)
    assert actions(town) == [AuditAction.MEMBER_BAN_ADD, AuditAction.MEMBER_KICK, AuditAction.MEMBER_UPDATE]
    assert town.guild.audit_log[0].payload()["reason"] == "spam"
    assert town.guild.audit_log[2].changes[0]["key"] == "communication_disabled_until"
    names = [event.name for event in town.events]
    for name in ("GUILD_BAN_ADD", "GUILD_MEMBER_REMOVE", "MESSAGE_DELETE_BULK", "GUILD_MEMBER_UPDATE"):
        assert name in names
    assert code_of(members.join, *where, first) == 40007
    members.unban(*where, first, actor_id=moderator)
    assert code_of(members.unban, *where, first, actor_id=moderator) == 10026


def test_automod_blocks_alerts_and_times_out(town):
    rule = {
        "name": "no cheese",
        "event_type": 1,
        "trigger_type": 1,
        "trigger_metadata": {"keyword_filter": ["chee*"]},
        "enabled": True,
        "actions": [
            {"type": 1, "metadata": {}},
            {"type": 2, "metadata": {"channel_id": str(town.place.mod_log_id)}},
            {"type": 3, "metadata": {"duration_seconds": 60}},
        ],
    }
    automod.create_rule(town.world, town.guild.id, rule, actor_id=town.app.id)
    assert code_of(post, town, "I like Cheese") == 200000
    executed = town.named("AUTO_MODERATION_ACTION_EXECUTION")
    assert [event.data["action"]["type"] for event in executed] == [1, 2, 3]
    assert executed[0].data["matched_keyword"] == "chee*"
    assert executed[0].data["matched_content"] == "Chee"
    assert [int(one) for one in actions(town)] == [140, 143, 144, 145]
    assert town.guild.members[town.place.member_ids[0]].communication_disabled_until == town.clock.now + 60
    assert town.world.channel(town.place.general_id).messages == {}
    assert post(town, "cheese", author=town.place.owner_id).content == "cheese"


def test_bot_joins_and_leaves(town):
    other = town.world.add_application("other", owner_id=town.place.owner_id)
    guilds.add_bot(town.world, town.guild.id, other.id, guilds.EVERYONE)
    created = town.named("GUILD_CREATE")[0]
    assert created.user_id == other.id
    assert created.data["members"][0]["user"]["id"] == str(other.id)
    guilds.remove_bot(town.world, town.guild.id, other.id)
    assert town.named("GUILD_DELETE")[0].data == {"id": str(town.guild.id)}
    assert all(role.bot_id != other.id for role in town.guild.roles.values())


def test_direct_messages_go_to_both_people(town):
    who = town.place.member_ids[0]
    channel = channels.open_direct(town.world, town.app.id, who)
    assert channels.open_direct(town.world, who, town.app.id) is channel
    posting.create(town.world, channel.id, town.app.id, Draft(content="hello"))
    assert {event.user_id for event in town.named("MESSAGE_CREATE")} == {town.app.id, who}
    assert "guild_id" not in town.events[-1].data


def test_seeing_a_channel_again_syncs_its_threads(town):
    thread = threads.create(town.world, town.place.mod_log_id, "case", owner_id=town.app.id, private=False)
    channels.edit(
        town.world,
        town.place.mod_log_id,
        {"permission_overwrites": [{"id": str(town.guild.id), "type": 0, "deny": "1024"}]},
    )
    assert town.named("THREAD_LIST_SYNC") == []
    channels.edit(town.world, town.place.mod_log_id, {"permission_overwrites": []})
    synced = town.named("THREAD_LIST_SYNC") or [None]
    assert [one["id"] for one in synced[0].data["threads"]] == [str(thread.id)]


def test_history_pages(town):
    ids = [post(town, str(index)).id for index in range(5)]
    where = (town.world, town.place.general_id)
    assert [one.id for one in posting.history(*where, limit=2)] == [ids[4], ids[3]]
    assert [one.id for one in posting.history(*where, after=ids[0], limit=2)] == [ids[2], ids[1]]
    assert [one.id for one in posting.history(*where, before=ids[2])] == [ids[1], ids[0]]
