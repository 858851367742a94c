"""What a dataset may declare: the fields of its YAML, their types and rules, for validation, docs and flows."""
