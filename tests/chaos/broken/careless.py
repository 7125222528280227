"""As the target of a handoff it leaves out the end of the log (against I4)."""

import sys

import careless_gateway

from chaos import gateway

if __name__ == "__main__":
    assert careless_gateway
    sys.exit(gateway.run())
