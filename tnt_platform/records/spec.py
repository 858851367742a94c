"""What a dataset of records is, as its YAML says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from tnt_platform.records.readers.items import ItemsLayout
from tnt_platform.records.transforms.records import RecordMapping

CAPTURE, RECORDS, SUMMARY = "capture", "records", "summary"
STEPS = (CAPTURE, RECORDS, SUMMARY)
RECORD_KEY = ("id",)
# Partitions of the records without rows: the captures of a day that were curated, and what was refused of them.
CAPTURED = "captured="
# The one partition of `<dataset>/summary`.
WHOLE = "whole"


@dataclass(frozen=True)
class RecordsSource:
    """The API: its address (a `${VARIABLE}` is resolved when a run starts) and the headers it wants."""

    url: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    max_size_bytes: int = 100_000_000
    timeout_s: float = 60.0


@dataclass(frozen=True)
class RecordsSpec:
    """One dataset of records; its name is the source's.

    `queue` and `table` are `${VARIABLES}`: a queue that is told of each new capture, a DynamoDB table that live readers
    look into; both are left out when they resolve to nothing.
    """

    name: str
    source: RecordsSource
    layout: ItemsLayout
    mapping: RecordMapping
    queue: str = "${TNT_CAPTURE_QUEUE_URL:-}"
    table: str = ""

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the records are the dataset itself."""
        return self.name if step == RECORDS else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """A fingerprint of everything in the YAML that decides what records a capture gives."""
        return hashlib.sha256(repr((self.layout, self.mapping)).encode()).hexdigest()[:16]
