"""The http pod of production, which knows the witnesses' command as well."""

from __future__ import annotations

import sys

from chaos import features
from modbot.services.http import main

if __name__ == "__main__":
    main.all_features = features.witnessed
    sys.exit(main.main())
