"""Pages: templates, static files, view models."""
