"""`modbot single` whose gateway has one more feature: the ledger of guilds."""

import sys

from modbot.cli import single

single.MODULES["gateway"] = "guild_witnessed_gateway"

if __name__ == "__main__":
    sys.exit(single.main())
