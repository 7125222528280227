"""A whole bot written with discord.py, told nothing but other addresses, lives through a day over the simulator."""

import asyncio
import io

import botkit
import discord
import pytest
import yarl
from discord import app_commands, http


class Claim(discord.ui.View):
    @discord.ui.button(label="Claim", custom_id="claim", style=discord.ButtonStyle.primary)
    async def claim(self, interaction, button):
        button.disabled = True
        await interaction.response.edit_message(content=f"claimed by {interaction.user.mention}", view=self)


class Note(discord.ui.Modal, title="Write a note"):
    text = discord.ui.TextInput(label="Text", custom_id="text", style=discord.TextStyle.paragraph)

    def __init__(self, message):
        super().__init__()
        self.message = message

    async def on_submit(self, interaction):
        await interaction.response.send_message(f"noted on {self.message.id}: {self.text.value}", ephemeral=True)


class Bot(discord.Client):
    def __init__(self):
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=intents, guild_ready_timeout=0.2)
        self.tree = app_commands.CommandTree(self)
        self.looked_up, self.is_up = asyncio.Event(), asyncio.Event()

    async def setup_hook(self):
        self._add_slash_commands()
        self._add_menus()
        await self.tree.sync()

    def _add_slash_commands(self):
        @self.tree.command(description="Warn somebody")
        async def warn(interaction, user: discord.Member, reason: str):
            told = await interaction.response.send_message(f"{user.mention} was warned: {reason}")
            await told.resource.add_reaction("\N{EYES}")

        @warn.autocomplete("reason")
        async def reasons(_interaction, current):
            fitting = [one for one in botkit.REASONS if one.startswith(current)]
            return [app_commands.Choice(name=one.title(), value=one) for one in fitting]

        @self.tree.command(description="Look up cases")
        async def history(interaction):
            await interaction.response.defer(ephemeral=True, thinking=True)
            await self.looked_up.wait()
            await interaction.edit_original_response(content="no cases")
            await interaction.followup.send("ask again tomorrow", ephemeral=True)

    def _add_menus(self):
        @self.tree.context_menu(name="Standing")
        async def standing(interaction, user: discord.User):
            await interaction.response.send_message(f"{user.mention} is in good standing", ephemeral=True)

        @self.tree.context_menu(name="Note")
        async def note(interaction, message: discord.Message):
            await interaction.response.send_modal(Note(message))

    async def on_ready(self):
        self.is_up.set()

    async def on_message(self, message):
        if message.content == "!ping":
            await message.channel.send("pong")
        elif message.content.startswith("!report "):
            await self._report(message, await message.guild.fetch_member(int(message.content.split()[1])))

    async def _report(self, message, member):
        embed = discord.Embed(title="Case 1").add_field(name="who", value=member.mention)
        file = discord.File(io.BytesIO(b"what was said"), "log.txt")
        report = await message.channel.send("report", embed=embed, view=Claim(timeout=None), file=file)
        await report.edit(content="report, edited")
        await report.add_reaction("\N{EYES}")
        thread = await report.create_thread(name="case 1")
        await thread.send("inside")
        await message.guild.ban(member, reason="spam & more", delete_message_seconds=0)
        await message.guild.unban(member, reason="appealed")


@pytest.fixture
def _addresses(site, monkeypatch):
    monkeypatch.setattr(http.Route, "BASE", f"{site.url}/api/v10")
    gateway = yarl.URL(f"{site.url.replace('http', 'ws')}/gateway")
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)


@pytest.mark.usefixtures("_addresses")
async def test_a_discordpy_bot_lives_through_a_day(site, caplog):
    bot = Bot()
    async with botkit.users_of(site) as users:
        running = asyncio.create_task(bot.start(site.app.token))
        try:
            await asyncio.wait_for(bot.is_up.wait(), botkit.PATIENCE)
            await botkit.live_through_a_day(users, bot.looked_up)
        finally:
            await bot.close()
            await asyncio.wait_for(running, botkit.PATIENCE)
    botkit.nothing_went_wrong(caplog)
