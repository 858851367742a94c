"""Commands that show, compare, restore, verify and expire versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta

import click
import polars as pl

from tnt_platform.cli.tables import Output, printing
from tnt_platform.errors import NotFound, PermanentError
from tnt_platform.lake.blocked import BlockedPublish
from tnt_platform.lake.publishing import open_workspace
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.version_diff import diff as key_diff
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.settings import Settings
from tnt_platform.specs.fields import meant

ROWS_SHOWN = 5


def _store() -> VersionedStore:
    return open_workspace(Settings.from_environment()).store


def _dataset_id(store: VersionedStore, name: str) -> str:
    """Resolve a name: `transit/shipments` is that step, `transit` alone means `transit/results`."""
    for dataset in (name, f"{name}/results"):
        if store.current(dataset) is not None:
            return dataset
    known = store.datasets()
    names = {*known, *(dataset.partition("/")[0] for dataset in known)}
    raise NotFound(f"{name!r} is not published; {meant(name, names, _what_is_published(known))}")


def _what_is_published(known: Sequence[str]) -> str:
    if not known:
        return "nothing is published yet: `tnt scan` finds files to publish"
    return f"`tnt versions` lists the {len(known)} published datasets"


def _current(store: VersionedStore, name: str) -> Snapshot:
    snapshot = store.current(_dataset_id(store, name))
    assert snapshot is not None, "_dataset_id checked that it exists"
    return snapshot


def _snapshot(store: VersionedStore, name: str, version: str | None) -> Snapshot:
    """Open a version, also a draft of a dataset that has no published version yet."""
    if version is None:
        return _current(store, name)
    try:
        return store.snapshot(name, version)
    except NotFound:
        return store.snapshot(_dataset_id(store, name), version)


@click.command()
@printing
@click.argument("dataset", required=False)
@click.option("--limit", default=20, show_default=True, help="Number of versions, latest first.")
def versions(out: Output, dataset: str | None, limit: int) -> None:
    """List the versions of DATASET (such as transit or transit/shipments), or all datasets."""
    store = _store()
    if dataset is None:
        opened, damaged = _all_current(store)
        snapshots = list(opened.values())
        rows = [(s.dataset, s.version, s.manifest.partitions, s.manifest.rows) for s in snapshots]
        schema = {
            "dataset": pl.String(),
            "current version": pl.String(),
            "partitions": pl.Int64(),
            "rows": pl.Int64(),
        }
        found = pl.DataFrame(rows, schema=schema, orient="row")
        out.show(found)
        out.put("datasets", found.rename({"current version": "version"}).to_dicts())
        _show_blocked(out, store.blocked())
        _fail_with(out, damaged)
        return
    blocked = store.blocked(dataset)
    # A dataset whose first publish was blocked has a draft to look at, and no version yet.
    name = dataset if blocked and store.current(dataset) is None else _dataset_id(store, dataset)
    listed = store.versions(name).head(limit)
    out.put("dataset", name)
    out.put("versions", listed.to_dicts())
    columns = ["version", "rows", "partitions_changed", "added", "updated", "removed", "tags", "note"]
    out.show(listed.select(columns).rename({"partitions_changed": "partitions"}), title=name)
    _show_blocked(out, blocked)


def _all_current(store: VersionedStore) -> tuple[dict[str, Snapshot], dict[str, str]]:
    """Open the current version of every dataset; return why that fails for those that are damaged."""
    opened: dict[str, Snapshot] = {}
    damaged: dict[str, str] = {}
    for name in store.datasets():
        try:
            if (snapshot := store.current(name)) is not None:
                opened[name] = snapshot
        except PermanentError as error:
            damaged[name] = str(error)
    return opened, damaged


def _fail_with(out: Output, damaged: Mapping[str, str]) -> None:
    """Print why datasets could not be opened, and exit with 1 if there are any."""
    out.put("damaged", damaged)
    for name, reason in damaged.items():
        out.warn(f"{name}: {reason}")
    if damaged:
        raise click.exceptions.Exit(1)


def _show_blocked(out: Output, blocked: Sequence[BlockedPublish]) -> None:
    out.put("blocked", [{**asdict(one), "text": one.text} for one in blocked])
    for one in blocked:
        out.say(f"{one.at:%Y-%m-%d %H:%M:%S} UTC: {one.text}", style="red")


@click.command()
@printing
@click.argument("dataset")
@click.option("--version", "version", help="Version id or tag (default: the current one).")
@click.option("--quarantine", is_flag=True, help="Show the rejected rows with file, line and reason.")
@click.option("--limit", default=20, show_default=True)
def show(out: Output, dataset: str, version: str | None, quarantine: bool, limit: int) -> None:
    """Show the partitions and first rows of a version of DATASET, or its quarantine."""
    store = _store()
    snapshot = _snapshot(store, dataset, version)
    manifest = snapshot.manifest
    published = version is None or store.is_published(snapshot)
    for key, value in (
        ("dataset", snapshot.dataset),
        ("version", snapshot.version),
        ("created_at", manifest.created_at),
        ("published", published),
        ("paused_because", manifest.paused_because),
    ):
        out.put(key, value)
    made = f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    state = f"published {made}" if published else f"a draft of {made} that was NOT published"
    out.say(f"{snapshot.dataset} {manifest.version_id}, {state}")
    if manifest.paused_because:
        out.say(f"paused after a rollback: {manifest.paused_because}")
    if quarantine:
        rejected = snapshot.quarantine()
        out.put("quarantined", rejected.height)
        out.table("quarantine", rejected.head(limit).drop("first_seen_at"))
        if rejected.height > limit:
            out.say(f"... and {rejected.height - limit:,} more rejected rows (--limit)")
        return
    columns = ["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered", "changed_by"]
    partitions = snapshot.partitions.select(columns).sort("partition", descending=True).head(limit)
    out.table("partitions", partitions)
    out.table("rows", snapshot.scan().head(ROWS_SHOWN).collect(), title="first rows")


@click.command()
@printing
@click.argument("dataset")
@click.argument("before")
@click.argument("after", required=False)
@click.option("--limit", default=50, show_default=True)
def diff(out: Output, dataset: str, before: str, after: str | None, limit: int) -> None:
    """Show the rows of DATASET that differ between versions BEFORE and AFTER (default: the current one)."""
    store = _store()
    newer = _snapshot(store, dataset, after)
    changes = key_diff(store.snapshot(newer.dataset, before), newer)
    found = dict(changes.group_by("change").len().iter_rows())
    counts = {kind: found.get(kind, 0) for kind in ("added", "updated", "removed")}
    out.put("dataset", newer.dataset)
    out.put("counts", counts)
    out.say(", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    out.table("rows", changes.head(limit))
    if changes.height > limit:
        out.say(f"... and {changes.height - limit:,} more (--limit)")


@click.command()
@printing
@click.argument("dataset")
@click.argument("to")
@click.option("--reason", required=True, help="Reason, shown with the version and by the sensor.")
def rollback(out: Output, dataset: str, to: str, reason: str) -> None:
    """Publish the content of version TO (an id or a tag) of DATASET again; no file is copied or deleted.

    The sensor then pauses the dataset until somebody materializes one of its dates.
    """
    store = _store()
    snapshot = store.rollback(_dataset_id(store, dataset), to, reason=reason)
    restored = snapshot.manifest.rolled_back_to
    out.put("dataset", snapshot.dataset)
    out.put("version", snapshot.version)
    out.put("rolled_back_to", restored)
    out.say(f"{snapshot.dataset} is now {snapshot.version}, with the content of {restored}")


@click.command()
@printing
@click.argument("dataset")
@click.argument("version")
@click.argument("name")
def tag(out: Output, dataset: str, version: str, name: str) -> None:
    """Give VERSION of DATASET a NAME; a tagged version never expires."""
    store = _store()
    tagged = _dataset_id(store, dataset)
    store.tag(tagged, version, name)
    out.put("dataset", tagged)
    out.put("tags", store.tags(tagged))
    out.say(f"{name} -> {version}")


@click.command()
@printing
@click.argument("dataset", required=False)
def verify(out: Output, dataset: str | None) -> None:
    """Verify the hashes, row counts and conservation of all published files of DATASET (default: all datasets)."""
    store = _store()
    opened, damaged = ({dataset: _current(store, dataset)}, {}) if dataset else _all_current(store)
    found: dict[str, list[str]] = {}
    for name, snapshot in opened.items():
        with out.console.status(f"verifying {name}"):
            found[name] = store.verify(snapshot)
        out.say(f"{name}: {f'{len(found[name])} problems' if found[name] else 'OK'}")
        for problem in found[name]:
            out.warn(f"  {problem}")
    out.put("problems", found)
    _fail_with(out, damaged)
    if any(found.values()):
        raise click.exceptions.Exit(1)


@click.command()
@printing
@click.argument("dataset", required=False)
@click.option("--keep", default=20, show_default=True, help="Number of versions to keep regardless of age.")
@click.option("--older-than-days", default=90, show_default=True)
@click.option("--delete", is_flag=True, help="Delete them; the default is a dry run.")
def expire(out: Output, dataset: str | None, keep: int, older_than_days: int, delete: bool) -> None:
    """Delete old versions of DATASET (default: of all datasets), except current and tagged ones."""
    store = _store()
    names = [_dataset_id(store, dataset)] if dataset else store.datasets()
    rows, damaged = [], {}
    for name in names:
        try:
            expired = store.expire(
                name, keep=keep, older_than=timedelta(days=older_than_days), dry_run=not delete
            )
        except PermanentError as error:
            damaged[name] = str(error)
            continue
        rows.append({"dataset": name, **asdict(expired)})
        out.say(
            f"{name}: {'deleted' if delete else 'would delete'} {len(expired.versions)} versions, "
            f"{expired.files} files, {expired.size_bytes:,} bytes"
        )
    out.put("deleted", delete)
    out.put("expired", rows)
    _fail_with(out, damaged)
