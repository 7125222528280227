"""A service that cannot start."""

import sys

sys.stderr.write("no volume\n")
sys.exit(1)
