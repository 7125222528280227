"""The http service: interactions, routing, portal."""
