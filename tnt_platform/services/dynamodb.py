"""Upsert results into DynamoDB for live dashboards, writing only what changed.

Not boto3's batch_writer: it resends unprocessed items without limit or backoff and does not report them, so
created, updated and unchanged rows could not be counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from typing import Any, TypeAlias

import polars as pl
import tenacity

from tnt_platform.errors import PermanentError, Unavailable
from tnt_platform.services.aws import aws_client, response_field, translated_aws_errors
from tnt_platform.services.dynamodb_items import (
    Item,
    ItemShape,
    Rows,
    Wire,
    item_of_row,
    key_identity,
    refuse_duplicate_keys,
)
from tnt_platform.services.dynamodb_schema import ensure_table

Puts: TypeAlias = list[dict[str, Any]]

KEYS_PER_READ = 100  # the most BatchGetItem accepts
_PUTS_PER_WRITE = 25  # the most BatchWriteItem accepts


def dynamodb_client(options: Mapping[str, str] | None = None, *, max_connections: int = 16) -> Any:
    """Build the client that `ResultsTable` uses (see `aws_client` for the options and errors)."""
    return aws_client("dynamodb", options, read_timeout_s=15.0, attempts=6, max_connections=max_connections)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class UpsertCounts:
    """How many rows were: created + updated + unchanged + unprocessed + refused = distinct rows in.

    `unprocessed` and `refused` are 0 in every value `upsert` returns; otherwise it raises. `write_units` and
    `read_units` are request units by DynamoDB's published rules (indexes not counted), for the cost shown.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unprocessed: int = 0
    refused: int = 0
    payloads_omitted: int = 0
    write_units: int = 0
    read_units: int = 0

    @property
    def rows(self) -> int:
        return self.created + self.updated + self.unchanged + self.unprocessed + self.refused

    def __add__(self, other: UpsertCounts) -> UpsertCounts:
        return UpsertCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )


@dataclass(frozen=True)
class _Stored:
    """The items of one batch already stored: fingerprints of live items by key identity."""

    fingerprints: dict[str, str] = field(default_factory=dict)
    unread: int = 0


class _Unfinished(Exception):
    """The service processed only part of a batch."""


