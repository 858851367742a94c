"""One Dagster data platform: raw files in, versioned and traceable published data out."""
