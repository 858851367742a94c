"""What a dataset's YAML may say, and every fault of it at once, each with its file and line."""
