"""Interactions: applied once, checked here, always with a valid answer; anonymous ones leave no name."""

import msgspec
import pytest
from shardkit import GUILD, MEMBER, MOD_ROLE

from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import GuildId, UserId
from modbot.domain.settings import MODERATOR_ROLE
from modbot.shard import guild_settings, interactions
from modbot.shard.effects import UserError
from modbot.shard.feature import Access, CommandKind, Deferral, Feature
from modbot.shard.migrations import Series
from modbot.shard.responses import Later, Modal, Reply

TABLES = Series("play_tables", ("CREATE TABLE used (name TEXT)",))
feature = Feature("play")


class Asked(msgspec.Struct, frozen=True):
    """Arguments."""

    name: str


@feature.effect
async def later(run, args: Asked):
    await run.reply("answer", {"content": f"later {args.name}"})


def declare(name, access, respond, **more):
    def handler(tx, interaction):
        tx.execute("INSERT INTO used VALUES (?)", (name,))
        return respond(tx, interaction)

    kind = CommandKind.SLASH
    return feature.command(name, kind=kind, access=access, defers=Deferral.EPHEMERAL, description="d", **more)(handler)


def _later(tx, interaction):
    tx.effect(later, Asked("play"), reply_token=interaction.token)
    return Later()


def _user_error(_tx, _interaction):
    raise UserError("Choose something else.")


def _defect(_tx, _interaction):
    raise ValueError("defect")


declare("open", Access.EVERYONE, lambda _tx, _i: Reply("hello"))
declare("mods", Access.MODERATOR, lambda _tx, _i: Reply("hello, mod"))
declare("admins", Access.ADMINISTRATOR, lambda _tx, _i: Reply("hello, admin"))
declare("later", Access.EVERYONE, _later)
declare("wrong", Access.EVERYONE, _user_error)
declare("defect", Access.EVERYONE, _defect)
declare("form", Access.EVERYONE, lambda _tx, _i: Later(), modal=lambda _i: Modal("play:sent:1", "T" * 60, ()))
declare("no-form", Access.EVERYONE, lambda _tx, _i: Reply("not now"), modal=lambda _i: Modal("play:sent:1", "T", ()))


@pytest.fixture
async def world(make_world):
    return await make_world(feature, interactions.feature, series=[TABLES])


async def set_role(world):
    def work(tx):
        tx.guild_id = GuildId(GUILD)
        guild_settings.change(tx, MODERATOR_ROLE, str(MOD_ROLE), changed_by=UserId(1))

    await world.engine.commit(work)


def command(world, name, **who):
    return world.press(2, {"name": name, "type": 1}, **who)


async def used(world):
    return [row[0] for row in await world.rows("SELECT name FROM used")]


async def test_an_interaction_is_applied_once_and_answered_the_same(world):
    interaction = command(world, "open")
    first = await world.interact(interaction)
    assert first == await world.interact(interaction)
    assert first["type"] == 4
    assert first["data"] == {"content": "hello", "flags": 64, "allowed_mentions": {"parse": []}}
    assert await used(world) == ["open"]
    await world.reopen()
    assert await world.interact(interaction) == first
    assert await used(world) == ["open"]


async def test_after_a_deferral_the_answer_follows_once(world):
    interaction = command(world, "open")
    for _again in range(3):
        await world.interact(interaction, deferred=True)
    await world.idle()
    assert [reply["content"] for reply in world.discord.replies[interaction.token]] == ["hello"]


async def test_an_answer_that_came_too_late_for_the_first_try_follows_after_the_deferral(world):
    interaction = command(world, "open")
    await world.interact(interaction)
    assert world.discord.replies == {}
    await world.interact(interaction, deferred=True)
    await world.idle()
    assert [reply["content"] for reply in world.discord.replies[interaction.token]] == ["hello"]


async def test_an_effect_completes_what_was_put_off(world):
    interaction = command(world, "later")
    assert await world.interact(interaction) == {"type": 5, "data": {"flags": 64}}
    await world.interact(interaction, deferred=True)
    await world.idle()
    assert world.discord.replies == {interaction.token: [{"content": "later play"}]}


async def test_a_form_is_the_answer_and_fits(world):
    answer = await world.interact(command(world, "form"))
    assert (answer["type"], answer["data"]["custom_id"]) == (9, "play:sent:1")
    assert len(answer["data"]["title"]) == 45
    assert (await world.interact(command(world, "no-form")))["data"]["content"] == "not now"


