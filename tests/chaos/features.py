"""The features of the pods under test: those of production and two witnesses."""

from __future__ import annotations

import ledger

from chaos import notes
from modbot.features import all_features
from modbot.shard.feature import Feature


def witnessed() -> tuple[Feature, ...]:
    return (*all_features(), ledger.feature, notes.feature)
