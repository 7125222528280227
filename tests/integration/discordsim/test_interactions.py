import asyncio

import pytest
from aiohttp import web

from discordsim.world import errors, posting
from discordsim.world.model.messages import Draft, MessageFlag
from discordsim.world.permissions import Permission

BUTTONS = [
    {
        "type": 1,
        "components": [
            {"type": 2, "style": 1, "label": "Go", "custom_id": "go"},
            {"type": 2, "style": 2, "label": "Off", "custom_id": "off", "disabled": True},
        ],
    },
    {"type": 1, "components": [{"type": 5, "custom_id": "who", "max_values": 2}]},
]
MODAL = {
    "type": 9,
    "data": {
        "custom_id": "why",
        "title": "Why?",
        "components": [
            {
                "type": 18,
                "label": "Reason",
                "component": {"type": 4, "custom_id": "reason", "style": 2, "max_length": 20},
            },
            {
                "type": 18,
                "label": "Kind",
                "component": {
                    "type": 3,
                    "custom_id": "kind",
                    "options": [{"label": "Spam", "value": "spam"}, {"label": "Other", "value": "other"}],
                },
            },
        ],
    },
}


def say(text, **more):
    return {"type": 4, "data": {"content": text, **more}}


def post(stage, content="hi", author=None, **fields):
    draft = Draft(content=content, **fields)
    return posting.create(
        stage.world, stage.place.general_id, author or stage.place.member_ids[0], draft, enforce=False
    )


async def test_slash_command_carries_everything(stage):
    options = [{"type": 6, "name": "who", "required": True}, {"type": 4, "name": "days", "min_value": 1}]
    stage.register("history", options=options)
    target = stage.place.member_ids[0]
    status, result = await stage.interact(kind="command", command="history", options={"who": str(target), "days": 3})
    assert status == 200
    sent = stage.endpoint.received[0]
    assert sent["data"]["options"] == [
        {"name": "who", "type": 6, "value": str(target)},
        {"name": "days", "type": 4, "value": 3},
    ]
    assert "user" not in sent["data"]["resolved"]["members"][str(target)]
    assert sent["data"]["resolved"]["users"][str(target)]["id"] == str(target)
    assert int(sent["member"]["permissions"]) & Permission.BAN_MEMBERS
    assert "permission_overwrites" not in sent["channel"]
    expected = {"version": 1, "locale": "en-US", "guild_locale": "en-US", "context": 0, "entitlements": []}
    assert {key: sent[key] for key in expected} == expected
    assert sent["authorizing_integration_owners"] == {"0": str(stage.guild.id)}
    assert result["record"]["source"] == "http"
    assert result["record"]["problem"] is None
    assert result["record"]["first_type"] == 4
    assert result["message"]["content"] == "hello"
    assert result["message"]["type"] == 20
    assert result["message"]["interaction_metadata"]["name"] == "history"


async def test_sub_commands_nest_and_mistakes_are_named(stage):
    inner = [{"type": 1, "name": "add", "options": [{"type": 3, "name": "emoji", "required": True, "max_length": 3}]}]
    stage.register("reactji", options=inner)
    status, _ = await stage.interact(kind="command", command="/reactji add", options={"emoji": "x"})
    assert status == 200
    nested = [{"name": "emoji", "type": 3, "value": "x"}]
    assert stage.endpoint.received[0]["data"]["options"] == [{"name": "add", "type": 1, "options": nested}]
    for script in (
        {"command": "reactji"},
        {"command": "reactji add"},
        {"command": "reactji add", "options": {"emoji": "long"}},
        {"command": "reactji add", "options": {"emoji": "x", "more": 1}},
        {"command": "nothing"},
    ):
        status, answer = await stage.interact(kind="command", **script)
        assert status == 400, script
        assert answer["error"]


