"""A mall directory: an API's pages become tenants, and tenants become rows of a database."""
