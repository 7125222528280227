"""Entry points of the processes."""
