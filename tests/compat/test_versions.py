import pathlib

import discord
import hikari

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "simulator.md"


def test_the_page_names_the_versions_that_were_tested():
    text = PAGE.read_text()
    assert f"hikari {hikari.__version__} and discord.py {discord.__version__}" in text
