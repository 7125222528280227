"""The gateway pod of production with one more feature: the ledger by guild."""

import sys

import guildledger

from modbot.features import all_features
from modbot.services.gateway import main, pod

pod.all_features = lambda: (*all_features(), guildledger.feature)

if __name__ == "__main__":
    sys.exit(main.main())
