"""A service that waits for a signal and names it."""

import signal
import sys

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have let it be ignored
signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
sys.stderr.write("waiting\n")
number = signal.sigwait(_SIGNALS)
sys.stderr.write(f"asked to end by {signal.Signals(number).name}\n")
