"""Read the word lists (CSV files) beside this module."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def word_list(name: str) -> tuple[dict[str, str], ...]:
    """Read the rows of `<name>.csv` as dicts from column to value."""
    text = files(__package__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
