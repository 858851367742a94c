"""Daily reports as Dagster components."""
