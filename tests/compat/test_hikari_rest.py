import datetime as dt

import hikari
import pytest


@pytest.fixture
async def rest(site):
    app = hikari.RESTApp(url=f"{site.url}/api/v10")
    await app.start()
    async with app.acquire(site.app.token, hikari.TokenType.BOT) as client:
        yield client
    await app.close()


async def test_hikari_moderates(site, rest):
    guild, channel, user = site.guild.id, site.general.id, site.somebody
    assert (await rest.fetch_my_user()).id == site.app.id
    assert (await rest.fetch_guild(guild)).name == site.guild.name
    row = rest.build_message_action_row().add_interactive_button(hikari.ButtonStyle.DANGER, "ban", label="Ban")
    embed = hikari.Embed(title="Case", colour=0xFF0000).add_field("who", "them")
    image = hikari.Bytes(b"text", "note.txt")
    message = await rest.create_message(channel, "report", embed=embed, component=row, attachment=image)
    assert (message.content, message.attachments[0].filename) == ("report", "note.txt")
    assert (await rest.edit_message(channel, message, "done")).content == "done"
    await rest.add_reaction(channel, message, "👍")
    assert (await rest.fetch_message(channel, message)).reactions[0].is_me
    thread = await rest.create_message_thread(channel, message, "case 1")
    await rest.create_message(thread, "inside")
    assert (await rest.edit_channel(thread, archived=True)).is_archived
    until = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    member = await rest.edit_member(guild, user, communication_disabled_until=until, reason="cool off")
    assert member.communication_disabled_until() is not None
    await rest.ban_member(guild, user, delete_message_seconds=60, reason="spam & more")
    log = await rest.fetch_audit_log(guild, event_type=hikari.AuditLogEventType.MEMBER_BAN_ADD).limit(1)
    assert next(iter(log[0].entries.values())).reason == "spam & more"
    await rest.unban_member(guild, user)
    with pytest.raises(hikari.NotFoundError) as refused:
        await rest.unban_member(guild, user)
    assert refused.value.code == 10026
    await rest.delete_message(channel, message)


async def test_hikari_registers_commands(site, rest):
    builder = rest.slash_command_builder("warn", "Warn somebody")
    builder.add_option(
        hikari.CommandOption(type=hikari.OptionType.USER, name="user", description="whom", is_required=True)
    )
    made = await rest.set_application_commands(site.app.id, [builder])
    assert made[0].name == "warn"
    assert (await rest.fetch_application_commands(site.app.id))[0].options[0].name == "user"


async def test_hikari_waits_for_rate_limits(site, rest):
    site.simulator.switches.rest.limits_scale = 0.2
    message = await rest.create_message(site.general.id, "one")
    for emoji in "👍👎😀":
        await rest.add_reaction(site.general.id, message, emoji)
    assert len(site.simulator.world.message(site.general.id, message.id).reactions) == 3
