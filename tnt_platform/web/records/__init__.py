"""Curated records, served from a local copy of each version that is sorted by id."""
