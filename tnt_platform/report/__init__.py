"""Report daily on the files that arrived: their records, totals, and how they compare with other days."""
