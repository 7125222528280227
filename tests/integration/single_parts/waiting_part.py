"""A service that waits for a signal and names it."""

import signal
import sys

sys.stderr.write("waiting\n")
number = signal.sigwait({signal.SIGINT, signal.SIGTERM})
sys.stderr.write(f"asked to end by {signal.Signals(number).name}\n")
