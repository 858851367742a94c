"""A capture, read: its items mapped to records, or why it was refused."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.lake.versions import RowCounts
from tnt_platform.readers.served_page import first_text
from tnt_platform.records.readers.items import read_items
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.records.transforms.records import REFUSED, Mapped, map_items

_RAW_CHARS = 2_000


@dataclass(frozen=True)
class Reading:
    """What one capture holds: `items` counts what came in, an answer that can't be read at all as one."""

    items: int
    mapped: Mapped

    @property
    def accepted(self) -> bool:
        """Whether the capture was taken; otherwise it was refused whole."""
        return self.mapped.refused.is_empty()

    @property
    def counts(self) -> RowCounts:
        """Items in = records + refused + repeated."""
        mapped = self.mapped
        return RowCounts(
            rows_in=self.items,
            published=mapped.records.height,
            quarantined=mapped.refused.height,
            deduplicated=mapped.deduplicated,
        )


def read_capture(spec: RecordsSpec, body: bytes) -> Reading:
    """Pure: the bytes of a capture -> records or refusals; nothing in them makes this raise."""
    try:
        items = read_items(body, spec.items, spec.count)
    except InvalidInput as fault:
        return refused_whole(spec, fault, first_text(body)[:_RAW_CHARS])
    return Reading(len(items), map_items(items, spec, spec.name))


def refused_whole(spec: RecordsSpec, fault: InvalidInput, raw: str) -> Reading:
    """A capture of which no item can be told apart: one row in, one refused."""
    row = (0, raw, fault.reason_code, str(fault))
    refused = pl.DataFrame([row], schema=dict(REFUSED), orient="row")
    return Reading(1, Mapped(pl.DataFrame(schema=spec.schema_of_records), refused))
