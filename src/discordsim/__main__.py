"""`python -m discordsim`."""

from discordsim.server import main

main()