async def test_commands_hide_from_those_without_permission(stage):
    stage.register("purge", kind=2, default_member_permissions=str(int(Permission.BAN_MEMBERS)))
    stage.register("setup", default_member_permissions="0")
    member, moderator = stage.place.member_ids[0], stage.place.moderator_id
    target = str(stage.place.member_ids[1])
    assert (await stage.interact(member, kind="user", command="purge", target=target))[0] == 400
    assert (await stage.interact(moderator, kind="user", command="purge", target=target))[0] == 200
    assert (await stage.interact(moderator, kind="command", command="setup"))[0] == 400
    assert (await stage.interact(stage.place.owner_id, kind="command", command="setup"))[0] == 200


async def test_message_menu_and_ephemeral_answer(stage):
    stage.register("Report", kind=3)
    message = post(stage, "rude")
    stage.endpoint.handler = lambda _: say("Thank you.", flags=64)
    status, result = await stage.interact(
        stage.place.member_ids[1], kind="message", command="Report", target=str(message.id)
    )
    assert status == 200
    assert stage.endpoint.received[0]["data"]["resolved"]["messages"][str(message.id)]["content"] == "rude"
    assert result["message"]["flags"] & MessageFlag.EPHEMERAL
    seen = [
        one.content for one in posting.history(stage.world, stage.place.general_id, viewer_id=stage.place.member_ids[1])
    ]
    others = [
        one.content for one in posting.history(stage.world, stage.place.general_id, viewer_id=stage.place.owner_id)
    ]
    assert seen == ["Thank you.", "rude"]
    assert others == ["rude"]


async def test_button_and_select(stage):
    message = post(stage, "choose", author=stage.app.id, components=BUTTONS)
    stage.endpoint.handler = lambda _: {"type": 7, "data": {"content": "done", "components": []}}
    status, _ = await stage.interact(kind="component", message=str(message.id), custom_id="off")
    assert status == 400
    chosen = [str(one) for one in stage.place.member_ids[:2]]
    status, _ = await stage.interact(kind="component", message=str(message.id), custom_id="who", values=chosen)
    assert status == 200
    sent = stage.endpoint.received[0]
    assert sent["data"]["values"] == chosen
    assert set(sent["data"]["resolved"]["users"]) == set(chosen)
    assert sent["message"]["id"] == str(message.id)
    assert message.content == "done"
    assert message.components == []


async def test_modal_opens_and_is_submitted(stage):
    stage.register("why")
    stage.endpoint.handler = lambda _: MODAL
    _, opened = await stage.interact(kind="command", command="why")
    assert opened["modal"]["title"] == "Why?"
    stage.endpoint.handler = lambda _: MODAL
    number = opened["record"]["id"]
    status, again = await stage.interact(
        kind="modal", interaction=number, values={"reason": "because", "kind": ["spam"]}
    )
    assert status == 200
    assert again["record"]["problem"].startswith("invalid body")
    fields = [row["component"] for row in stage.endpoint.received[1]["data"]["components"]]
    assert [one.get("value") or one.get("values") for one in fields] == ["because", ["spam"]]
    stage.endpoint.handler = lambda _: say("noted")
    _, noted = await stage.interact(kind="modal", interaction=number, values={"reason": "because", "kind": ["spam"]})
    metadata = noted["message"]["interaction_metadata"]
    assert metadata["triggering_interaction_metadata"]["id"] == number
    for values in ({"reason": ""}, {"reason": "x" * 21, "kind": ["spam"]}, {"reason": "x", "kind": ["no"]}, {"x": "y"}):
        assert (await stage.interact(kind="modal", interaction=number, values=values))[0] == 400


