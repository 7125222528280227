"""The back door of the simulator: faults, time, traffic and inspection over plain JSON, without authentication."""
