"""The daily report: what arrived on a day, counted record by record."""
