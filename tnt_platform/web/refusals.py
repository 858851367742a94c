"""Why rows were refused, and some of them: the newest partitions tell, whatever a dataset's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.rows import reading

PARTITIONS_READ = 12
_REASONS = 5
_EXAMPLES = 2
_SHOWN = ("file_key", "line_no", "raw", "reason")


@dataclass(frozen=True)
class Refused:
    """Reasons of one version, most rows first, with examples; `partitions` of `of_partitions` were read."""

    reasons: list[tuple[str, int, list[dict[str, Any]]]]
    partitions: int
    of_partitions: int


class Refusals:
    """What was read last of every dataset."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._held: dict[str, tuple[str, Refused]] = {}

    def of(self, snapshot: Snapshot) -> Refused:
        """The reasons of a version's refused rows.

        Raises:
            Problem: 410, the version expired meanwhile.
        """
        version, held = self._held.get(snapshot.dataset, ("", None))
        if held is None or version != snapshot.version:
            held = reading(self._catalog, snapshot, lambda: _refused(snapshot))
            self._held[snapshot.dataset] = (snapshot.version, held)
        return held


def _refused(snapshot: Snapshot) -> Refused:
    refusing = snapshot.partitions.filter(pl.col("quarantined") > 0)["partition"].sort(descending=True)
    newest = refusing.head(PARTITIONS_READ).to_list()
    rows = snapshot.quarantine(newest).sort("partition", descending=True, maintain_order=True)
    counts = rows.group_by("reason_code").len().sort("len", "reason_code", descending=[True, False])
    reasons = [
        (code or "(none)", count, _examples(rows, code)) for code, count in counts.head(_REASONS).rows()
    ]
    return Refused(reasons, len(newest), len(refusing))


def _examples(rows: pl.DataFrame, code: str | None) -> list[dict[str, Any]]:
    those = rows.filter(pl.col("reason_code").eq_missing(code))
    return those.head(_EXAMPLES).select(_SHOWN).to_dicts()
