"""Series datasets as Dagster components."""
