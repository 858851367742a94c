"""The SQL of a sync, in the order of its use; `for_kind` fills in names of this module. PostgreSQL 13 to 18."""

from __future__ import annotations

from string import Template

from tnt_platform.directory.postgres.tables import KINDS, LOCALES

# Columns that every sync sets from the source. The rest is the key, the editors' columns and the row's life.
CONTENT = (
    "tenant_id",
    *(f"{part}_{locale}" for part in ("title", "description") for locale in LOCALES),
    "zone",
    "unit",
    "opening_hours_text",
    "opening_hours",
    "tel",
    "website",
    "logo",
    "gallery",
    "source_active",
    "starts_on",
    "ends_on",
    "tenant_last_update",
    "mall_last_update",
    "attributes",
    "fingerprint",
    "category_id",
    "floor_id",
)


def for_kind(kind: str, statement: str) -> str:
    """`statement` for the table of `kind`."""
    return Template(statement).substitute(
        kind=kind, table=KINDS[kind], assignments=", ".join(f"{name} = i.{name}" for name in CONTENT)
    )


UPSERT_CATEGORIES = """
INSERT INTO categories AS t (code, name_en, name_th, name_zh)
SELECT i.* FROM incoming_categories i LEFT JOIN categories c USING (code)
WHERE c.code IS NULL OR (c.name_en, c.name_th, c.name_zh) IS DISTINCT FROM (i.name_en, i.name_th, i.name_zh)
ON CONFLICT (code) DO UPDATE
SET name_en = excluded.name_en, name_th = excluded.name_th, name_zh = excluded.name_zh
"""

UPSERT_FLOORS = """
INSERT INTO floors AS t (code, name, sort_order)
SELECT i.* FROM incoming_floors i LEFT JOIN floors f USING (code)
WHERE f.code IS NULL OR (f.name, f.sort_order) IS DISTINCT FROM (i.name, i.sort_order)
ON CONFLICT (code) DO UPDATE SET name = excluded.name, sort_order = excluded.sort_order
"""

READ_CATEGORIES = "SELECT code, id FROM categories"

READ_FLOORS = "SELECT code, id FROM floors"

# One statement and so one moment: a row that somebody moves by hand is seen once.
READ_STORED = " UNION ALL ".join(
    for_kind(
        kind,
        "SELECT '${kind}', id, unique_id, slug, fingerprint, CAST(withdrawn_at IS NOT NULL AS text) FROM ${table}",
    )
    for kind in KINDS
)

TAKE_OUT_MOVED = """
DELETE FROM ${table} t USING leaving l WHERE l.kind = '${kind}' AND t.id = l.id AND t.unique_id = l.unique_id
RETURNING t.unique_id, t.slug, t.status, t.is_featured, t.sort_order, CAST(t.created_at AS text) AS created_at
"""

UPDATE_ROWS = """
UPDATE ${table} t SET ${assignments}, updated_at = :now, withdrawn_at = NULL
FROM changed_${table} i
WHERE t.id = i.id AND t.unique_id = i.unique_id
    AND (t.fingerprint IS DISTINCT FROM i.fingerprint OR t.withdrawn_at IS NOT NULL)
"""

WITHDRAW = """
UPDATE ${table} t SET withdrawn_at = :now, updated_at = :now
FROM gone g WHERE g.kind = '${kind}' AND t.id = g.id AND t.unique_id = g.unique_id AND t.withdrawn_at IS NULL
"""
