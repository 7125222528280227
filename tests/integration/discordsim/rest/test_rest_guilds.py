import datetime as dt

import pytest

from discordsim.world.permissions import Permission


def guild(api, tail=""):
    return f"/guilds/{api.place.guild_id}{tail}"


async def status(api, *arguments, **more):
    return (await api.call(*arguments, **more)).status


@pytest.mark.parametrize("token", ["", "Bot wrong", "Bearer wrong", "nonsense"])
async def test_without_a_valid_bot_token_nothing_is_told(api, token):
    answer = await api.call("GET", guild(api), token=token)
    assert (answer.status, answer.code) == (401, 0)


async def test_unknown_routes_and_ids(api):
    assert await status(api, "GET", "/nothing/here") == 404
    assert (await api.call("GET", "/channels/abc")).code == 50035
    assert (await api.call("GET", "/channels/1")).code == 10003
    assert (await api.call("GET", "/guilds/1")).code == 10004
    assert (await api.call("GET", "/users/1")).code == 10013


@pytest.mark.parametrize("prefix", ["/api", "/api/v9", "/api/v10"])
async def test_all_prefixes_lead_to_the_same_api(api, prefix):
    assert (await api.ok("GET", "/users/@me", prefix=prefix))["id"] == str(api.app.id)


async def test_guild_can_be_read_and_changed(api):
    assert "approximate_member_count" not in await api.ok("GET", guild(api))
    assert (await api.ok("GET", guild(api, "?with_counts=true")))["approximate_member_count"] == 6
    assert (await api.ok("PATCH", guild(api), {"name": "Renamed"}, reason="tidy%20up"))["name"] == "Renamed"
    assert api.guild.audit_log[-1].reason == "tidy up"
    assert (await api.call("PATCH", guild(api), {"name": "x"}, reason="r" * 513)).code == 50035


async def test_channels_of_a_guild(api):
    made = await api.ok("POST", guild(api, "/channels"), {"name": "new", "type": 0, "topic": "t"})
    path = f"/channels/{made['id']}"
    assert made["id"] in {one["id"] for one in await api.ok("GET", guild(api, "/channels"))}
    assert (await api.ok("PATCH", path, {"rate_limit_per_user": 5}))["rate_limit_per_user"] == 5
    role = api.place.member_role_id
    overwrite = {"type": 0, "allow": "0", "deny": str(int(Permission.SEND_MESSAGES))}
    assert await status(api, "PUT", f"{path}/permissions/{role}", overwrite) == 204
    assert (await api.ok("GET", path))["permission_overwrites"][0]["id"] == str(role)
    assert await status(api, "DELETE", f"{path}/permissions/{role}") == 204
    assert (await api.call("DELETE", f"{path}/permissions/{role}")).code == 10009
    assert await status(api, "PATCH", guild(api, "/channels"), [{"id": made["id"], "position": 3}]) == 204
    assert (await api.ok("DELETE", path))["id"] == made["id"]
    assert (await api.call("GET", path)).code == 10003


async def test_members_can_be_found_and_changed(api):
    user = api.place.member_ids[0]
    path = guild(api, f"/members/{user}")
    listed = await api.ok("GET", guild(api, "/members?limit=1000"))
    assert len(listed) == 6
    name = api.world.users[user].username
    assert (await api.ok("GET", guild(api, f"/members/search?query={name}&limit=5")))[0]["user"]["id"] == str(user)
    until = dt.datetime.fromtimestamp(api.clock.now + 600, dt.UTC).isoformat()
    changed = await api.ok("PATCH", path, {"nick": "calm", "communication_disabled_until": until}, reason="cool off")
    assert (changed["nick"], changed["communication_disabled_until"][:19]) == ("calm", until[:19])
    assert (await api.ok("PATCH", path, {"communication_disabled_until": None}))["communication_disabled_until"] is None
    late = dt.datetime.fromtimestamp(api.clock.now + 29 * 86400, dt.UTC).isoformat()
    assert (await api.call("PATCH", path, {"communication_disabled_until": late})).code == 50035
    assert (await api.call("PATCH", path, {"communication_disabled_until": "soon"})).code == 50035
    assert (await api.ok("PATCH", guild(api, "/members/@me"), {"nick": "warden"}))["nick"] == "warden"
    assert (await api.ok("PATCH", path, {"roles": []}))["roles"] == []
    assert await status(api, "DELETE", path, reason="out") == 204
    assert (await api.call("GET", path)).code == 10007


async def test_rank_and_permissions_decide(api):
    owner = guild(api, f"/members/{api.place.owner_id}")
    assert (await api.call("DELETE", owner)).code == 50013
    api.guild.members[api.app.id].roles.clear()
    assert (await api.call("DELETE", guild(api, f"/members/{api.place.member_ids[0]}"))).code == 50013
    assert (await api.call("GET", f"/channels/{api.place.mod_log_id}")).code == 50001
    assert (await api.call("GET", guild(api, "/audit-logs"))).code == 50013


