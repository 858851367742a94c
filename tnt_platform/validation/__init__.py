"""Every fault of every dataset's YAML at once, each with its file and line."""
