"""Step `<dataset>/tenants`: publish the records of the newest pages as tenants, and quarantine unusable ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from tnt_platform.directory.pages import records_of
from tnt_platform.directory.spec import NEWEST, PAGES, TENANTS, DirectorySpec
from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, Lookups, lookups_of
from tnt_platform.directory.transforms.tenants import Directory, tenants_of
from tnt_platform.errors import NotFound
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
# Columns whose change means that a tenant was renamed, or that it moved.
TITLE_COLUMNS = ("title_en", "title_th", "title_zh")
PLACE_COLUMNS = ("floor", "zone", "unit")


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


def read_directory(spec: DirectorySpec, workspace: Workspace) -> Reading:
    """Read the newest published pages as tenants.

    Raises:
        NotFound: no pages have been published yet.
        ConfigError: a lookup beside the YAML is missing or invalid.
    """
    pages = workspace.store.current(spec.dataset(PAGES))
    if pages is None:
        raise NotFound(
            f"{spec.name}: no pages have been published yet; materialize {spec.name}/{PAGES} first"
        )
    lookups = lookups_of(spec.lookup_files())
    records = records_of(pages, workspace.lake)
    return Reading(tenants_of(records, lookups, timezone=spec.timezone), lookups, pages)


def publish_tenants(
    spec: DirectorySpec, workspace: Workspace, run_id: str, *, accept_withdrawn: bool = False
) -> Published:
    """Publish the tenants of the newest pages; skipped if neither the pages nor the lookups have changed.

    Raises:
        NotFound: no pages have been published yet.
        ConfigError: a lookup beside the YAML is missing or invalid.
        CheckFailed: more tenants would be withdrawn than `max_withdrawn_share` allows.
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
    published = publish_checked(
        workspace,
        base=base,
        dataset=spec.dataset(TENANTS),
        change=PartitionChange(
            partition=NEWEST,
            data=tenants,
            inputs=upstream.ledger(recipe),
            quarantine=_quarantine(reading),
            counts=reading.counts,
            inputs_digest=upstream.inputs_digest,
        ),
        key=TENANT_KEY,
        checks=[
            unique_keys(TENANT_KEY, NEWEST),
            _all_records_accounted_for(reading),
            _not_emptied(spec, before, differences, accepted=accept_withdrawn),
            _mapped(reading),
        ],
        run_id=run_id,
        about={"changes": dict(differences.group_by("change").len().iter_rows())},
    )
    changes = ("opened", "closed", "moved", "renamed")
    facts = {f"tenants_{change}": differences.filter(change=change).height for change in changes}
    return published.with_facts({**facts, "validation_issues": reading.directory.issues.height})


def directory_differences(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """List tenants that opened, closed, moved (floor, zone, unit, or between shop and dining) or were renamed.

    before, after: tenants. Returns unique_id, change (opened | closed | moved | renamed), title, was, now (String),
    sorted by change and unique_id; a tenant that was renamed and also moved has two rows.
    """
    title = pl.coalesce(*TITLE_COLUMNS)
    place = pl.concat_str(pl.col("kind", *PLACE_COLUMNS).fill_null("-"), separator=" / ")
    old = before.select("unique_id", title=title, place=place)
    new = after.select("unique_id", title=title, place=place)
    opened = new.join(old, on="unique_id", how="anti").select(
        "unique_id", "title", change=pl.lit("opened"), was=pl.lit(None, pl.String), now=pl.col("place")
    )
    closed = old.join(new, on="unique_id", how="anti").select(
        "unique_id", "title", change=pl.lit("closed"), was=pl.col("place"), now=pl.lit(None, pl.String)
    )
    both = old.join(new, on="unique_id", suffix="_now")
    moved = both.filter(pl.col("place") != pl.col("place_now")).select(
        "unique_id", title="title_now", change=pl.lit("moved"), was="place", now="place_now"
    )
    renamed = both.filter(pl.col("title") != pl.col("title_now")).select(
        "unique_id", title="title_now", change=pl.lit("renamed"), was="title", now="title_now"
    )
    columns = ["unique_id", "change", "title", "was", "now"]
    parts = [frame.select(columns) for frame in (opened, closed, moved, renamed)]
    return pl.concat(parts).sort("change", "unique_id")


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


def _not_emptied(
    spec: DirectorySpec, before: pl.DataFrame, differences: pl.DataFrame, *, accepted: bool
) -> CheckOutcome:
    """Block a directory that loses a large part at once: a broken API is more likely than so many closures."""
    closed = differences.filter(change="closed")
    share = closed.height / before.height if before.height else 0.0
    description = f"{closed.height} of {before.height} tenants are gone ({share:.0%})"
    passed = share <= spec.max_withdrawn_share or accepted
    if not passed:
        description += (
            f", more than `max_withdrawn_share` ({spec.max_withdrawn_share:.0%}); check the API, and if they really "
            f"closed, run `tnt run {spec.name} --accept-vanished`"
        )
    sample = None if passed else closed.head(PREVIEW_ROWS)
    return CheckOutcome("directory_not_emptied", passed, description, sample)


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
