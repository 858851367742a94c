"""Datasets of curated records as Dagster components."""
