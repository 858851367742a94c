"""Curate the records of a JSON API: capture its responses, update records whose content changed, and summarize them."""
