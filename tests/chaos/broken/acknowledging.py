"""It acknowledges to Discord what only its own volume holds (against I3, when the volume is lost)."""

import sys

import acknowledging_gateway

from chaos import gateway

if __name__ == "__main__":
    assert acknowledging_gateway
    sys.exit(gateway.run())
