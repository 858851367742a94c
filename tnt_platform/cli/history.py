"""Commands that show, compare, restore, verify and expire versions."""

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
    """Resolve a name: `transit/shipments` is that step, `transit` alone means `transit/results`."""
    if store.current(name) is not None:
        return name
    results = f"{name}/results"
    if store.current(results) is not None:
        return results
    raise NotFound(f"{name!r} is not published; published: {', '.join(store.datasets()) or 'nothing yet'}")


def _current(store: VersionedStore, name: str) -> Snapshot:
    snapshot = store.current(_dataset_id(store, name))
    assert snapshot is not None, "_dataset_id checked that it exists"
    return snapshot


@click.command()
@click.argument("dataset", required=False)
@click.option("--limit", default=20, show_default=True, help="Number of versions, latest first.")
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
@click.option("--version", "version", help="Version id or tag (default: the current one).")
@click.option("--quarantine", is_flag=True, help="Show the rejected rows with file, line and reason.")
@click.option("--limit", default=20, show_default=True)
def show(dataset: str, version: str | None, quarantine: bool, limit: int) -> None:
    """Show the partitions and first rows of a version of DATASET, or its quarantine."""
    store = _store()
    name = _dataset_id(store, dataset)
    snapshot = store.snapshot(name, version) if version else _current(store, name)
    manifest = snapshot.manifest
    console.print(f"{name} {manifest.version_id}, published {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC")
    if manifest.paused_because:
        console.print(f"paused after a rollback: {manifest.paused_because}")
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
    """Show the rows of DATASET that differ between versions BEFORE and AFTER (default: the current one)."""
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
@click.option("--reason", required=True, help="Reason, shown with the version and by the sensor.")
def rollback(dataset: str, to: str, reason: str) -> None:
    """Publish the content of version TO (an id or a tag) of DATASET again; no file is copied or deleted.

    The sensor then pauses the dataset until somebody materializes one of its dates.
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
    """Verify the hashes, row counts and conservation of all published files of DATASET (default: all datasets)."""
    store = _store()
    names = [_dataset_id(store, dataset)] if dataset else store.datasets()
    failed = False
    for name in names:
        with console.status(f"verifying {name}"):
            problems = store.verify(_current(store, name))
        failed |= bool(problems)
        console.print(f"{name}: {f'{len(problems)} problems' if problems else 'OK'}")
        for problem in problems:
            console.print(f"  {problem}")
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("dataset", required=False)
@click.option("--keep", default=20, show_default=True, help="Number of versions to keep regardless of age.")
@click.option("--older-than-days", default=90, show_default=True)
@click.option("--delete", is_flag=True, help="Delete them; the default is a dry run.")
def expire(dataset: str | None, keep: int, older_than_days: int, delete: bool) -> None:
    """Delete old versions of DATASET (default: of all datasets), except current and tagged ones."""
    store = _store()
    names = [_dataset_id(store, dataset)] if dataset else store.datasets()
    for name in names:
        expired = store.expire(
            name, keep=keep, older_than=timedelta(days=older_than_days), dry_run=not delete
        )
        console.print(
            f"{name}: {'deleted' if delete else 'would delete'} {len(expired.versions)} versions, "
            f"{expired.files} files, {expired.size_bytes:,} bytes"
        )