class ResultsTable:
    """One DynamoDB table of results, keyed by one or two attributes, whose rows expire.

    `attempts` and `wait_max_s` bound how long keys and items that the service left unprocessed are retried;
    throttling and failures of whole calls are retried by the client itself.
    """

    def __init__(
        self,
        table_name: str,
        client: Any,
        *,
        key: Sequence[str],
        ttl_attribute: str = "ttl",
        fingerprint_attribute: str = "fingerprint",
        threads: int = 4,
        attempts: int = 8,
        wait_max_s: float = 5.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.table_name = table_name
        self._client = client
        self._shape = ItemShape(tuple(key), ttl_attribute, fingerprint_attribute)
        self._threads = threads
        self._attempts = attempts
        self._wait_max_s = wait_max_s
        self._clock = clock

    def upsert(
        self,
        rows: pl.DataFrame | Iterable[Mapping[str, Any]],
        *,
        expires_at: datetime | None,
        droppable: Sequence[str] = (),
        compare: bool = True,
    ) -> UpsertCounts:
        """Insert or update `rows`, writing only those that are new or whose content differs.

        A row's content is all its columns. Expiry is not content: an unchanged row keeps its expiry, and
        upserting the same rows again writes nothing, whatever `expires_at` is. An item past its expiry counts
        as absent and is created again; with None rows never expire. Rows stored earlier and missing here are
        left alone. Without `compare` every row is written and counts as created, which saves one read per row
        where the caller knows that none exists.
        If two writers write the same key at the same time, the last one wins: keep to one run per dataset and
        date. A row over 400 KB loses the `droppable` columns that do not fit (see `item_of_row`).

        Frame: any columns of strings, numbers, booleans, bytes, dates, zoned datetimes, lists and structs;
        the key columns are set and unique.

        Raises:
            PermanentError: a key occurs twice (nothing was written), a row cannot be stored exactly or is too
                large (named; all others were written), or `expires_at` has no zone or is past.
            Unavailable: throttled or failing beyond the retries; running again writes only what is missing.
            NotFound, Refused, ConfigError: see `translated_aws_errors`.
        """
        expires_at_s = self._epoch_s(expires_at) if expires_at is not None else None
        rows = rows if isinstance(rows, pl.DataFrame) else list(rows)
        shape = replace(self._shape, droppable=tuple(droppable))
        refuse_duplicate_keys(rows, shape.key)

        refusals: list[str] = []
        counts = self._upsert_all(rows, shape, expires_at_s, refusals, compare=compare)
        self._verified(counts, rows_in=len(rows))
        if refusals:
            raise PermanentError(
                f"DynamoDB table {self.table_name!r}: {len(refusals)} of {len(rows)} rows cannot be stored, the others "
                f"are: {'; '.join(sorted(refusals)[:3])}"
            )
        return counts

    def ensure(self) -> None:
        """Create the table (string keys, on demand) and its expiry if absent: local use, Terraform owns AWS.

        Raises:
            ConfigError: the table exists with another key.
            Unavailable, NotFound, Refused: see `translated_aws_errors`.
        """
        with self._translated("create"):
            ensure_table(
                self._client, self.table_name, self._shape.key, ttl_attribute=self._shape.ttl_attribute
            )

    def _upsert_all(
        self, rows: Rows, shape: ItemShape, expires_at_s: int | None, refusals: list[str], *, compare: bool
    ) -> UpsertCounts:
        """Write all rows but those that cannot be stored, which are added to `refusals`."""
        saturated = Event()  # once set, no further batch is sent: each would only exhaust its retries too

        def one_batch(batch: Sequence[Mapping[str, Any]]) -> UpsertCounts:
            if saturated.is_set():
                return UpsertCounts(unprocessed=len(batch))
            items: list[Item] = []
            for row in batch:
                try:
                    items.append(item_of_row(row, shape, expires_at_s=expires_at_s))
                except PermanentError as error:
                    refusals.append(str(error))
            counts = self._upsert_batch(items, compare=compare) if items else UpsertCounts()
            counts += UpsertCounts(refused=len(batch) - len(items))
            if counts.unprocessed:
                saturated.set()
            return counts

        with ThreadPoolExecutor(self._threads, thread_name_prefix="dynamodb") as pool:
            return sum(_run_ahead(pool, one_batch, _batches(rows), window=2 * self._threads), UpsertCounts())

    def _upsert_batch(self, items: Sequence[Item], *, compare: bool) -> UpsertCounts:
        stored = self._read(items) if compare else _Stored()
        if stored.unread:
            return UpsertCounts(unprocessed=len(items))
        fingerprints = stored.fingerprints
        counts = UpsertCounts(
            unchanged=sum(fingerprints.get(item.identity) == item.fingerprint for item in items),
            payloads_omitted=sum(len(item.omitted) for item in items),
            read_units=compare
            and sum(
                _request_units(item.size_bytes, 4096) if item.identity in fingerprints else 1
                for item in items
            ),
        )
        wanted = [item for item in items if fingerprints.get(item.identity) != item.fingerprint]
        for start in range(0, len(wanted), _PUTS_PER_WRITE):
            written, left = self._write(wanted[start : start + _PUTS_PER_WRITE])
            counts += UpsertCounts(
                created=sum(item.identity not in fingerprints for item in written),
                updated=sum(item.identity in fingerprints for item in written),
                unprocessed=left,
                write_units=sum(_request_units(item.size_bytes, 1024) for item in written),
            )
        return counts

    def _read(self, items: Sequence[Item]) -> _Stored:
        names = {f"#k{i}": name for i, name in enumerate(self._shape.key)}
        names |= {"#f": self._shape.fingerprint_attribute, "#t": self._shape.ttl_attribute}
        now_s = int(self._clock().timestamp())
        fingerprints: dict[str, str] = {}

        def send(keys: list[dict[str, Wire]]) -> list[dict[str, Wire]]:
            request = {
                "Keys": keys,
                "ProjectionExpression": ", ".join(names),
                "ExpressionAttributeNames": names,
                "ConsistentRead": True,
            }
            with self._translated("read"):
                answer = self._client.batch_get_item(RequestItems={self.table_name: request})
            for found in response_field(answer, "Responses").get(self.table_name, []):
                # DynamoDB deletes expired items late, maybe by days; until then they count as absent.
                if float(found.get(self._shape.ttl_attribute, {}).get("N", now_s + 1)) > now_s:
                    identity = key_identity({name: found[name] for name in self._shape.key})
                    fingerprints[identity] = found.get(self._shape.fingerprint_attribute, {}).get("S", "")
            unread: list[dict[str, Wire]] = (
                response_field(answer, "UnprocessedKeys").get(self.table_name, {}).get("Keys", [])
            )
            return unread

        left = self._until_done(send, [item.key for item in items])
        return _Stored(fingerprints, unread=len(left))

    def _write(self, items: Sequence[Item]) -> tuple[list[Item], int]:
        """Put up to 25 items; return those the service accepted and how many it left."""
        by_identity = {item.identity: item for item in items}

        def send(puts: Puts) -> Puts:
            with self._translated("write to"):
                answer = self._client.batch_write_item(RequestItems={self.table_name: puts})
            left: Puts = response_field(answer, "UnprocessedItems").get(self.table_name, [])
            return left

        left = self._until_done(send, [{"PutRequest": {"Item": item.attributes}} for item in items])
        for put in left:
            attributes = put["PutRequest"]["Item"]
            by_identity.pop(key_identity({name: attributes[name] for name in self._shape.key}), None)
        return list(by_identity.values()), len(left)

    def _until_done(self, send: Callable[[list[Any]], list[Any]], pending: list[Any]) -> list[Any]:
        """Send `pending`, then what the service left of it, with backoff and jitter; return what remains."""
        left = pending
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(_Unfinished),
                stop=tenacity.stop_after_attempt(self._attempts),
                wait=tenacity.wait_exponential_jitter(
                    initial=0.05, max=self._wait_max_s, jitter=min(0.5, self._wait_max_s)
                ),
                reraise=True,
            ):
                with attempt:
                    left = send(left)
                    if left:
                        raise _Unfinished
        except _Unfinished:
            return left
        return []

    def _verified(self, counts: UpsertCounts, *, rows_in: int) -> UpsertCounts:
        if counts.unprocessed:
            raise Unavailable(
                f"DynamoDB table {self.table_name!r} accepted only part of {rows_in} rows "
                f"({counts.created} created, {counts.updated} updated, {counts.unchanged} unchanged) "
                f"in {self._attempts} attempts per batch: "
                "run again later, it writes only what is missing; raise the table's write limit if this lasts"
            )
        if counts.rows != rows_in:
            raise PermanentError(
                f"DynamoDB table {self.table_name!r}: {rows_in} rows in, but {counts.created} created + "
                f"{counts.updated} updated + {counts.unchanged} unchanged: the responses do not add up; "
                "run again to compare every row"
            )
        return counts

    def _epoch_s(self, expires_at: datetime) -> int:
        if expires_at.tzinfo is None:
            raise PermanentError(f"expires_at {expires_at.isoformat()} has no time zone: pass UTC")
        if expires_at <= self._clock():
            raise PermanentError(
                f"expires_at {expires_at.isoformat()} is past: the rows would be deleted as soon as written"
            )
        return int(expires_at.timestamp())

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated_aws_errors(
            f"{doing} DynamoDB table {self.table_name!r}",
            if_missing="Create it (terraform apply in AWS, ResultsTable.ensure() on a local emulator) "
            "and check the region and endpoint",
            if_refused="Give the run's role dynamodb:BatchGetItem and dynamodb:BatchWriteItem on it, "
            f"and check that its key is {list(self._shape.key)}",
        )


def _batches(rows: Rows) -> Iterator[Sequence[Mapping[str, Any]]]:
    if isinstance(rows, pl.DataFrame):
        for part in rows.iter_slices(KEYS_PER_READ):
            yield part.to_dicts()
    else:
        for start in range(0, len(rows), KEYS_PER_READ):
            yield rows[start : start + KEYS_PER_READ]


def _run_ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[Mapping[str, Any]]], UpsertCounts],
    batches: Iterable[Sequence[Mapping[str, Any]]],
    *,
    window: int,
) -> Iterator[UpsertCounts]:
    """Yield results in order with at most `window` batches in memory; leaving early cancels those not started."""
    running: deque[Future[UpsertCounts]] = deque()
    try:
        for batch in batches:
            running.append(pool.submit(work, batch))
            if len(running) >= window:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _request_units(size_bytes: int, unit_bytes: int) -> int:
    return max(1, -(-size_bytes // unit_bytes))
