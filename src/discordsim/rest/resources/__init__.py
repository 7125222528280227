"""The endpoints, grouped by Discord's resources; each module has a table `ROUTES`."""
