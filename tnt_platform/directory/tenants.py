"""`<dataset>/tenants`: the records of the newest pages, normalized; what can't be used is in quarantine."""

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
    Place,
    Published,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import Upstream, published_unchanged
from tnt_platform.lake.versions import PartitionChange, RowCounts

TENANT_KEY = ("unique_id",)
# What people want to know of two versions of a directory, and the columns that tell.
RENAMED = ("title_en", "title_th", "title_zh")
PLACED = ("floor", "zone", "unit")


@dataclass(frozen=True)
class Reading:
    """The newest pages, read: what of them is published and where it came from."""

    directory: Directory
    lookups: Lookups
    pages: Snapshot

    @property
    def counts(self) -> RowCounts:
        """Records in = tenants + quarantined + repeated."""
        found = self.directory
        rows_in = found.tenants.height + found.quarantine.height + found.deduplicated
        return RowCounts(
            rows_in=rows_in,
            published=found.tenants.height,
            quarantined=found.quarantine.height,
            deduplicated=found.deduplicated,
        )


def read_lookups(spec: DirectorySpec) -> Lookups:
    """The CSV files beside the dataset's YAML.

    Raises:
        ConfigError: one is missing or contradicts itself.
    """
    return lookups_of(spec.lookup_files())


def read_directory(spec: DirectorySpec, place: Place) -> Reading:
    """Make tenants of the newest published pages.

    Raises:
        NotFound: no pages were published yet.
    """
    pages = place.store.current(spec.dataset(PAGES))
    if pages is None:
        raise NotFound(f"{spec.name}: no pages yet; materialize {spec.name}/{PAGES} first")
    lookups = read_lookups(spec)
    records = records_of(pages, place.lake)
    return Reading(tenants_of(records, lookups, timezone=spec.timezone), lookups, pages)


def publish_tenants(
    spec: DirectorySpec, place: Place, run_id: str, *, accept_withdrawn: bool = False
) -> Published:
    """Publish the tenants of the newest pages, unless the very same were read by the same lookups.

    Raises:
        NotFound: no pages were published yet.
        CheckFailed: more tenants would be withdrawn than `max_withdrawn_share` allows.
    """
    upstream = Upstream.read(place.store, spec.dataset(PAGES), NEWEST)
    base = place.store.current(spec.dataset(TENANTS))
    recipe = _recipe(spec)
    if unchanged := published_unchanged(base, upstream, NEWEST, recipe):
        return unchanged
    reading = read_directory(spec, place)
    tenants, counts = reading.directory.tenants, reading.counts
    change = PartitionChange(
        partition=NEWEST,
        data=tenants,
        inputs=upstream.ledger(recipe),
        quarantine=_quarantine(reading),
        counts=counts,
        inputs_digest=upstream.inputs_digest,
    )
    before = base.scan([NEWEST]).collect() if base is not None else tenants.clear()
    differences = directory_differences(before, tenants)
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(TENANTS),
        change=change,
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
    facts = {
        f"tenants_{what}": differences.filter(change=what).height
        for what in ("opened", "closed", "moved", "renamed")
    }
    issues = reading.directory.issues
    return published.with_facts({**facts, "validation_issues": issues.height})


def directory_differences(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """What opened, closed, moved (to another floor, zone or unit, or between shop and dining) or was renamed.

    before, after: tenants. Returns unique_id, change (opened | closed | moved | renamed), title, was, now (String);
    a tenant that was renamed and moved has a row for each. Sorted by change and unique_id.
    """
    title = pl.coalesce(*RENAMED)
    place = pl.concat_str(pl.col("kind", *PLACED).fill_null("-"), separator=" / ")
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
    """A fingerprint of what decides how records are read: the lookups beside the YAML."""
    digest = hashlib.sha256(spec.timezone.encode())
    files = spec.lookup_files()
    for name in LOOKUP_FILES:
        digest.update(files.get(name, b""))
    return digest.hexdigest()[:16]


def _quarantine(reading: Reading) -> pl.DataFrame:
    """The refused records with the page object that holds them."""
    pages = reading.pages.scan([NEWEST], columns=["page", "object_key"]).collect()
    return (
        reading.directory.quarantine.join(pages, on="page", how="left", maintain_order="left")
        .rename({"object_key": "file_key"})
        .with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
    )


def _all_records_accounted_for(reading: Reading) -> CheckOutcome:
    records = reading.pages.scan([NEWEST]).select(pl.col("records").sum()).collect().item()
    counted = reading.counts.rows_in
    said = f"{counted} records of {records} on {reading.pages.manifest.rows} pages are accounted for"
    return CheckOutcome("every_record_accounted_for", records == counted, said)


def _not_emptied(
    spec: DirectorySpec, before: pl.DataFrame, differences: pl.DataFrame, *, accepted: bool
) -> CheckOutcome:
    """A directory that loses a large part at once is more likely broken than closed."""
    closed = differences.filter(change="closed")
    share = closed.height / before.height if before.height else 0.0
    said = f"{closed.height} of {before.height} tenants are gone ({share:.0%})"
    passed = share <= spec.max_withdrawn_share or accepted
    if not passed:
        said += (
            f", more than `max_withdrawn_share` ({spec.max_withdrawn_share:.0%}); look at the API, and if they did "
            f"close, run `tnt run {spec.name} --accept-vanished`"
        )
    return CheckOutcome("directory_not_emptied", passed, said, None if passed else closed.head(PREVIEW_ROWS))


def _mapped(reading: Reading) -> CheckOutcome:
    unmapped = reading.directory.unmapped.sort("records", descending=True)
    said = (
        "every floor and category is known"
        if unmapped.is_empty()
        else f"{unmapped.height} spellings of floors and categories are not known ({unmapped['records'].sum()} "
        "records); add them to the mapping CSV beside the YAML"
    )
    return CheckOutcome("all_mapped", unmapped.is_empty(), said, unmapped.head(PREVIEW_ROWS), blocking=False)
