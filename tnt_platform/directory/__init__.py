"""Mall directories: pages of an API become tenants, and tenants become rows of a database."""
