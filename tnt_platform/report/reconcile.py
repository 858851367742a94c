"""Find the dates whose report is behind the files in the bucket."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tnt_platform.discovery.comparison import PartitionDifference, Reconciliation, differing_partitions
from tnt_platform.discovery.listing import list_wanted
from tnt_platform.discovery.unread import unread
from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.report.report import digests_wanted
from tnt_platform.report.spec import FILES, REPORT, ReportSpec


def survey_reports(
    spec: ReportSpec, workspace: Workspace, *, since: str | None = None, named: Sequence[str] = ()
) -> Reconciliation:
    """Compare the bucket with the published files, and those with the reports made from them.

    With `since`, only dates from then on are listed, and with `named` those; without either, everything is.
    A date is also behind when a day that it is compared with changed. Deleted files don't cause a new report: raw data
    may expire.
    """
    files = workspace.store.current(spec.dataset(FILES))
    reports = workspace.store.current(spec.dataset(REPORT))
    everything, _ = list_wanted(workspace.raw, spec.source, since, named)
    left_out = unread(everything, spec.start_date, workspace.clock().date())
    listing = everything.files.filter(pl.col("partition").is_not_null() & pl.col("problem").is_null())
    dates_seen = listing["partition"].n_unique()
    for step in (files, reports):
        if step is not None and step.manifest.paused_because:
            return Reconciliation([], listing.height, dates_seen, step.manifest.paused_because, left_out)

    def ledgers(partitions: Sequence[str]) -> pl.DataFrame:
        return files.all_inputs(partitions) if files else pl.DataFrame()

    differing = differing_partitions(listing, files.partitions if files else None, ledgers)
    behind = [PartitionDifference(date, digest) for date, digest in _behind(spec, files, reports)]
    differences = {difference.partition: difference for difference in (*behind, *differing)}
    found = [differences[date] for date in sorted(differences)]
    return Reconciliation(found, listing.height, dates_seen, unread=left_out)


def _behind(spec: ReportSpec, files: Snapshot | None, reports: Snapshot | None) -> list[tuple[str, str]]:
    """Return the dates, with their digest, whose report is not made from the published files."""
    if files is None:
        return []
    published = dict(reports.partitions.select("partition", "inputs_digest").iter_rows()) if reports else {}
    wanted = digests_wanted(spec, files.partitions)
    return [(date, digest) for date, digest in wanted.items() if published.get(date) != digest]
