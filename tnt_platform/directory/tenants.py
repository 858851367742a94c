"""Step `<dataset>/tenants`: publish the records of the newest pages as tenants, and quarantine unusable ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from tnt_platform.directory.pages import records_of
from tnt_platform.directory.plausibility import baseline_of, directory_differences, plausible
from tnt_platform.directory.spec import NEWEST, PAGES, TENANTS, DirectorySpec
from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, Lookups, lookups_of
from tnt_platform.directory.transforms.tenants import Directory, tenants_of
from tnt_platform.errors import NotFound
from tnt_platform.lake.guard_rails import NO_OVERRIDES, GuardRails, Overrides
from tnt_platform.lake.publishing import (
    PREVIEW_ROWS,
    CheckOutcome,
    Published,
    Workspace,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import Upstream, published_unchanged
from tnt_platform.lake.versions import PartitionChange, RowCounts

TENANT_KEY = ("unique_id",)


@dataclass(frozen=True)
class Reading:
    """The tenants read from the newest pages, with the lookups and the version of the pages they come from."""

    directory: Directory
    lookups: Lookups
    pages: Snapshot

    @property
    def counts(self) -> RowCounts:
        """Count records in = tenants + quarantined + deduplicated."""
        published, quarantined = self.directory.tenants.height, self.directory.quarantine.height
        deduplicated = self.directory.deduplicated
        rows_in = published + quarantined + deduplicated
        return RowCounts(
            rows_in=rows_in, published=published, quarantined=quarantined, deduplicated=deduplicated
        )


def read_directory(spec: DirectorySpec, workspace: Workspace, *, version: str | None = None) -> Reading:
    """Read published pages as tenants: the newest, or those of a `version`.

    Raises:
        NotFound: no pages have been published yet, or the version has expired.
        ConfigError: a lookup beside the YAML is missing or invalid.
    """
    dataset = spec.dataset(PAGES)
    pages = workspace.store.snapshot(dataset, version) if version else workspace.store.current(dataset)
    if pages is None:
        raise NotFound(
            f"{spec.name}: no pages have been published yet; materialize {spec.name}/{PAGES} first"
        )
    lookups = lookups_of(spec.lookup_files())
    records = records_of(pages, workspace.lake)
    return Reading(tenants_of(records, lookups, timezone=spec.timezone), lookups, pages)


def publish_tenants(
    spec: DirectorySpec, workspace: Workspace, run_id: str, *, overrides: Overrides = NO_OVERRIDES
) -> Published:
    """Publish the tenants of the newest pages; skipped if neither the pages nor the lookups have changed.

    Raises:
        NotFound: no pages have been published yet.
        ConfigError: a lookup beside the YAML is missing or invalid.
        CheckFailed: more tenants would be withdrawn, moved, renamed, emptied or rejected than the YAML allows.
    """
    upstream = Upstream.read(workspace.store, spec.dataset(PAGES), NEWEST)
    base = workspace.store.current(spec.dataset(TENANTS))
    recipe = _recipe(spec)
    if unchanged := published_unchanged(base, upstream, NEWEST, recipe):
        return unchanged
    reading = read_directory(spec, workspace)
    tenants = reading.directory.tenants
    before = base.scan([NEWEST]).collect() if base is not None else tenants.clear()
    differences = directory_differences(before, tenants)
    baseline = baseline_of(
        base, workspace.clock(), lambda version: workspace.store.snapshot(spec.dataset(TENANTS), version)
    )
    rails = GuardRails.of(spec, overrides)
    published = publish_checked(
        workspace,
        base=base,
        dataset=spec.dataset(TENANTS),
        change=_change(reading, upstream, recipe),
        key=TENANT_KEY,
        checks=[
            unique_keys(TENANT_KEY, NEWEST),
            _all_records_accounted_for(reading),
            rails.rejected(reading.counts.rows_in, _quarantine(reading)),
            *plausible(spec, baseline, before, tenants, differences, overrides),
            _mapped(reading),
        ],
        run_id=run_id,
        about={
            "changes": dict(differences.group_by("change").len().iter_rows()),
            **(baseline.about if baseline else {}),
            **overrides.about,
        },
    )
    return published.with_facts(_facts(reading, differences))


def _change(reading: Reading, upstream: Upstream, recipe: str) -> PartitionChange:
    return PartitionChange(
        partition=NEWEST,
        data=reading.directory.tenants,
        inputs=upstream.ledger(recipe),
        quarantine=_quarantine(reading),
        counts=reading.counts,
        inputs_digest=upstream.inputs_digest,
    )


def _facts(reading: Reading, differences: pl.DataFrame) -> dict[str, int]:
    changes = ("opened", "closed", "moved", "renamed")
    facts = {f"tenants_{change}": differences.filter(change=change).height for change in changes}
    return {**facts, "validation_issues": reading.directory.issues.height}


def _recipe(spec: DirectorySpec) -> str:
    """Compute a fingerprint of what decides how records are read: the time zone and the lookups."""
    digest = hashlib.sha256(spec.timezone.encode())
    files = spec.lookup_files()
    for name in LOOKUP_FILES:
        digest.update(files.get(name, b""))
    return digest.hexdigest()[:16]


def _quarantine(reading: Reading) -> pl.DataFrame:
    """Add to the rejected records the key of the page object that holds them."""
    pages = reading.pages.scan([NEWEST], columns=["page", "object_key"]).collect()
    return (
        reading.directory.quarantine.join(pages, on="page", how="left", maintain_order="left")
        .rename({"object_key": "file_key"})
        .with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
    )


def _all_records_accounted_for(reading: Reading) -> CheckOutcome:
    records = reading.pages.scan([NEWEST]).select(pl.col("records").sum()).collect().item()
    counted = reading.counts.rows_in
    description = f"{counted} of {records} records on {reading.pages.manifest.rows} pages are accounted for"
    return CheckOutcome("every_record_accounted_for", records == counted, description)


def _mapped(reading: Reading) -> CheckOutcome:
    unmapped = reading.directory.unmapped.sort("records", descending=True)
    description = (
        "every floor and category has a code"
        if unmapped.is_empty()
        else f"{unmapped.height} spellings of floors and categories have no code ({unmapped['records'].sum()} "
        "records); add them to the mapping CSVs beside the YAML"
    )
    sample = unmapped.head(PREVIEW_ROWS)
    return CheckOutcome("all_mapped", unmapped.is_empty(), description, sample, blocking=False)
