-- Least rights: what each kind of login may do here, kept as rows, and a function that brings the roles' rights to that.
--
-- The release before this one runs on this schema: whoever owns the tables may do what it could before.
-- A later migration that makes a table adds its rows to wms.rights; its rollback takes them away.

SET LOCAL lock_timeout = '2s';

CREATE TABLE IF NOT EXISTS wms.rights (
    -- What a login is for. Who migrates owns everything, and has no row.
    purpose text NOT NULL CONSTRAINT rights_purpose_check CHECK (purpose IN ('persist', 'housekeeping', 'reader')),
    kind text NOT NULL CONSTRAINT rights_kind_check CHECK (kind IN ('DATABASE', 'SCHEMA', 'TABLE', 'FUNCTION')),
    -- As Postgres writes it: schema.table, schema.function(type). Of a database: this one.
    object text NOT NULL,
    privilege text NOT NULL CONSTRAINT rights_privilege_check CHECK (privilege ~ '^[A-Z]+$'),
    CONSTRAINT rights_pkey PRIMARY KEY (purpose, kind, object, privilege)
);

-- The role that was named last for each purpose (WMS_DATABASE_ROLE_...), so that it loses its rights when another is.
CREATE TABLE IF NOT EXISTS wms.right_holders (
    purpose text CONSTRAINT right_holders_pkey PRIMARY KEY,
    role_name text NOT NULL
);

