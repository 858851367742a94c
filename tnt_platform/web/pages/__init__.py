"""The dashboard: one module a page, each turning frames into what its template shows."""
