"""The command line: modbot <verb>."""