INSERT INTO wms.rights (purpose, kind, object, privilege)
    SELECT purpose, kind, object, unnest(string_to_array(privileges, ' '))
    FROM (VALUES
        ('persist', 'DATABASE', 'this', 'CONNECT TEMPORARY'),
        ('persist', 'SCHEMA', 'wms', 'USAGE'),
        ('persist', 'TABLE', 'wms.results', 'SELECT INSERT UPDATE'),
        ('persist', 'TABLE', 'wms.redeliveries', 'SELECT INSERT UPDATE'),
        ('persist', 'TABLE', 'wms.rejects', 'SELECT INSERT'),
        ('persist', 'TABLE', 'wms.offsets', 'SELECT INSERT UPDATE'),
        ('persist', 'TABLE', 'wms.lost_offsets', 'SELECT INSERT UPDATE'),
        -- For the sites' series.
        ('persist', 'TABLE', 'wms.sites', 'SELECT'),
        ('persist', 'FUNCTION', 'wms.ensure_partition(date)', 'EXECUTE'),
        -- To see which schema it is.
        ('persist', 'SCHEMA', 'wms_migrations', 'USAGE'),
        ('persist', 'TABLE', 'wms_migrations._yoyo_migration', 'SELECT'),
        ('persist', 'TABLE', 'wms_migrations.rollbacks', 'SELECT'),

        -- TEMPORARY, and what it may do to results and redeliveries beside closing slots: `wms rejects replay`.
        ('housekeeping', 'DATABASE', 'this', 'CONNECT TEMPORARY'),
        ('housekeeping', 'SCHEMA', 'wms', 'USAGE'),
        ('housekeeping', 'TABLE', 'wms.results', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.redeliveries', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.rejects', 'SELECT DELETE'),
        ('housekeeping', 'TABLE', 'wms.offsets', 'SELECT'),
        ('housekeeping', 'TABLE', 'wms.lost_offsets', 'SELECT'),
        ('housekeeping', 'TABLE', 'wms.sites', 'SELECT INSERT UPDATE DELETE'),
        ('housekeeping', 'TABLE', 'wms.generations', 'SELECT INSERT'),
        ('housekeeping', 'TABLE', 'wms.announced', 'SELECT INSERT DELETE'),
        ('housekeeping', 'TABLE', 'wms.announced_chunks', 'SELECT INSERT DELETE'),
        ('housekeeping', 'TABLE', 'wms.leaderships', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.outages', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.words', 'SELECT INSERT UPDATE DELETE'),
        ('housekeeping', 'TABLE', 'wms.passed', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.closing', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'TABLE', 'wms.days', 'SELECT INSERT UPDATE'),
        ('housekeeping', 'FUNCTION', 'wms.ensure_partition(date)', 'EXECUTE'),
        ('housekeeping', 'FUNCTION', 'wms.drop_partition(date)', 'EXECUTE'),

        ('reader', 'DATABASE', 'this', 'CONNECT'),
        ('reader', 'SCHEMA', 'wms', 'USAGE'),
        ('reader', 'TABLE', 'wms.results', 'SELECT'),
        ('reader', 'TABLE', 'wms.redeliveries', 'SELECT'),
        ('reader', 'TABLE', 'wms.rejects', 'SELECT'),
        ('reader', 'TABLE', 'wms.offsets', 'SELECT'),
        ('reader', 'TABLE', 'wms.lost_offsets', 'SELECT'),
        ('reader', 'TABLE', 'wms.sites', 'SELECT'),
        ('reader', 'TABLE', 'wms.generations', 'SELECT'),
        ('reader', 'TABLE', 'wms.announced', 'SELECT'),
        ('reader', 'TABLE', 'wms.announced_chunks', 'SELECT'),
        ('reader', 'TABLE', 'wms.leaderships', 'SELECT'),
        ('reader', 'TABLE', 'wms.outages', 'SELECT'),
        ('reader', 'TABLE', 'wms.words', 'SELECT'),
        ('reader', 'TABLE', 'wms.passed', 'SELECT'),
        ('reader', 'TABLE', 'wms.closing', 'SELECT'),
        ('reader', 'TABLE', 'wms.days', 'SELECT'),
        ('reader', 'TABLE', 'wms.rights', 'SELECT'),
        ('reader', 'TABLE', 'wms.right_holders', 'SELECT'),
        ('reader', 'SCHEMA', 'wms_migrations', 'USAGE'),
        ('reader', 'TABLE', 'wms_migrations._yoyo_migration', 'SELECT'),
        ('reader', 'TABLE', 'wms_migrations.rollbacks', 'SELECT')
    ) AS each (purpose, kind, object, privileges)
ON CONFLICT DO NOTHING;

-- Only an owner can attach or drop a partition: these two do it for their callers, by nothing but a date. What they call
-- is found in pg_catalog whatever the caller's search_path is.
CREATE OR REPLACE FUNCTION wms.ensure_partition(day date) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    partition_name text := 'results_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(format('wms.%I', partition_name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- ATTACH's own lock. Not an advisory one: waiting for that does not refresh what we know of the catalog.
    LOCK TABLE wms.results IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(format('wms.%I', partition_name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE wms.%I (LIKE wms.results INCLUDING ALL)', partition_name);
    EXECUTE format(
        'ALTER TABLE wms.results ATTACH PARTITION wms.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
    );
    RETURN true;
END
$body$;

CREATE OR REPLACE FUNCTION wms.drop_partition(day date) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format('DROP TABLE IF EXISTS wms.%I', 'results_p' || to_char(day, 'YYYYMMDD'));
END
$body$;

-- Brings the rights of all roles that are or were named to wms.rights, no more and no less, and returns what it did.
-- ``named``: purpose → role, null where nothing is said: as before. A role that does not exist is left for the next time.
-- Run by the owner after each migration; where nothing differs it changes nothing.
CREATE OR REPLACE FUNCTION wms.apply_rights(named jsonb) RETURNS SETOF text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before text[] := ARRAY(SELECT h.role_name FROM wms.right_holders AS h);
    statement text;
BEGIN
    INSERT INTO wms.right_holders AS h (purpose, role_name)
    SELECT n.key, n.value FROM jsonb_each_text(named) AS n WHERE n.value IS NOT NULL
    ON CONFLICT (purpose) DO UPDATE SET role_name = EXCLUDED.role_name WHERE h.role_name <> EXCLUDED.role_name;

    FOR statement IN
        WITH objects AS (
            -- Who does not own the database leaves it to its owner (ops/terraform/bootstrap.sql).
            SELECT 'DATABASE' AS kind, 'this' AS object, format('%I', current_database()) AS name, d.datdba AS owner,
                d.datacl AS acl, false AS for_others
            FROM pg_database AS d
            WHERE d.datname = current_database() AND pg_has_role(current_user, d.datdba, 'USAGE')
            UNION ALL
            SELECT 'SCHEMA', n.nspname, format('%I', n.nspname), n.nspowner, n.nspacl, false
            FROM pg_namespace AS n
            WHERE n.nspname IN ('wms', 'wms_migrations')
            UNION ALL
            -- Partitions are reached through their table only.
            SELECT 'TABLE', concat_ws('.', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), c.relowner,
                c.relacl, false
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('wms', 'wms_migrations') AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
            UNION ALL
            SELECT 'FUNCTION', p.oid::regprocedure::text, p.oid::regprocedure::text, p.proowner,
                coalesce(p.proacl, acldefault('f', p.proowner)), p.prosecdef
            FROM pg_proc AS p
            JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = 'wms'
        ), holders AS (
            SELECT h.purpose, r.oid AS grantee
            FROM wms.right_holders AS h
            JOIN pg_roles AS r ON r.rolname = h.role_name
        ), wanted AS (
            SELECT DISTINCT h.grantee, o.kind, o.name, w.privilege
            FROM holders AS h
            JOIN wms.rights AS w ON w.purpose = h.purpose
            JOIN objects AS o ON o.kind = w.kind AND o.object = w.object
            WHERE h.grantee <> o.owner
        ), given AS (
            SELECT a.grantee, o.kind, o.name, a.privilege_type AS privilege
            FROM objects AS o
            CROSS JOIN LATERAL aclexplode(o.acl) AS a
            LEFT JOIN pg_roles AS r ON r.oid = a.grantee
            WHERE a.grantee <> o.owner AND (
                r.rolname = ANY(before) OR a.grantee IN (SELECT h.grantee FROM holders AS h)
                -- PUBLIC may run any new function, and after a restore without rights these again.
                OR (a.grantee = 0 AND o.for_others)
            )
        ), differences AS (
            SELECT 'REVOKE' AS verb, 'FROM' AS side, x.* FROM (SELECT * FROM given EXCEPT SELECT * FROM wanted) AS x
            UNION ALL
            SELECT 'GRANT', 'TO', x.* FROM (SELECT * FROM wanted EXCEPT SELECT * FROM given) AS x
        )
        SELECT format('%s %s ON %s %s %s %s', d.verb, string_agg(d.privilege, ', ' ORDER BY d.privilege), d.kind, d.name,
            d.side, CASE d.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', r.rolname) END)
        FROM differences AS d
        LEFT JOIN pg_roles AS r ON r.oid = d.grantee
        GROUP BY d.verb, d.kind, d.name, d.side, d.grantee, r.rolname
        ORDER BY 1
    LOOP
        EXECUTE statement;
        RETURN NEXT statement;
    END LOOP;
END
$body$;

-- Nobody else has the right to use this schema yet, so nobody can have called them meanwhile.
REVOKE ALL ON FUNCTION wms.ensure_partition(date), wms.drop_partition(date), wms.apply_rights(jsonb) FROM PUBLIC;
