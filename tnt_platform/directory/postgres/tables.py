"""Describe the tables of the mall directory as the newest migration leaves them.

`shops` and `dinings` have the same columns. `slug`, `status`, `is_featured` and `sort_order` belong to the editors: a
sync sets them on new rows only. A sync keeps slugs unique across both tables; the database enforces it within each.
The migrations create the tables, and a test compares the two. They also create the views `shop_translations` and
`dining_translations`, with one row per locale that has a title or description.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import SchemaItem

LOCALES = ("en", "th", "zh")
KINDS = {"shop": "shops", "dining": "dinings"}  # kind of a tenant -> its table
STATUSES = ("RUNNING", "COMPLETED", "PARTIAL", "FAILED")

metadata = MetaData()


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _identity() -> Column[int]:
    return Column("id", BigInteger, Identity(), primary_key=True)


categories = Table(
    "categories",
    metadata,
    _identity(),
    Column("code", Text, nullable=False),
    Column("name_en", Text),
    Column("name_th", Text),
    Column("name_zh", Text),
    UniqueConstraint("code", name="categories_code_key"),
)

floors = Table(
    "floors",
    metadata,
    _identity(),
    Column("code", Text, nullable=False),
    Column("name", Text),
    _number("sort_order"),
    UniqueConstraint("code", name="floors_code_key"),
)


def _tenants(name: str) -> Table:
    listed = text("status = 'ACTIVE' AND withdrawn_at IS NULL")
    items: list[SchemaItem] = [
        _identity(),
        Column("unique_id", Text, nullable=False),
        Column("tenant_id", Text, nullable=False),
        *(Column(f"{part}_{locale}", Text) for part in ("title", "description") for locale in LOCALES),
        Column("slug", Text, nullable=False),
        Column("status", Text, nullable=False, server_default=text("'INACTIVE'")),
        Column("is_featured", Boolean, nullable=False, server_default=text("false")),
        _number("sort_order"),
        Column("category_id", BigInteger, ForeignKey("categories.id", name=f"{name}_category_id_fkey")),
        Column("floor_id", BigInteger, ForeignKey("floors.id", name=f"{name}_floor_id_fkey")),
        *(Column(part, Text) for part in ("zone", "unit", "opening_hours_text")),
        Column("opening_hours", JSONB),
        *(Column(part, Text) for part in ("tel", "website", "logo")),
        Column("gallery", ARRAY(Text), nullable=False, server_default=text("'{}'")),
        Column("source_active", Boolean),
        Column("starts_on", Date),
        Column("ends_on", Date),
        _time("tenant_last_update"),
        _time("mall_last_update"),
        Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
        Column("fingerprint", Text, nullable=False),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        _time("withdrawn_at"),
        UniqueConstraint("unique_id", name=f"{name}_unique_id_key"),
        UniqueConstraint("slug", name=f"{name}_slug_key"),
        _one_of("status", ("ACTIVE", "INACTIVE"), f"{name}_status_check"),
        Index(f"{name}_listed_by_category", "category_id", "sort_order", "id", postgresql_where=listed),
        Index(f"{name}_listed_by_floor", "floor_id", "sort_order", "id", postgresql_where=listed),
    ]
    return Table(name, metadata, *items)


shops = _tenants("shops")
dinings = _tenants("dinings")

COUNTERS = (
    "pages",
    "records_processed",
    "records_created",
    "records_updated",
    "records_unchanged",
    "records_moved",
    "records_withdrawn",
    "records_failed",
    "shops_processed",
    "dinings_processed",
    "unmapped_floors",
    "unmapped_categories",
    "validation_issues",
)

# The database itself guarantees that the counts of a COMPLETED or PARTIAL sync add up.
_ADDS_UP = (
    "status IN ('RUNNING', 'FAILED') OR records_processed ="
    " records_created + records_updated + records_unchanged + records_moved + records_failed"
)

sync_logs = Table(
    "sync_logs",
    metadata,
    _identity(),
    Column("status", Text, nullable=False),
    _time("started_at", nullable=False),
    _time("completed_at"),
    *(_number(name) for name in COUNTERS),
    Column("error", Text),
    Column("timings", JSONB, nullable=False, server_default=text("'{}'")),
    Column("memory_mb", Float),
    Column("backend_pid", Integer),
    Column("owner", Text, nullable=False),
    # The sync whose sync_issues and sync_unmapped rows apply to this one: itself, or an earlier one with the same
    # findings, so that an hourly sync of an unchanged directory does not repeat them.
    Column("details_sync_id", BigInteger, ForeignKey("sync_logs.id", name="sync_logs_details_sync_id_fkey")),
    Column("details_fingerprint", Text),
    _one_of("status", STATUSES, "sync_logs_status_check"),
    CheckConstraint(_ADDS_UP, name="sync_logs_adds_up"),
    CheckConstraint("(status = 'RUNNING') = (completed_at IS NULL)", name="sync_logs_ended"),
    Index(
        "sync_logs_one_running",
        "status",
        unique=True,
        postgresql_where=text("status = 'RUNNING'"),
    ),
    Index("sync_logs_by_start", "started_at"),
)


def _sync_id(*, primary_key: bool = False) -> Column[int]:
    reference = ForeignKey("sync_logs.id", ondelete="CASCADE")
    return Column("sync_id", BigInteger, reference, primary_key=primary_key, nullable=False)


sync_issues = Table(
    "sync_issues",
    metadata,
    _sync_id(),
    Column("unique_id", Text),
    Column("field", Text, nullable=False),
    Column("issue_code", Text, nullable=False),
    Column("value", Text),
    Column("message", Text, nullable=False),
    Index("sync_issues_by_sync", "sync_id"),
)

sync_unmapped = Table(
    "sync_unmapped",
    metadata,
    _sync_id(),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("candidates", JSONB, nullable=False),
    Index("sync_unmapped_by_sync", "sync_id"),
)
