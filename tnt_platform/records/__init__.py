"""Curated records: a JSON API becomes captures, records that change only when their content does, and a summary."""
