"""python -m modbot.services.http."""

import sys

from modbot.services.http.main import main

sys.exit(main())
