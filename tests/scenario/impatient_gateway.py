"""The witnessed gateway pod with a canary that does not wait a minute."""

import sys
from datetime import timedelta

import witnessed_gateway

from modbot.services.gateway import canary, main

canary._QUIET = timedelta(seconds=2)
canary._LOOK_EVERY = 0.5
canary._ON_THE_WAY = 1.0
canary._COMMITTED_WITHIN = 1.5

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
