"""It stores the seq when a batch arrives and the effects later (against I3)."""

import sys

import forgetful_gateway

from chaos import gateway

if __name__ == "__main__":
    assert forgetful_gateway
    sys.exit(gateway.run())
