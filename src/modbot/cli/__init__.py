"""The command line: modbot <verb>."""

from pathlib import Path

STATE = Path(".modbot/dev")
"""Where `modbot dev` keeps the state of the system it runs, seen from where it was started."""
