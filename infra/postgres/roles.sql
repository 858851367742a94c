-- Least privilege for the directory's database. Run once as an administrator, in the database itself:
--
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f infra/postgres/roles.sql
--
-- Makes four roles that can't log in. Give each program or person a login of its own and grant it one of them:
--
--     CREATE ROLE tnt_prod_sync LOGIN PASSWORD '...' IN ROLE tnt_sync;
--
--   tnt_owner   owns the tables; used by `tnt` for migrations only
--   tnt_sync    what a sync needs: rows and temporary tables, no schema changes
--   tnt_editor  reads everything, changes the editors' columns and nothing else
--   tnt_reader  reads the directory, not the log
--
-- Running it again is safe, and needed after a migration that adds tables.

BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tnt_owner', 'tnt_sync', 'tnt_editor', 'tnt_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', name);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO tnt_owner, tnt_sync, tnt_editor, tnt_reader', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tnt_sync', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO tnt_owner;
GRANT USAGE ON SCHEMA public TO tnt_sync, tnt_editor, tnt_reader;

-- Tables that are there already, whoever made them.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alembic_version', 'categories', 'floors', 'shops', 'dinings', 'shop_translations',
            'dining_translations', 'sync_logs', 'sync_issues', 'sync_unmapped'] LOOP
        IF to_regclass('public.' || name) IS NULL THEN
            RAISE EXCEPTION 'table % is missing: run the migrations first', name;
        END IF;
        EXECUTE format('ALTER TABLE public.%I OWNER TO tnt_owner', name);
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, tnt_sync, tnt_editor, tnt_reader', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON shops, dinings, shop_translations, dining_translations TO tnt_sync;
GRANT SELECT, INSERT, UPDATE ON categories, floors, sync_logs TO tnt_sync;
GRANT SELECT, INSERT ON sync_issues, sync_unmapped TO tnt_sync;

GRANT SELECT ON shops, dinings, shop_translations, dining_translations, categories, floors TO tnt_editor, tnt_reader;
GRANT SELECT ON sync_logs, sync_issues, sync_unmapped TO tnt_editor;
GRANT UPDATE (slug, status, is_featured, sort_order) ON shops, dinings TO tnt_editor;

COMMIT;
