"""python -m modbot.services.gateway."""

import sys

from modbot.services.gateway.main import main

sys.exit(main())