async def test_roles(api):
    made = await api.ok("POST", guild(api, "/roles"), {"name": "Warned", "permissions": "0"})
    path = guild(api, f"/roles/{made['id']}")
    assert (await api.ok("PATCH", path, {"color": 255}))["color"] == 255
    assert (await api.ok("GET", path))["name"] == "Warned"
    held = guild(api, f"/members/{api.place.member_ids[0]}/roles/{made['id']}")
    assert await status(api, "PUT", held) == 204
    assert await status(api, "DELETE", held) == 204
    moved = await api.ok("PATCH", guild(api, "/roles"), [{"id": made["id"], "position": 2}])
    assert next(one for one in moved if one["id"] == made["id"])["position"] == 2
    assert await status(api, "DELETE", path) == 204
    assert (await api.call("GET", path)).code == 10011
    assert len(await api.ok("GET", guild(api, "/roles"))) == 6


async def test_bans_and_the_audit_log(api):
    first, second, third = api.place.member_ids
    assert await status(api, "PUT", guild(api, f"/bans/{first}"), {"delete_message_seconds": 60}, reason="spam") == 204
    assert (await api.ok("GET", guild(api, f"/bans/{first}")))["reason"] == "spam"
    assert (await api.call("PUT", guild(api, f"/bans/{first}"), {"delete_message_seconds": 604_801})).code == 50035
    bulk = await api.ok("POST", guild(api, "/bulk-ban"), {"user_ids": [str(second), str(third), "5"]})
    assert bulk == {"banned_users": [str(second), str(third)], "failed_users": ["5"]}
    assert (await api.call("POST", guild(api, "/bulk-ban"), {"user_ids": ["5"]})).code == 500000
    listed = await api.ok("GET", guild(api, f"/bans?after={first}&limit=1"))
    assert [one["user"]["id"] for one in listed] == [str(second)]
    assert await status(api, "DELETE", guild(api, f"/bans/{first}")) == 204
    assert (await api.call("DELETE", guild(api, f"/bans/{first}"))).code == 10026
    log = await api.ok("GET", guild(api, f"/audit-logs?action_type=22&user_id={api.app.id}&limit=2"))
    assert [one["target_id"] for one in log["audit_log_entries"]] == [str(third), str(second)]
    assert str(second) in {one["id"] for one in log["users"]}
    assert log["audit_log_entries"][0]["action_type"] == 22


async def test_auto_moderation_rules(api):
    alert = {"type": 2, "metadata": {"channel_id": str(api.place.mod_log_id)}}
    rule = {"name": "words", "event_type": 1, "trigger_type": 1, "trigger_metadata": {"keyword_filter": ["bad"]}}
    made = await api.ok("POST", guild(api, "/auto-moderation/rules"), rule | {"actions": [alert], "enabled": True})
    path = guild(api, f"/auto-moderation/rules/{made['id']}")
    assert (await api.ok("PATCH", path, {"enabled": False}))["enabled"] is False
    assert [one["id"] for one in await api.ok("GET", guild(api, "/auto-moderation/rules"))] == [made["id"]]
    assert (await api.ok("GET", path))["trigger_metadata"]["keyword_filter"] == ["bad"]
    lacking = rule | {"actions": [{"type": 2, "metadata": {}}]}
    assert (await api.call("POST", guild(api, "/auto-moderation/rules"), lacking)).code == 50035
    assert await status(api, "DELETE", path) == 204
    assert (await api.call("GET", path)).code == 10068


async def test_threads(api):
    source = await api.post("start here")
    channel = f"/channels/{api.place.general_id}"
    thread = await api.ok("POST", f"{channel}/messages/{source['id']}/threads", {"name": "case 1"})
    assert (thread["id"], thread["type"]) == (source["id"], 11)
    again = await api.call("POST", f"{channel}/messages/{source['id']}/threads", {"name": "case 1"})
    assert again.code == 160004
    private = await api.ok("POST", f"{channel}/threads", {"name": "quiet", "type": 12})
    active = await api.ok("GET", guild(api, "/threads/active"))
    assert {one["id"] for one in active["threads"]} == {thread["id"], private["id"]}
    for one in (thread, private):
        path = f"/channels/{one['id']}"
        closed = await api.ok("PATCH", path, {"archived": True, "locked": True})
        assert closed["thread_metadata"]["archived"] is True
        assert (await api.call("PATCH", path, {"name": "later"})).code == 50083
    public = await api.ok("GET", f"{channel}/threads/archived/public")
    assert [one["id"] for one in public["threads"]] == [thread["id"]]
    for place in ("threads/archived/private", "users/@me/threads/archived/private"):
        assert [one["id"] for one in (await api.ok("GET", f"{channel}/{place}"))["threads"]] == [private["id"]]
    api.world.max_active_threads = 0
    assert (await api.call("POST", f"{channel}/threads", {"name": "more", "type": 11})).code == 160006


