"""python -m modbot.cli."""

from modbot.cli.main import main

main()
