"""Directories of a mall as Dagster components."""
