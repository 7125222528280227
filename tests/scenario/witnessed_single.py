"""`modbot single` whose gateway has one more feature: the ledger."""

import sys

from modbot.cli import single

single.MODULES["gateway"] = "witnessed_gateway"

if __name__ == "__main__":
    sys.exit(single.main())