@pytest.mark.parametrize(
    ("name", "who", "allowed"),
    [
        ("mods", {"roles": [MOD_ROLE]}, True),
        ("mods", {"roles": []}, False),
        ("mods", {"roles": [99], "permissions": 1 << 13}, False),
        ("mods", {"roles": [], "permissions": 1 << 3}, True),
        ("admins", {"roles": [MOD_ROLE]}, False),
        ("admins", {"roles": [], "permissions": 1 << 5}, True),
        ("admins", {"roles": [], "permissions": 1 << 3}, True),
        ("open", {"roles": []}, True),
    ],
)
async def test_who_may(world, name, who, allowed):
    await set_role(world)
    answer = await world.interact(command(world, name, **who))
    assert (await used(world) == [name]) is allowed
    assert answer["data"]["flags"] == 64
    assert answer["data"]["content"].startswith("hello" if allowed else "This is for")


async def test_without_a_moderator_role_nobody_but_administrators_is_a_moderator(world):
    answer = await world.interact(command(world, "mods", roles=[MOD_ROLE]))
    assert "`/setup`" in answer["data"]["content"]
    await world.interact(command(world, "mods", roles=[], permissions=1 << 3))
    assert await used(world) == ["mods"]


async def test_a_refusal_follows_after_a_deferral_too(world):
    interaction = command(world, "mods", roles=[])
    await world.interact(interaction, deferred=True)
    await world.idle()
    assert "moderators" in world.discord.replies[interaction.token][0]["content"]


async def test_what_nobody_answers_is_refused_and_not_recorded(world):
    for interaction in (
        command(world, "unknown"),
        world.press(2, {"name": "open", "type": 4}),
        world.press(3, {"custom_id": "nobody:home:1"}),
        world.press(4, {"name": "open", "type": 1}),
    ):
        with pytest.raises(InvalidInputError):
            await world.interact(interaction)
    assert await world.rows("SELECT * FROM interactions") == []


async def test_a_user_error_is_shown_as_it_is_and_undoes_the_rest(world):
    answer = await world.interact(command(world, "wrong"))
    assert answer["data"]["content"] == "Choose something else."
    assert await used(world) == []
    assert await world.rows("SELECT * FROM dead_letters") == []


async def test_a_defect_is_buried_and_told_with_its_id(world):
    interaction = command(world, "defect", user=MEMBER)
    answer = await world.interact(interaction)
    assert f"`{interaction.id}`" in answer["data"]["content"]
    assert await used(world) == []
    assert await world.row("SELECT cause, handler, payload FROM dead_letters") == (
        f"interaction/{interaction.id}",
        "defect",
        None,
    )
    assert await world.interact(interaction) == answer


async def test_an_interaction_over_the_gateway_is_answered_through_discord_once(world):
    body = msgspec.to_builtins(command(world, "open"))
    await world.dispatch("INTERACTION_CREATE", body)
    await world.idle()
    assert [answer["type"] for answer in world.discord.responses[body["id"]]] == [4]
    await world.dispatch("INTERACTION_CREATE", body)
    await world.idle()
    assert len(world.discord.responses[body["id"]]) == 1


async def test_an_interaction_over_the_gateway_that_nobody_understands_holds_up_nothing(world):
    body = msgspec.to_builtins(world.press(2, {"name": "launch", "type": 4}))
    await world.dispatch("INTERACTION_CREATE", body)
    assert world.engine.offset.seq == 2


async def test_a_first_response_that_came_too_late_is_no_failure(world):
    world.discord.reject("POST", "/callback", 10062)
    await world.dispatch("INTERACTION_CREATE", msgspec.to_builtins(command(world, "open")))
    await world.idle()
    assert await world.rows("SELECT state FROM effects") == [("done",)]


async def test_a_hole_is_recorded_with_its_session(world):
    from modbot.discord.frames import Unreadable
    from modbot.discord.intake import Batch, Hole

    unreadable = Unreadable(seq=9, name="MESSAGE_CREATE", reason="no id")
    applied = await world.engine.apply(Batch((Hole(after=1, before=8), unreadable), world.offset(9)))
    assert await world.row("SELECT session_id, last_seq FROM gaps") == ("s1", 1)
    assert await world.row("SELECT cause, handler FROM dead_letters") == ("s1/9", "decode MESSAGE_CREATE")
    assert applied.dead_letters == 1
