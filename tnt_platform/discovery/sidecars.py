"""Files that accompany data and are none: markers, checksums, unfinished uploads, settings of a file manager.

`sidecars.csv` lists their names for every dataset whose files have dates: `*` is any text, and a name that ends with a
slash is a folder. A dataset whose `key_pattern` spells such a name out reads it as data.
"""

from __future__ import annotations

import csv
import re
from functools import cache, cached_property
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from tnt_platform.discovery.raw_source import RawSource

FOLDER_MARKER = "folder marker without content"


class Sidecar(BaseModel, frozen=True):
    """One line of sidecars.csv: a name, the name of a file that must lie beside it if any, and what it is."""

    name: str
    only_beside: str
    meaning: str

    @cached_property
    def pattern(self) -> str:
        """The pattern of whole keys, as Python and polars understand it."""
        return _pattern_of(self.name)

    def is_spelt_out_in(self, source: RawSource) -> bool:
        """Whether the dataset's key_pattern has this name, such as `manifest\\.json`."""
        literal = max(self.name.split("*"), key=len)
        return literal in source.key_pattern.replace("\\", "")


def sidecar_meanings(listing: pl.DataFrame, source: RawSource) -> pl.Series:
    """Return what kind of sidecar each listed object (key, size_bytes) is; null if it is data."""
    keys = listing["key"]
    known = [sidecar for sidecar in sidecars() if not sidecar.is_spelt_out_in(source)]
    candidates = keys.filter(keys.str.contains("|".join(sidecar.pattern for sidecar in known)))
    meanings = {key: meaning for key in candidates if (meaning := _meaning(key, keys, known)) is not None}
    named = keys.replace_strict(meanings, default=None, return_dtype=pl.String) if meanings else None
    is_marker = (listing["size_bytes"] == 0) & keys.str.ends_with("/")
    return listing.select(
        meaning=pl.when(is_marker).then(pl.lit(FOLDER_MARKER)).otherwise(named if named is not None else None)
    )["meaning"].cast(pl.String)


@cache
def sidecars() -> tuple[Sidecar, ...]:
    """Read sidecars.csv."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return tuple(Sidecar.model_validate(row) for row in csv.DictReader(file))


def _meaning(key: str, keys: pl.Series, known: list[Sidecar]) -> str | None:
    folder = key[: key.rfind("/") + 1]
    for sidecar in known:
        if re.search(sidecar.pattern, key):
            beside = f"(?i)^{re.escape(folder)}{_glob(sidecar.only_beside)}$"
            if not sidecar.only_beside or keys.str.contains(beside).any():
                return sidecar.meaning
    return None


def _pattern_of(name: str) -> str:
    return f"(?i:(?:^|/){_glob(name)}{'' if name.endswith('/') else '$'})"


def _glob(name: str) -> str:
    return "[^/]*".join(map(re.escape, name.split("*")))
