import json

import aiohttp
import pytest

from discordsim.world import posting
from discordsim.world.model.messages import Draft

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + b"\0\0\0\x02\0\0\0\x03" + b"\r\n\n"


def messages(api, tail=""):
    return f"/channels/{api.place.general_id}/messages{tail}"


async def test_a_message_can_be_posted_read_edited_and_deleted(api):
    made = await api.post("hello", embeds=[{"title": "A", "fields": [{"name": "n", "value": "v"}]}])
    assert made["author"]["id"] == str(api.app.id)
    got = await api.ok("GET", messages(api, f"/{made['id']}"))
    assert got == made
    edited = await api.ok("PATCH", messages(api, f"/{made['id']}"), {"content": "changed"})
    assert (edited["content"], edited["embeds"]) == ("changed", made["embeds"])
    assert (await api.call("DELETE", messages(api, f"/{made['id']}"))).status == 204
    assert (await api.call("GET", messages(api, f"/{made['id']}"))).code == 10008


async def test_listing_pages_around_before_and_after(api):
    ids = [(await api.post(f"number {n}"))["id"] for n in range(6)]
    listed = [one["id"] for one in await api.ok("GET", messages(api, "?limit=2"))]
    assert listed == [ids[5], ids[4]]
    listed = [one["id"] for one in await api.ok("GET", messages(api, f"?limit=2&before={ids[2]}"))]
    assert listed == [ids[1], ids[0]]
    listed = [one["id"] for one in await api.ok("GET", messages(api, f"?limit=2&after={ids[2]}"))]
    assert listed == [ids[4], ids[3]]
    listed = [one["id"] for one in await api.ok("GET", messages(api, f"?limit=3&around={ids[2]}"))]
    assert listed == [ids[3], ids[2], ids[1]]
    assert (await api.call("GET", messages(api, "?limit=101"))).code == 50035


async def test_an_enforced_nonce_posts_once(api):
    first = await api.post("once", nonce="effect-1", enforce_nonce=True)
    again = await api.post("once", nonce="effect-1", enforce_nonce=True)
    assert first["id"] == again["id"]
    assert len([one for one in api.events if one.name == "MESSAGE_CREATE"]) == 1
    assert [one.nonce for one in api.simulator.rest_log.find(method="POST")] == ["effect-1", "effect-1"]


