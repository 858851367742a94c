"""Serve curated records from a local copy of each version, sorted by id."""