async def test_autocomplete(stage):
    stage.register("rule", options=[{"type": 3, "name": "name", "autocomplete": True, "required": True}])
    stage.endpoint.handler = lambda _: {"type": 8, "data": {"choices": [{"name": "No spam", "value": "spam"}]}}
    _, result = await stage.interact(kind="autocomplete", command="rule", options={"name": "sp"}, focused="name")
    assert result["choices"] == [{"name": "No spam", "value": "spam"}]
    assert stage.endpoint.received[0]["data"]["options"][0]["focused"] is True


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"type": 12}, "invalid body"),
        ({"type": 7, "data": {}}, "invalid body"),
        (say(""), "invalid body"),
        (say("x" * 2001), "invalid body"),
        (say("x", flags=2), "invalid body"),
        (say("x", components=[{"type": 10, "content": "text"}]), "invalid body"),
        (say("x", components=BUTTONS + BUTTONS), "invalid body"),
        (say("", flags=32768, components=[{"type": 10, "content": "x"}] * 41), "invalid body"),
        ({"type": 9, "data": MODAL["data"] | {"title": "t" * 46}}, "invalid body"),
        ({"type": 9, "data": MODAL["data"] | {"components": MODAL["data"]["components"] * 3}}, "invalid body"),
        (web.Response(status=500), "HTTP status 500"),
        (web.Response(status=204), "HTTP status 204"),
        (web.Response(text="{}"), "invalid body: content type"),
    ],
)
async def test_bad_answers_are_recorded(stage, answer, problem):
    stage.register("ping")
    stage.endpoint.handler = lambda _: answer
    _, result = await stage.interact(kind="command", command="ping")
    assert problem in result["record"]["problem"]
    assert result["record"]["source"] == "none"
    assert stage.world.channel(stage.place.general_id).messages == {}


async def test_silence_is_a_timeout_and_a_late_callback_is_refused(stage):
    stage.register("ping")
    stage.interactions.answer_seconds = 0.1
    stage.app.interactions_endpoint_url = None
    _, result = await stage.interact(kind="command", command="ping")
    assert result["record"]["problem"].startswith("timeout")
    _, guild_id, name, data = stage.sessions.sent[0]
    assert (guild_id, name) == (stage.guild.id, "INTERACTION_CREATE")
    path = f"/interactions/{data['id']}/{data['token']}/callback"
    status, body = await stage.call("POST", path, json=say("late"))
    assert (status, body["code"]) == (404, 10062)


async def started(stage, **script):
    """Start over the gateway, answer nothing yet."""
    stage.app.interactions_endpoint_url = None
    _, result = await stage.interact(wait="none", **script)
    await asyncio.sleep(0)
    data = stage.sessions.sent[-1][3]
    return result, f"/interactions/{data['id']}/{data['token']}/callback", f"/webhooks/{stage.app.id}/{data['token']}"


async def test_callback_answers_once(stage):
    stage.register("ping")
    _, callback, hook = await started(stage, kind="command", command="ping")
    assert (await stage.call("POST", hook, json={"content": "early"}))[1]["code"] == 10015
    assert (await stage.call("POST", callback, json={"type": 7, "data": {}}))[1]["code"] == 50035
    status, body = await stage.call("POST", callback + "?with_response=true", json=say("pong"))
    assert status == 200
    assert body["resource"]["message"]["content"] == "pong"
    status, body = await stage.call("POST", callback, json=say("again"))
    assert (status, body["code"]) == (400, 40060)
    record = next(iter(stage.interactions.records.values())).payload_for_control()
    assert record["answered_twice"] is True
    assert record["source"] == "callback"
    assert (await stage.call("POST", callback.replace("interactions/", "interactions/1"), json=say("x")))[0] == 404


@pytest.mark.parametrize("answer", [MODAL, {"type": 4, "data": {"content": "pong"}}, {"type": 5}])
async def test_the_response_of_a_callback_tells_only_of_what_was_made(stage, answer):
    stage.register("ping")
    _, callback, _ = await started(stage, kind="command", command="ping")
    _, body = await stage.call("POST", callback + "?with_response=true", json=answer)
    made = answer["type"] != 9
    assert ("resource" in body, "response_message_id" in body["interaction"]) == (made, made)
    assert body["interaction"].get("response_message_loading") == ((answer["type"] == 5) if made else None)
    assert None not in body["interaction"].values()


