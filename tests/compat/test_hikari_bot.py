"""A whole bot written with hikari, told nothing but another address, lives through a day over the simulator."""

import asyncio

import botkit
import hikari
from hikari import impl

ANSWER, DEFER = hikari.ResponseType.MESSAGE_CREATE, hikari.ResponseType.DEFERRED_MESSAGE_CREATE
EPHEMERAL = hikari.MessageFlag.EPHEMERAL


class Bot(hikari.GatewayBot):
    def __init__(self, token, url):
        intents = hikari.Intents.ALL_UNPRIVILEGED | hikari.Intents.MESSAGE_CONTENT
        super().__init__(
            token, rest_url=f"{url}/api/v10", intents=intents, banner=None, suppress_optimization_warning=True
        )
        self.looked_up, self.is_up = asyncio.Event(), asyncio.Event()
        self.subscribe(hikari.StartingEvent, self.register)
        self.subscribe(hikari.GuildAvailableEvent, self.on_guild)
        self.subscribe(hikari.GuildMessageCreateEvent, self.on_message)
        self.subscribe(hikari.CommandInteractionCreateEvent, self.on_command)
        self.subscribe(hikari.AutocompleteInteractionCreateEvent, self.on_typing)
        self.subscribe(hikari.ComponentInteractionCreateEvent, self.on_press)
        self.subscribe(hikari.ModalInteractionCreateEvent, self.on_modal)

    async def register(self, _event: hikari.StartingEvent):
        user = hikari.CommandOption(type=hikari.OptionType.USER, name="user", description="whom", is_required=True)
        reason = hikari.CommandOption(
            type=hikari.OptionType.STRING, name="reason", description="why", is_required=True, autocomplete=True
        )
        commands = [
            self.rest.slash_command_builder("warn", "Warn somebody").add_option(user).add_option(reason),
            self.rest.slash_command_builder("history", "Look up cases"),
            self.rest.context_menu_command_builder(hikari.CommandType.USER, "Standing"),
            self.rest.context_menu_command_builder(hikari.CommandType.MESSAGE, "Note"),
        ]
        application = await self.rest.fetch_application()
        await self.rest.set_application_commands(application, commands)

    async def on_guild(self, _event: hikari.GuildAvailableEvent):
        self.is_up.set()

    def claim(self, *, disabled):
        row = self.rest.build_message_action_row()
        return row.add_interactive_button(hikari.ButtonStyle.PRIMARY, "claim", label="Claim", is_disabled=disabled)

    async def on_message(self, event: hikari.GuildMessageCreateEvent):
        if event.content == "!ping":
            await event.message.respond("pong")
        elif event.content and event.content.startswith("!report "):
            await self._report(event, int(event.content.split()[1]))

    async def _report(self, event, user):
        embed = hikari.Embed(title="Case 1").add_field("who", f"<@{user}>")
        file, button = hikari.Bytes(b"what was said", "log.txt"), self.claim(disabled=False)
        report = await event.message.respond("report", embed=embed, component=button, attachment=file)
        await report.edit("report, edited")
        await report.add_reaction("\N{EYES}")
        thread = await self.rest.create_message_thread(event.channel_id, report, "case 1")
        await thread.send("inside")
        await self.rest.ban_user(event.guild_id, user, reason="spam & more")
        await self.rest.unban_user(event.guild_id, user, reason="appealed")

    async def on_command(self, event: hikari.CommandInteractionCreateEvent):
        answers = {"warn": self.warn, "history": self.history, "Standing": self.standing, "Note": self.note}
        await answers[event.interaction.command_name](event.interaction)

    async def warn(self, interaction):
        given = {one.name: one.value for one in interaction.options}
        member = interaction.resolved.members[given["user"]]
        text = f"{member.mention} was warned: {given['reason']}"
        told = await interaction.create_initial_response(ANSWER, text)
        await told.resource.message.add_reaction("\N{EYES}")

    async def history(self, interaction):
        await interaction.create_initial_response(DEFER, flags=EPHEMERAL)
        await self.looked_up.wait()
        await interaction.edit_initial_response("no cases")
        await interaction.execute("ask again tomorrow", flags=EPHEMERAL)

    async def standing(self, interaction):
        user = interaction.resolved.users[interaction.target_id]
        await interaction.create_initial_response(ANSWER, f"{user.mention} is in good standing", flags=EPHEMERAL)

    async def note(self, interaction):
        message = interaction.resolved.messages[interaction.target_id]
        row = self.rest.build_modal_action_row().add_text_input("text", "Text")
        await interaction.create_modal_response("Write a note", f"note/{message.id}", component=row)

    async def on_typing(self, event: hikari.AutocompleteInteractionCreateEvent):
        typed = next(one.value for one in event.interaction.options if one.is_focused)
        fitting = [one for one in botkit.REASONS if one.startswith(typed)]
        await event.interaction.create_response([impl.AutocompleteChoiceBuilder(one.title(), one) for one in fitting])

    async def on_press(self, event: hikari.ComponentInteractionCreateEvent):
        pressed = event.interaction
        await pressed.create_initial_response(
            hikari.ResponseType.MESSAGE_UPDATE,
            f"claimed by {pressed.user.mention}",
            component=self.claim(disabled=True),
        )

    async def on_modal(self, event: hikari.ModalInteractionCreateEvent):
        text, number = event.interaction.components[0][0].value, event.interaction.custom_id.split("/")[1]
        await event.interaction.create_initial_response(ANSWER, f"noted on {number}: {text}", flags=EPHEMERAL)


async def test_a_hikari_bot_lives_through_a_day(site, caplog):
    bot = Bot(site.app.token, site.url)
    async with botkit.users_of(site) as users:
        await bot.start(check_for_updates=False)
        try:
            await asyncio.wait_for(bot.is_up.wait(), botkit.PATIENCE)
            await botkit.live_through_a_day(users, bot.looked_up)
        finally:
            await bot.close()
    botkit.nothing_went_wrong(caplog)
