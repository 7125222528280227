"""Set-up: which role moderates and where the mod log is."""

from modbot.features.setup.handlers import feature

__all__ = ["feature"]
