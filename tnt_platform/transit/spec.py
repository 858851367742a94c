"""What a transit dataset is, once its YAML has been read: plain frozen values, no Dagster."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tnt_platform.discovery.raw_source import OnDelete, OnOverwrite, RawSource
from tnt_platform.readers.column import Column
from tnt_platform.readers.delimited import DelimitedLayout
from tnt_platform.services.http import HttpLimits
from tnt_platform.transit.transforms.transit import PassRule

FILES = "shipper_files"
SHIPMENTS = "shipments"
ANSWERS = "answers"
ENRICHED = "enriched_shipments"
RESULTS = "results"
SUMMARY = "daily_summary"

# The longest promise any carrier publishes is well below this; a larger number is a wrong column.
MAX_TRANSIT_DAYS = 365


@dataclass(frozen=True)
class FileLayout:
    """Files whose name matches `files` (a glob on the last part of the key) have this layout."""

    files: str
    layout: DelimitedLayout
    columns: tuple[Column, ...]

    def fits(self, key: str) -> bool:
        """Whether `key` is one of these files; the suffix of a compression is not part of the name."""
        name = key.rsplit("/", 1)[-1].lower()
        for suffix in (".gz", ".zip", ".bz2", ".xz"):
            name = name.removesuffix(suffix)
        return fnmatch.fnmatchcase(name, self.files.lower())


@dataclass(frozen=True)
class ShipperReference:
    """The CSV that holds package and consignee fields of each shipper."""

    key: str
    id_column: str = "shipper_id"


@dataclass(frozen=True)
class RateApi:
    """How a shipment is asked for. `url` and `headers` may hold `${VARIABLES}`, resolved at run time."""

    url: str
    template: Path
    headers: Mapping[str, str]
    answer: str
    limits: HttpLimits
    min_coverage: float = 0.95
    reference: ShipperReference | None = None


@dataclass(frozen=True)
class Sample:
    """Ask for `rows` cases of each file, the same ones for the same `seed`."""

    rows: int
    seed: int


class TransitSource(RawSource):
    """Where shipper files arrive, and what an overwritten or deleted one means."""

    on_overwrite: Annotated[
        OnOverwrite,
        Field(
            description="`latest` reads an overwritten file again; `reject` keeps the rows of its first content."
        ),
    ] = "latest"
    on_delete: Annotated[
        OnDelete,
        Field(description="`keep` leaves the rows of a file that was deleted; `remove` withdraws them."),
    ] = "keep"


@dataclass(frozen=True)
class TransitSpec:
    """One transit dataset. With `api`, actual days are asked for; without, both dates are columns."""

    name: str
    source: TransitSource
    layouts: tuple[FileLayout, ...]
    identity: tuple[str, ...]
    passes_when: PassRule
    summary_by: tuple[str, ...]
    start_date: date
    api: RateApi | None = None
    sample: Sample | None = None
    same_file_again: str = "read"
    results_table: str | None = None
    ttl_days: int = 90
    payloads_in_table: bool = False
    max_file_bytes: int = 512 << 20
    parse_recipe: str = field(init=False)

    def __post_init__(self) -> None:
        """Fingerprint what decides how a file is read, so that a change of YAML re-reads it."""
        read_by = [
            (
                layout.files,
                asdict(layout.layout),
                [column.model_dump(mode="json") for column in layout.columns],
            )
            for layout in self.layouts
        ]
        text = json.dumps([read_by, self.source.whole_key.pattern], sort_keys=True, default=_in_one_order)
        object.__setattr__(self, "parse_recipe", hashlib.sha256(text.encode()).hexdigest()[:16])

    def dataset(self, step: str) -> str:
        """The id of a step's published dataset, `<dataset>/<step>`."""
        return f"{self.name}/{step}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The published steps in order; the sensor compares the bucket with the last one."""
        enriched = (ENRICHED,) if self.api else ()
        return (FILES, SHIPMENTS, *enriched, RESULTS, SUMMARY)

    def layout_of(self, key: str) -> FileLayout | None:
        """The layout of a file, or None when no glob fits its name."""
        return next((layout for layout in self.layouts if layout.fits(key)), None)


def _in_one_order(value: object) -> object:
    """A set as JSON. Its own order differs from process to process: with it every run would read every file again."""
    return sorted(map(repr, value)) if isinstance(value, frozenset) else str(value)
