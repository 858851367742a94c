"""The dashboard: one module per page, which turns frames into what its template shows."""
