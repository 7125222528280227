"""Settings, logging, metrics, health."""