@pytest.mark.parametrize(
    ("body", "where", "kind"),
    [
        ({"content": "x" * 2001}, "content", "BASE_TYPE_"),
        ({"content": 5}, "content", ""),
        ({"content": "x", "nonce": "n" * 26}, "nonce", ""),
        ({"embeds": [{"title": "x" * 257}]}, "embeds", ""),
        ({"embeds": [{"description": "x" * 4000}, {"description": "x" * 4000}]}, "embeds", "MAX_EMBED"),
        ({"content": "x", "message_reference": {}}, "message_reference", ""),
        ({"content": "x", "message_reference": {"message_id": "5"}}, "message_reference", "REPLIES_UNKNOWN"),
        ({"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "a"}]}, "content", "MESSAGE_CANNOT"),
        ({"content": "x", "components": [{"type": 10, "content": "a"}]}, "components", ""),
        ({"content": "x", "attachments": [{"id": 0, "filename": "a"}]}, "attachments", "MESSAGE_ATTACHMENT"),
    ],
)
async def test_bad_bodies_are_refused_with_a_path(api, body, where, kind):
    answer = await api.call("POST", messages(api), body)
    assert (answer.status, answer.code) == (400, 50035)
    assert where in answer.body["errors"]
    assert f'"code": "{kind}' in json.dumps(answer.body["errors"])


async def test_empty_and_broken_bodies(api):
    assert (await api.call("POST", messages(api), {})).code == 50006
    assert (await api.call("POST", messages(api), data=b"{")).code == 50109


async def test_components_of_both_kinds(api):
    button = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
    made = await api.post("press", components=[{"type": 1, "components": [button]}])
    assert made["components"][0]["components"][0]["custom_id"] == "go"
    double = await api.call("POST", messages(api), {"components": [{"type": 1, "components": [button, button]}]})
    assert double.code == 50035
    text = {"type": 10, "content": "hi"}
    shown = [{"type": 17, "components": [text, {"type": 1, "components": [button]}]}]
    made = await api.ok("POST", messages(api), {"flags": 1 << 15, "components": shown})
    assert made["flags"] == 1 << 15
    many = await api.call("POST", messages(api), {"flags": 1 << 15, "components": [text] * 41})
    assert many.code == 50035


async def test_files_are_kept_and_served(api):
    form = aiohttp.FormData()
    said = {"content": "look", "attachments": [{"id": "0", "filename": "p.png", "description": "a dot"}]}
    said["embeds"] = [{"image": {"url": "attachment://p.png"}}]
    form.add_field("payload_json", json.dumps(said), content_type="application/json")
    form.add_field("files[0]", PNG, filename="p.png", content_type="image/png")
    made = await api.ok("POST", messages(api), data=form)
    file = made["attachments"][0]
    assert (file["filename"], file["size"], file["description"]) == ("p.png", len(PNG), "a dot")
    assert made["embeds"][0]["image"]["url"] == file["url"]
    async with api.client.get(file["url"]) as answer:
        assert (answer.status, await answer.read()) == (200, PNG)
    kept = await api.ok("PATCH", messages(api, f"/{made['id']}"), {"attachments": [{"id": file["id"]}]})
    assert kept["attachments"] == made["attachments"]
    gone = await api.ok("PATCH", messages(api, f"/{made['id']}"), {"attachments": []})
    assert gone["attachments"] == []


async def test_bulk_delete_rules(api):
    ids = [(await api.post(str(n)))["id"] for n in range(3)]
    path = messages(api, "/bulk-delete")
    assert (await api.call("POST", path, {"messages": ids[:1]})).code == 50016
    assert (await api.call("POST", path, {"messages": [ids[0], ids[0]]})).code == 50035
    assert (await api.call("POST", path, {"messages": [ids[0], "1"]})).code == 50034
    assert (await api.call("POST", path, {"messages": ids}, reason="spam")).status == 204
    assert not api.world.channels[api.place.general_id].messages
    assert api.guild.audit_log[-1].reason == "spam"


async def test_replies_and_forwards(api):
    first = await api.post("first")
    reply = await api.post("second", message_reference={"message_id": first["id"]})
    assert (reply["type"], reply["referenced_message"]["id"]) == (19, first["id"])
    reference = {"type": 1, "message_id": first["id"], "channel_id": str(api.place.general_id)}
    forward = await api.ok("POST", f"/channels/{api.place.mod_log_id}/messages", {"message_reference": reference})
    assert forward["message_snapshots"][0]["message"]["content"] == "first"


async def test_others_messages_cannot_be_edited(api):
    other = posting.create(api.world, api.place.general_id, api.place.moderator_id, Draft(content="mine"))
    assert (await api.call("PATCH", messages(api, f"/{other.id}"), {"content": "yours"})).code == 50005


async def test_old_messages_may_be_edited_only_so_often(api):
    api.simulator.switches.rest.limits = True
    api.simulator.switches.rest.old_edits = 1
    made = await api.post()
    api.clock.now += 3601
    assert (await api.call("PATCH", messages(api, f"/{made['id']}"), {"content": "1"})).status == 200
    second = await api.call("PATCH", messages(api, f"/{made['id']}"), {"content": "2"})
    assert (second.status, second.code, second.body["retry_after"]) == (429, 30046, 3600.0)


async def test_pins_and_typing(api):
    made = await api.post()
    assert (await api.call("PUT", messages(api, f"/pins/{made['id']}"), reason="keep")).status == 204
    pins = await api.ok("GET", messages(api, "/pins"))
    assert ([one["message"]["id"] for one in pins["items"]], pins["has_more"]) == ([made["id"]], False)
    assert [one["id"] for one in await api.ok("GET", f"/channels/{api.place.general_id}/pins")] == [made["id"]]
    assert (await api.call("DELETE", messages(api, f"/pins/{made['id']}"))).status == 204
    assert (await api.ok("GET", messages(api, "/pins")))["items"] == []
    assert (await api.call("POST", f"/channels/{api.place.general_id}/typing")).status in {200, 204}
    assert api.events[-1].name == "TYPING_START"


async def test_reactions(api):
    made = await api.post()
    path = messages(api, f"/{made['id']}/reactions")
    assert (await api.call("PUT", f"{path}/%F0%9F%91%8D/@me")).status == 204
    got = await api.ok("GET", messages(api, f"/{made['id']}"))
    assert (got["reactions"][0]["count"], got["reactions"][0]["me"]) == (1, True)
    assert [one["id"] for one in await api.ok("GET", f"{path}/%F0%9F%91%8D")] == [str(api.app.id)]
    assert (await api.call("PUT", f"{path}/nonsense/@me")).code == 10014
    assert (await api.call("DELETE", f"{path}/%F0%9F%91%8D/@me")).status == 204
    await api.call("PUT", f"{path}/%F0%9F%91%8D/@me")
    assert (await api.call("DELETE", f"{path}/%F0%9F%91%8D/{api.app.id}")).status == 204
    await api.call("PUT", f"{path}/%F0%9F%91%8D/@me")
    assert (await api.call("DELETE", f"{path}/%F0%9F%91%8D")).status == 204
    assert (await api.call("DELETE", path)).status == 204
    assert "reactions" not in await api.ok("GET", messages(api, f"/{made['id']}"))


async def test_without_the_content_intent_others_messages_come_empty(api):
    other = posting.create(api.world, api.place.general_id, api.place.moderator_id, Draft(content="secret"))
    assert (await api.ok("GET", messages(api, f"/{other.id}")))["content"] == "secret"
    api.app.flags = 0
    assert (await api.ok("GET", messages(api, f"/{other.id}")))["content"] == ""


async def test_every_component_of_version_two_is_completed_as_discord_does(api):
    media = {"url": "https://example.org/a.png"}
    thumbnail = {"type": 11, "media": media}
    shown = [
        {"type": 9, "components": [{"type": 10, "content": "a"}], "accessory": thumbnail},
        {"type": 12, "items": [{"media": media}]},
        {"type": 14},
        {"type": 1, "components": [{"type": 5, "custom_id": "who"}]},
        {"type": 1, "components": [{"type": 3, "custom_id": "one", "options": [{"label": "A", "value": "a"}]}]},
    ]
    made = await api.ok("POST", messages(api), {"flags": 1 << 15, "components": shown})
    ids = [one["id"] for one in made["components"]]
    assert len(set(ids)) == len(ids)
    assert made["components"][2]["spacing"] == 1
