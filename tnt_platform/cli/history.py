"""Commands that look at versions and move between them."""

from __future__ import annotations

from datetime import timedelta

import click
import polars as pl

from tnt_platform.cli.tables import console, show_frame, show_rows
from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.version_diff import diff as key_diff
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.settings import Settings


def _store() -> VersionedStore:
    return open_workspace(Settings.from_environment()).store


def _dataset_id(store: VersionedStore, name: str) -> str:
    """`transit` means its results; `transit/shipments` is that step."""
    if store.current(name) is not None:
        return name
    results = f"{name}/results"
    if store.current(results) is not None:
        return results
    raise NotFound(
        f"nothing is published as {name!r}; published: {', '.join(store.datasets()) or 'nothing yet'}"
    )


def _current(store: VersionedStore, name: str) -> Snapshot:
    snapshot = store.current(_dataset_id(store, name))
    assert snapshot is not None, "_dataset_id found it"
    return snapshot


@click.command()
@click.argument("dataset", required=False)
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
def versions(dataset: str | None, limit: int) -> None:
    """List the versions of DATASET (such as transit or transit/shipments), or all datasets."""
    store = _store()
    if dataset is None:
        snapshots = [snapshot for name in store.datasets() if (snapshot := store.current(name))]
        rows = [(s.dataset, s.version, s.manifest.partitions, s.manifest.rows) for s in snapshots]
        show_rows(
            ["dataset", "current version", "partitions", "rows"], rows, numeric=[False, False, True, True]
        )
        return
    name = _dataset_id(store, dataset)
    columns = ["version", "rows", "partitions_changed", "added", "updated", "removed", "tags", "note"]
    show_frame(store.versions(name).head(limit), title=name, columns=columns)


@click.command()
@click.argument("dataset")
@click.option("--version", "version", help="A version id or tag; the current one by default.")
@click.option("--quarantine", is_flag=True, help="Show the refused rows with file, line and reason.")
@click.option("--limit", default=20, show_default=True)
def show(dataset: str, version: str | None, quarantine: bool, limit: int) -> None:
    """Show what one version of DATASET holds: counts, partitions, first rows or the quarantine."""
    store = _store()
    name = _dataset_id(store, dataset)
    snapshot = store.snapshot(name, version) if version else _current(store, name)
    manifest = snapshot.manifest
    console.print(f"{name} {manifest.version_id}, published {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC")
    if manifest.paused_because:
        console.print(f"held after a rollback: {manifest.paused_because}")
    if quarantine:
        show_frame(snapshot.quarantine().head(limit).drop("first_seen_at"))
        return
    columns = ["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered", "changed_by"]
    show_frame(snapshot.partitions.sort("partition", descending=True).head(limit), columns=columns)
    with pl.Config(tbl_cols=12, tbl_width_chars=console.width, fmt_str_lengths=40):
        click.echo(str(snapshot.scan().head(5).collect()))


@click.command()
@click.argument("dataset")
@click.argument("before")
@click.argument("after", required=False)
@click.option("--limit", default=50, show_default=True)
def diff(dataset: str, before: str, after: str | None, limit: int) -> None:
    """Show by key what changed in DATASET from version BEFORE to AFTER (the current one by default)."""
    store = _store()
    name = _dataset_id(store, dataset)
    newer = store.snapshot(name, after) if after else _current(store, name)
    changes = key_diff(store.snapshot(name, before), newer)
    counts = dict(changes.group_by("change").len().iter_rows())
    console.print(", ".join(f"{counts.get(kind, 0):,} {kind}" for kind in ("added", "updated", "removed")))
    show_frame(changes.head(limit))
    if changes.height > limit:
        console.print(f"... and {changes.height - limit:,} more (--limit)")


@click.command()
@click.argument("dataset")
@click.argument("to")
@click.option("--reason", required=True, help="Why; the version and the sensor carry it.")
def rollback(dataset: str, to: str, reason: str) -> None:
    """Make DATASET what it was in version TO (an id or a tag). Nothing is copied, nothing is lost.

    The sensor leaves the dataset alone until somebody materializes a date of it by hand.
    """
    store = _store()
    snapshot = store.rollback(_dataset_id(store, dataset), to, reason=reason)
    console.print(
        f"{snapshot.dataset} is now {snapshot.version}, with the content of {snapshot.manifest.rolled_back_to}"
    )


@click.command()
@click.argument("dataset")
@click.argument("version")
@click.argument("name")
def tag(dataset: str, version: str, name: str) -> None:
    """Give VERSION of DATASET a NAME; a tagged version never expires."""
    store = _store()
    store.tag(_dataset_id(store, dataset), version, name)
    console.print(f"{name} -> {version}")


@click.command()
@click.argument("dataset", required=False)
def verify(dataset: str | None) -> None:
    """Read every live file of DATASET (or of all) again: hashes, row counts, conservation."""
    store = _store()
    names = [_dataset_id(store, dataset)] if dataset else store.datasets()
    problems = 0
    for name in names:
        with console.status(f"reading {name}"):
            found = store.verify(_current(store, name))
        problems += len(found)
        console.print(f"{name}: {'in order' if not found else f'{len(found)} problems'}")
        for problem in found:
            console.print(f"  {problem}")
    if problems:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("dataset", required=False)
@click.option("--keep", default=20, show_default=True, help="Versions to keep whatever their age.")
@click.option("--older-than-days", default=90, show_default=True)
@click.option("--delete", is_flag=True, help="Delete; without it, only say what would go.")
def expire(dataset: str | None, keep: int, older_than_days: int, delete: bool) -> None:
    """Drop old versions of DATASET (or of all); current and tagged ones and all they need stay."""
    store = _store()
    names = [_dataset_id(store, dataset)] if dataset else store.datasets()
    for name in names:
        gone = store.expire(name, keep=keep, older_than=timedelta(days=older_than_days), dry_run=not delete)
        said = "deleted" if delete else "would delete"
        console.print(
            f"{name}: {said} {len(gone.versions)} versions, {gone.files} files, {gone.size_bytes:,} bytes"
        )
