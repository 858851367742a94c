"""The SQL of a sync, in the order of its use; `${...}` is filled by `for_kind` with names of this module.

Works on the temporary tables of `directory_staging` and on four of its own: `changes` (what is to be done
about each record), `new_slugs`, `moved_rows` and `written_rows`. PostgreSQL 13 to 18.
"""

from __future__ import annotations

from string import Template

from tnt_platform.services.directory_tables import KINDS, LOCALES

# Columns that every sync sets from the source. The rest is the key, the editors' columns and the row's life.
_CONTENT = (
    "tenant_id",
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
)


def for_kind(kind: str, statement: str) -> str:
    """`statement` for the tables of `kind`."""
    return Template(statement).substitute(
        kind=kind,
        table=KINDS[kind],
        columns=", ".join(_CONTENT),
        values=", ".join(f"i.{name}" for name in _CONTENT),
        assignments=", ".join(f"{name} = i.{name}" for name in _CONTENT),
        locales=", ".join(f"('{name}', i.title_{name}, i.description_{name})" for name in LOCALES),
        lacks_locale=" ".join(
            f"WHEN '{name}' THEN i.title_{name} IS NULL AND i.description_{name} IS NULL" for name in LOCALES
        ),
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

PLAN_CHANGES = """
CREATE TEMP TABLE changes ON COMMIT DROP AS
SELECT i.unique_id, i.kind, i.slug_base, e.kind AS was, e.id,
    CASE
        WHEN e.kind IS NULL THEN 'created'
        WHEN e.kind <> i.kind THEN 'moved'
        WHEN e.fingerprint IS DISTINCT FROM i.fingerprint OR e.withdrawn_at IS NOT NULL THEN 'updated'
        ELSE 'unchanged'
    END AS action
FROM incoming i LEFT JOIN (
    SELECT 'shop' AS kind, id, unique_id, fingerprint, withdrawn_at FROM shops
    UNION ALL
    SELECT 'dining', id, unique_id, fingerprint, withdrawn_at FROM dinings
) e USING (unique_id)
"""

# Without it the planner takes a temporary table for a handful of rows.
ANALYZE_CHANGES = "ANALYZE changes (kind, action)"

FIND_BOTH_KINDS = "SELECT unique_id FROM changes GROUP BY unique_id HAVING count(*) > 1 LIMIT 1"

COUNT_CREATED = "SELECT count(*) FROM changes WHERE action = 'created'"

MAKE_SLUGS = "CREATE TEMP TABLE new_slugs (unique_id text, slug text) ON COMMIT DROP"

CHOOSE_BASE_SLUGS = """
INSERT INTO new_slugs
SELECT DISTINCT ON (c.slug_base) c.unique_id, c.slug_base FROM changes c
WHERE c.action = 'created'
    AND NOT EXISTS (SELECT FROM shops t WHERE t.slug = c.slug_base)
    AND NOT EXISTS (SELECT FROM dinings t WHERE t.slug = c.slug_base)
ORDER BY c.slug_base, c.unique_id COLLATE "C"
"""

# Numbered slugs of two bases never meet: the part behind the last hyphen is the number, the rest the base.
# They can meet slugs that are bases themselves ("a-2"), which are all chosen by now. A base with `used` such
# slugs finds `wanted` free numbers among 2 .. 1 + wanted + used.
CHOOSE_NUMBERED_SLUGS = """
WITH claims AS (
    SELECT unique_id, slug_base,
        row_number() OVER (PARTITION BY slug_base ORDER BY unique_id COLLATE "C") AS place
    FROM changes c
    WHERE action = 'created' AND NOT EXISTS (SELECT FROM new_slugs s WHERE s.unique_id = c.unique_id)
), bases AS (
    SELECT slug_base, count(*) AS wanted FROM claims GROUP BY slug_base
), taken AS MATERIALIZED (
    SELECT slug, rtrim(slug, '0123456789') AS stem FROM shops
    UNION ALL
    SELECT slug, rtrim(slug, '0123456789') FROM dinings
    UNION ALL
    SELECT slug, rtrim(slug, '0123456789') FROM new_slugs
), numbers AS (
    SELECT b.slug_base, b.wanted, count(t.slug) AS used
    FROM bases b LEFT JOIN taken t ON t.stem = b.slug_base || '-'
    GROUP BY b.slug_base, b.wanted
), candidates AS (
    SELECT n.slug_base, number, n.slug_base || '-' || number AS slug
    FROM numbers n CROSS JOIN LATERAL generate_series(2, 1 + n.wanted + n.used) AS number
), free AS (
    SELECT slug_base, slug, row_number() OVER (PARTITION BY slug_base ORDER BY number) AS place
    FROM candidates c
    WHERE NOT EXISTS (SELECT FROM taken t WHERE t.slug = c.slug)
)
INSERT INTO new_slugs
SELECT claims.unique_id, free.slug FROM claims JOIN free USING (slug_base, place)
"""

MAKE_MOVED_ROWS = """
CREATE TEMP TABLE moved_rows ON COMMIT DROP AS
SELECT unique_id, slug, status, is_featured, sort_order, created_at FROM shops WITH NO DATA
"""

TAKE_OUT_MOVED = """
WITH gone AS (
    DELETE FROM ${table} t USING changes c
    WHERE c.action = 'moved' AND c.was = '${kind}' AND t.unique_id = c.unique_id
    RETURNING t.unique_id, t.slug, t.status, t.is_featured, t.sort_order, t.created_at
)
INSERT INTO moved_rows SELECT * FROM gone
"""

FIND_TAKEN_SLUGS = """
SELECT m.unique_id, m.slug, t.unique_id AS taken_by
FROM moved_rows m JOIN changes c USING (unique_id) JOIN ${table} t ON t.slug = m.slug
WHERE c.kind = '${kind}'
ORDER BY m.unique_id LIMIT 1
"""

MAKE_WRITTEN_ROWS = """
CREATE TEMP TABLE written_rows (kind text, id bigint, unique_id text, inserted boolean) ON COMMIT DROP
"""

# New rows and changed rows are apart, though ON CONFLICT could do both: under the sync's lock it is known which
# is which, and without the speculative insert and the row lock of ON CONFLICT they cost a third less. A row
# that somebody else inserts meanwhile is a unique violation, one that somebody deletes a missing update.
INSERT_ROWS = """
WITH written AS (
    INSERT INTO ${table} (
        unique_id, slug, status, is_featured, sort_order, created_at, updated_at, category_id, floor_id, ${columns}
    )
    SELECT i.unique_id, coalesce(m.slug, s.slug), coalesce(m.status, 'INACTIVE'),
        coalesce(m.is_featured, false), coalesce(m.sort_order, 0), coalesce(m.created_at, :now), :now,
        category.id, floor.id, ${values}
    FROM changes c
    JOIN incoming i USING (unique_id)
    LEFT JOIN new_slugs s USING (unique_id)
    LEFT JOIN moved_rows m USING (unique_id)
    LEFT JOIN categories category ON category.code = i.category
    LEFT JOIN floors floor ON floor.code = i.floor
    WHERE c.kind = '${kind}' AND c.action IN ('created', 'moved')
    RETURNING id, unique_id
)
INSERT INTO written_rows SELECT '${kind}', id, unique_id, true FROM written
"""

UPDATE_ROWS = """
WITH written AS (
    UPDATE ${table} t
    SET ${assignments}, category_id = category.id, floor_id = floor.id, updated_at = :now, withdrawn_at = NULL
    FROM changes c
    JOIN incoming i USING (unique_id)
    LEFT JOIN categories category ON category.code = i.category
    LEFT JOIN floors floor ON floor.code = i.floor
    WHERE c.kind = '${kind}' AND c.action = 'updated' AND t.id = c.id AND t.unique_id = c.unique_id
        AND (t.fingerprint IS DISTINCT FROM i.fingerprint OR t.withdrawn_at IS NOT NULL)
    RETURNING t.id, t.unique_id
)
INSERT INTO written_rows SELECT '${kind}', id, unique_id, false FROM written
"""

DROP_TRANSLATIONS = """
DELETE FROM ${kind}_translations t
USING written_rows w JOIN incoming i USING (unique_id)
WHERE w.kind = '${kind}' AND NOT w.inserted AND t.${kind}_id = w.id AND CASE t.locale ${lacks_locale} END
"""

INSERT_TRANSLATIONS = """
INSERT INTO ${kind}_translations (${kind}_id, locale, title, description)
SELECT w.id, v.locale, v.title, v.description
FROM written_rows w
JOIN incoming i USING (unique_id)
CROSS JOIN LATERAL (VALUES ${locales}) AS v (locale, title, description)
WHERE w.kind = '${kind}' AND w.inserted AND (v.title IS NOT NULL OR v.description IS NOT NULL)
"""

# Joined first, as ON CONFLICT would lock and log also the rows that its WHERE leaves alone.
UPSERT_TRANSLATIONS = """
INSERT INTO ${kind}_translations AS t (${kind}_id, locale, title, description)
SELECT w.id, v.locale, v.title, v.description
FROM written_rows w
JOIN incoming i USING (unique_id)
CROSS JOIN LATERAL (VALUES ${locales}) AS v (locale, title, description)
LEFT JOIN ${kind}_translations e ON e.${kind}_id = w.id AND e.locale = v.locale
WHERE w.kind = '${kind}' AND NOT w.inserted AND (v.title IS NOT NULL OR v.description IS NOT NULL)
    AND (e.locale IS NULL OR (e.title, e.description) IS DISTINCT FROM (v.title, v.description))
ON CONFLICT (${kind}_id, locale) DO UPDATE SET title = excluded.title, description = excluded.description
"""

WITHDRAW = """
UPDATE ${table} t SET withdrawn_at = :now, updated_at = :now
WHERE t.withdrawn_at IS NULL
    AND NOT EXISTS (SELECT FROM changes c WHERE c.unique_id = t.unique_id)
    AND NOT EXISTS (SELECT FROM incoming_held_back h WHERE h.unique_id = t.unique_id)
"""

COUNT_PLANNED = "SELECT kind, action, count(*) AS records FROM changes GROUP BY kind, action"

COUNT_WRITTEN = "SELECT kind, inserted, count(*) AS records FROM written_rows GROUP BY kind, inserted"
