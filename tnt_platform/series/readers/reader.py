"""The readers of time series by the name they have in a dataset's YAML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tnt_platform.series.readers.cells import SeriesCells
from tnt_platform.series.readers.date_column import read_date_column
from tnt_platform.series.readers.date_row import read_date_row
from tnt_platform.series.readers.long import read_long
from tnt_platform.series.readers.wide import read_wide

# Each takes the bytes of a file and the layout of its kind, which mypy can't say of a dict.
READERS: Final[dict[str, Callable[[bytes, Any], SeriesCells]]] = {
    "date_column": read_date_column,
    "date_row": read_date_row,
    "wide": read_wide,
    "long": read_long,
}
