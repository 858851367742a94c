"""The read-only REST API and dashboard; it reads published versions and never writes."""
