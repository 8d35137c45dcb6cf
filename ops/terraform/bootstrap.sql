-- Once for each new service, before the first migration, as the owner of the database and connected to it (README.md).
-- Aiven makes users without rights in our database; everybody may connect unless told otherwise. Can be run again.
-- The names are those of pg_roles and pg_database in modules/wms/variables.tf.
BEGIN;

REVOKE ALL ON DATABASE wms FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE wms TO wms_migrate, wms_housekeeping, wms_persist, wms_reader;
-- What comes again, or is replayed, goes through a temporary table.
GRANT TEMPORARY ON DATABASE wms TO wms_persist, wms_housekeeping;
-- CREATE: tables and extensions are a migration's, and whoever makes a table owns it.
GRANT CREATE ON DATABASE wms TO wms_migrate;
GRANT USAGE, CREATE ON SCHEMA public TO wms_migrate;

COMMIT;