async def test_thread_members_and_forum_posts(api):
    forum = f"/channels/{api.place.forum_id}/threads"
    post = await api.ok("POST", forum, {"name": "question", "message": {"content": "why?"}})
    assert (post["message"]["content"], post["message"]["id"]) == ("why?", post["id"])
    members = f"/channels/{post['id']}/thread-members"
    user = api.place.member_ids[0]
    assert await status(api, "PUT", f"{members}/{user}") == 204
    assert len(await api.ok("GET", members)) == 2
    assert (await api.ok("GET", f"{members}/{user}?with_member=true"))["member"]["user"]["id"] == str(user)
    assert await status(api, "DELETE", f"{members}/{user}") == 204
    assert (await api.call("GET", f"{members}/{user}")).code == 10007
    assert await status(api, "DELETE", f"{members}/@me") == 204
    assert await status(api, "PUT", f"{members}/@me") == 204


async def test_news_threads_have_their_own_type(api):
    news = next(one for one in api.guild.channels.values() if one.name == "news")
    assert (await api.ok("POST", f"/channels/{news.id}/threads", {"name": "n", "type": 10}))["type"] == 10
    assert (await api.call("POST", f"/channels/{news.id}/threads", {"name": "n", "type": 11})).code == 50035


async def test_users_direct_messages_and_applications(api):
    user = api.place.member_ids[0]
    direct = await api.ok("POST", "/users/@me/channels", {"recipient_id": str(user)})
    assert [one["id"] for one in direct["recipients"]] == [str(user)]
    assert (await api.ok("POST", f"/channels/{direct['id']}/messages", {"content": "hi"}))["content"] == "hi"
    assert (await api.ok("GET", f"/users/{user}"))["id"] == str(user)
    assert [one["id"] for one in await api.ok("GET", "/users/@me/guilds")] == [str(api.place.guild_id)]
    for path in ("/applications/@me", "/oauth2/applications/@me"):
        assert (await api.ok("GET", path))["verify_key"] == api.app.public_key.hex()
    assert (await api.ok("PATCH", "/applications/@me", {"description": "guards"}))["description"] == "guards"
    unfit = await api.call("PATCH", "/applications/@me", {"interactions_endpoint_url": "http://127.0.0.1:9/"})
    assert unfit.code == 50035
    for path in ("/voice/regions", guild(api, "/emojis"), guild(api, "/stickers")):
        assert isinstance(await api.ok("GET", path), list)
    assert await status(api, "DELETE", f"/users/@me/guilds/{api.place.guild_id}") == 204
    assert (await api.call("GET", guild(api))).code == 50001


@pytest.mark.parametrize("scope", ["", "/guilds/{guild}"])
async def test_commands(api, scope):
    path = f"/applications/{api.app.id}{scope.format(guild=api.place.guild_id)}/commands"
    option = {"type": 3, "name": "why", "description": "reason", "required": True}
    warn = {"name": "warn", "description": "Warn somebody", "options": [option]}
    first = await api.call("POST", path, warn)
    again = await api.call("POST", path, warn | {"description": "Warn"})
    assert (first.status, again.status, again.body["id"]) == (201, 200, first.body["id"])
    one = f"{path}/{first.body['id']}"
    assert (await api.ok("PATCH", one, {"description": "Other"}))["description"] == "Other"
    assert (await api.ok("GET", one))["options"][0]["required"] is True
    every = await api.ok("PUT", path, [warn, {"name": "Report", "type": 3}])
    assert every[0]["id"] == first.body["id"]
    assert {one["name"] for one in await api.ok("GET", path)} == {"warn", "Report"}
    assert await status(api, "DELETE", one) == 204
    assert (await api.call("GET", one)).code == 10063
    for bad in (
        {"name": "Warn", "description": "capital"},
        {"name": "warn"},
        {"name": "Report", "type": 2, "description": "text"},
        warn | {"options": [option | {"required": False}, option | {"name": "b"}]},
        warn | {"options": [option, option]},
    ):
        assert (await api.call("POST", path, bad)).code == 50035, bad
    many = [{"name": f"menu {n}", "type": 2} for n in range(16)]
    assert (await api.call("PUT", path, many)).code == 30032


async def test_new_commands_are_limited_per_day(api):
    api.simulator.switches.rest.daily_command_creates = 1
    path = f"/applications/{api.app.id}/commands"
    await api.ok("POST", path, {"name": "one", "description": "d"})
    assert (await api.call("POST", path, {"name": "two", "description": "d"})).code == 30034
    api.clock.now += 86_401
    await api.ok("POST", path, {"name": "two", "description": "d"})


async def test_a_member_is_changed_wholly_or_not_at_all(api):
    user = api.place.member_ids[0]
    until = dt.datetime.fromtimestamp(api.clock.now + 600, dt.UTC).isoformat()
    bot_role = api.guild.members[api.app.id].roles[0]
    body = {"nick": "x", "communication_disabled_until": until, "roles": [str(bot_role)]}
    assert (await api.call("PATCH", guild(api, f"/members/{user}"), body)).code == 50028
    member = api.guild.members[user]
    assert (member.nick, member.communication_disabled_until) == (None, None)