async def test_deferred_answer_is_filled_by_the_first_follow_up(stage):
    stage.register("slow")
    _, callback, hook = await started(stage, kind="command", command="slow")
    assert (await stage.call("POST", callback, json={"type": 5, "data": {"flags": 64}}))[0] == 204
    record = next(iter(stage.interactions.records.values()))
    waiting = record.original
    assert waiting.flags == MessageFlag.EPHEMERAL | MessageFlag.LOADING
    assert record.completed is None
    assert (await stage.call("POST", hook, json={"content": ""}))[1]["code"] == 50006
    assert waiting.flags & MessageFlag.LOADING
    status, filled = await stage.call("POST", hook, json={"content": "public?"})
    assert status == 200
    assert filled["id"] == str(waiting.id)
    assert filled["flags"] == MessageFlag.EPHEMERAL
    assert record.completed is not None
    _, second = await stage.call("POST", hook, json={"content": "second"})
    assert second["id"] != filled["id"]
    _, edited = await stage.call("PATCH", f"{hook}/messages/{second['id']}", json={"content": "changed"})
    assert edited["content"] == "changed"
    assert (await stage.call("GET", f"{hook}/messages/@original"))[1]["content"] == "public?"
    assert (await stage.call("DELETE", f"{hook}/messages/@original"))[0] == 204
    assert (await stage.call("GET", f"{hook}/messages/@original"))[1]["code"] == 10008
    stage.clock.now += 901
    status, body = await stage.call("POST", hook, json={"content": "too late"})
    assert (status, body["code"]) == (401, 50027)


async def test_deferred_update_edits_the_pressed_message(stage):
    message = post(stage, "choose", author=stage.app.id, components=BUTTONS)
    _, callback, hook = await started(stage, kind="component", message=str(message.id), custom_id="go")
    assert (await stage.call("POST", callback, json={"type": 6}))[0] == 204
    assert (await stage.call("PATCH", f"{hook}/messages/@original", json={"content": "went"}))[0] == 200
    assert message.content == "went"


async def test_follow_up_with_a_file(stage):
    stage.register("export")
    _, callback, hook = await started(stage, kind="command", command="export")
    await stage.call("POST", callback, json={"type": 5})
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("payload_json", '{"embeds": [{"image": {"url": "attachment://a b.png"}}]}')
    form.add_field("files[0]", b"PNG", filename="a b.png", content_type="image/png")
    status, body = await stage.call("PATCH", f"{hook}/messages/@original", data=form)
    assert status == 200
    assert [one["size"] for one in body["attachments"]] == [3]
    assert body["attachments"][0]["content_type"] == "image/png"


async def test_202_means_answered_by_callback(stage):
    stage.register("ping")

    async def handler(interaction):
        path = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
        assert (await stage.call("POST", path, json=say("direct")))[0] == 204
        return web.Response(status=202)

    stage.endpoint.handler = handler
    _, result = await stage.interact(kind="command", command="ping")
    assert result["record"]["source"] == "callback"
    assert result["record"]["answered_twice"] is False
    assert result["message"]["content"] == "direct"


async def test_endpoint_is_checked_with_forged_signatures(stage):
    await stage.interactions.set_endpoint(stage.app, stage.endpoint.url)
    assert await stage.interactions.recheck(stage.app) is None
    stage.endpoint.check_signatures = False
    with pytest.raises(errors.DiscordError) as refused:
        await stage.interactions.set_endpoint(stage.app, stage.endpoint.url)
    assert refused.value.code == 50035
    assert stage.app.interactions_endpoint_url == stage.endpoint.url
    assert "200" in (await stage.interactions.recheck(stage.app))
    assert stage.app.interactions_endpoint_url is None
