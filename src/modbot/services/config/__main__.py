"""`python -m modbot.services.config`."""

from __future__ import annotations

import sys

from modbot.services.config import main

if __name__ == "__main__":
    sys.exit(main.main())
