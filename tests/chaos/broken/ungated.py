"""It sends effects without asking whether its lease is valid (against I2)."""

import sys

from chaos import gateway
from modbot.discord import rest

_init = rest.RestClient.__init__


def without_gate(self, **options):
    options["gate"] = rest.always_open
    _init(self, **options)


if __name__ == "__main__":
    rest.RestClient.__init__ = without_gate
    sys.exit(gateway.run())
