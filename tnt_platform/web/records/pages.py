"""Pages over the records of several datasets, one dataset after the other, each in the order of its ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnt_platform.web.cursors import Cursor, cursor_of
from tnt_platform.web.problems import bad
from tnt_platform.web.records.table import RecordFilters, RecordTable


@dataclass(frozen=True)
class RecordsFound:
    """One page as JSON objects; `next` is where it goes on, None at the end."""

    bodies: list[memoryview]
    next: Cursor | None


def page_of(
    tables: Sequence[RecordTable], cursor: Cursor | None, limit: int, filters: RecordFilters, digest: str
) -> RecordsFound:
    """Up to `limit` records behind `cursor`; `tables` are sorted by dataset."""
    dataset, after = _place(cursor)
    bodies: list[memoryview] = []
    last: tuple[str, str] | None = None
    pending = [table for table in tables if dataset is None or table.dataset >= dataset]
    for number, table in enumerate(pending):
        page = table.page(after if table.dataset == dataset else None, limit - len(bodies), filters)
        bodies += page.bodies
        if page.last_id is not None:
            last = (table.dataset, page.last_id)
        if len(bodies) == limit:
            more = page.more or any(later.count(filters) for later in pending[number + 1 :])
            versions = {table.dataset: table.version for table in tables}
            return RecordsFound(bodies, cursor_of(versions, digest, last) if more and last else None)
    return RecordsFound(bodies, None)


def _place(cursor: Cursor | None) -> tuple[str | None, str | None]:
    if cursor is None:
        return None, None
    if not isinstance(cursor.after, tuple):
        raise bad("cursor", "not one that this listing gave; start again without it")
    return cursor.after


def find(tables: Sequence[RecordTable], record_id: str) -> tuple[RecordTable, bytes] | None:
    """The record and the table that holds it."""
    for table in tables:
        body = table.find(record_id)
        if body is not None:
            return table, body
    return None
