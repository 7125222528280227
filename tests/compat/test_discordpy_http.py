import datetime as dt

import discord
import pytest
from discord import http


@pytest.fixture
async def client(site, monkeypatch):
    monkeypatch.setattr(http.Route, "BASE", f"{site.url}/api/v10")
    async with discord.Client(intents=discord.Intents.none()) as client:
        await client.login(site.app.token)
        yield client


async def test_discordpy_moderates(site, client):
    user = site.somebody
    assert client.user.id == site.app.id
    guild = await client.fetch_guild(site.guild.id)
    channel = await client.fetch_channel(site.general.id)
    view = discord.ui.View().add_item(discord.ui.Button(label="Ban", custom_id="ban"))
    embed = discord.Embed(title="Case").add_field(name="who", value="them")
    file = discord.File(__file__, filename="note.txt", description="a file")
    message = await channel.send("report", embed=embed, view=view, file=file)
    assert (message.content, message.attachments[0].filename) == ("report", "note.txt")
    assert (await message.edit(content="done")).content == "done"
    await message.add_reaction("👍")
    assert (await channel.fetch_message(message.id)).reactions[0].me
    thread = await message.create_thread(name="case 1")
    await thread.send("inside")
    assert (await thread.edit(archived=True)).archived
    member = await guild.fetch_member(user)
    member = await member.timeout(dt.timedelta(minutes=5), reason="cool off") or await guild.fetch_member(user)
    assert member.timed_out_until is not None
    await guild.ban(member, reason="spam & more", delete_message_seconds=60)
    entry = await anext(guild.audit_logs(limit=1, action=discord.AuditLogAction.ban))
    assert (entry.reason, entry.target.id) == ("spam & more", user)
    await guild.unban(member)
    with pytest.raises(discord.NotFound) as refused:
        await guild.unban(member)
    assert refused.value.code == 10026
    await message.delete()


async def test_discordpy_survives_a_rate_limit(site, client):
    channel = await client.fetch_channel(site.general.id)
    message = await channel.send("one")
    for emoji in "👍👎😀":
        await message.add_reaction(emoji)
    assert len(site.simulator.world.message(site.general.id, message.id).reactions) == 3
