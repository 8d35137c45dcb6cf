-- Every statement of wms_tasks.store, each under its name. Parameters are psycopg's %(name)s.

-- try_migration_lock --
-- A session lock, polled: a blocking wait would deadlock with CREATE INDEX CONCURRENTLY.
SELECT pg_try_advisory_lock(hashtextextended('wms.migrations', 0))

-- try_share_migration_lock --
-- Who only looks; until the end of the transaction, and beside others who look.
SELECT pg_try_advisory_xact_lock_shared(hashtextextended('wms.migrations', 0))

-- make_migrations_schema --
-- yoyo's own tables and the kept rollbacks; apart from schema wms, which migrations make and drop.
CREATE SCHEMA IF NOT EXISTS wms_migrations

-- make_rollbacks_table --
CREATE TABLE IF NOT EXISTS wms_migrations.rollbacks (
    migration_id text PRIMARY KEY,
    rollback_sql text NOT NULL,
    sha256 text NOT NULL,
    transactional boolean NOT NULL,
    release text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- guard_migrations_schema --
-- What is kept here is run as its owner one day: nobody else may write it.
REVOKE ALL ON SCHEMA wms_migrations FROM PUBLIC

-- guard_rollbacks_table --
REVOKE ALL ON wms_migrations.rollbacks FROM PUBLIC

-- has_rollbacks --
SELECT to_regclass('wms_migrations.rollbacks') IS NOT NULL

-- has_migrations --
SELECT to_regclass('wms_migrations._yoyo_migration') IS NOT NULL

-- applied_migrations --
SELECT y.migration_id, y.applied_at_utc AT TIME ZONE 'UTC' AS applied_at, r.migration_id IS NOT NULL AS can_roll_back
FROM wms_migrations._yoyo_migration AS y
LEFT JOIN wms_migrations.rollbacks AS r USING (migration_id)
ORDER BY y.migration_id

-- keep_rollback --
INSERT INTO wms_migrations.rollbacks (migration_id, rollback_sql, sha256, transactional, release)
VALUES (%(migration_id)s, %(rollback_sql)s, %(sha256)s, %(transactional)s, %(release)s)
ON CONFLICT (migration_id) DO UPDATE
SET rollback_sql = EXCLUDED.rollback_sql, sha256 = EXCLUDED.sha256, transactional = EXCLUDED.transactional,
    release = EXCLUDED.release
WHERE rollbacks.sha256 <> EXCLUDED.sha256 OR rollbacks.transactional <> EXCLUDED.transactional

-- kept_rollback --
SELECT rollback_sql, sha256, transactional FROM wms_migrations.rollbacks WHERE migration_id = %(migration_id)s

-- forget_rollback --
DELETE FROM wms_migrations.rollbacks WHERE migration_id = %(migration_id)s

-- may_apply_rights --
-- Where the schema has them, and we are its owner or one of its owner's.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'wms' AND p.proname = 'apply_rights' AND pg_has_role(current_user, p.proowner, 'USAGE')
)

-- apply_rights --
SELECT wms.apply_rights(%(named)s::jsonb)

-- holders_not_there --
SELECT h.purpose, h.role_name FROM wms.right_holders AS h
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = h.role_name)
ORDER BY h.purpose

-- set_for_transaction --
-- What connect.py else sets for a whole session, which a pool gives to somebody else after each transaction. No SELECT:
-- an isolation level may be set after it.
SET LOCAL TimeZone = 'UTC'; SET LOCAL lock_timeout = '5s'

-- ensure_partition --
SELECT wms.ensure_partition(%(day)s)

-- partition_days --
-- The days that have a partition; from the catalog, so that it costs the same however many rows there are.
SELECT to_date(right(c.relname, 8), 'YYYYMMDD')
FROM pg_catalog.pg_inherits AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'wms.results'::regclass AND c.relname ~ '^results_p[0-9]{8}$'

-- try_retention_lock --
-- A session lock: each day is a transaction, or several, of its own.
SELECT pg_try_advisory_lock(hashtextextended('wms.retention', 0))

-- drop_partition --
SELECT wms.drop_partition(%(day)s)

-- delete_old_rejects --
-- Some at a time, so that no lock is held for long.
DELETE FROM wms.rejects
WHERE id IN (SELECT id FROM wms.rejects WHERE rejected_at < %(before)s LIMIT %(limit)s)

-- day_bytes --
-- Each day's partition with its indexes.
SELECT to_date(right(c.relname, 8), 'YYYYMMDD'), pg_total_relation_size(c.oid)
FROM pg_catalog.pg_inherits AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'wms.results'::regclass AND c.relname ~ '^results_p[0-9]{8}$'
ORDER BY 1

-- database_bytes --
SELECT pg_database_size(current_database())

-- data_directory --
-- Only a superuser and members of pg_read_all_settings may see it: there is no row for others.
SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'

-- rejects_since --
SELECT id, topic, topic_id, partition, kafka_offset, key, value, value_bytes, value_sha256, headers::text AS headers_json,
    error, reason, site_id, scheduled_at, rejected_at
FROM wms.rejects
WHERE rejected_at >= %(since)s AND (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY id
LIMIT %(limit)s

-- rejects_by_id --
SELECT id, topic, topic_id, partition, kafka_offset, key, value, value_bytes, value_sha256, headers::text AS headers_json,
    error, reason, site_id, scheduled_at, rejected_at
FROM wms.rejects
WHERE id = ANY(%(ids)s)
ORDER BY id

-- drop_rejects --
DELETE FROM wms.rejects WHERE id = ANY(%(ids)s)

-- start_offset --
-- A partition nobody has read begins at its low mark; a known one keeps where it is.
INSERT INTO wms.offsets (cluster_id, topic, topic_id, partition, next_offset, holder_pid)
VALUES (%(cluster_id)s, %(topic)s, %(topic_id)s, %(partition)s, %(next_offset)s, pg_backend_pid())
ON CONFLICT DO NOTHING

-- holders --
-- Who owns these partitions, of those backends that still live. No lock is taken or waited for.
SELECT o.partition, o.holder_pid
FROM wms.offsets AS o
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = o.holder_pid AND a.application_name = 'wms-persist'
WHERE o.cluster_id = %(cluster_id)s AND o.topic = %(topic)s AND o.topic_id = %(topic_id)s
    AND o.partition = ANY(%(partitions)s) AND o.holder_pid <> pg_backend_pid()

-- end_holder --
SELECT pg_terminate_backend(%(pid)s)

-- known_offsets --
SELECT partition, next_offset FROM wms.offsets
WHERE cluster_id = %(cluster_id)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = ANY(%(partitions)s)

-- claim_offsets --
-- Waits at most lock_timeout for a transaction of the one who owned them before.
UPDATE wms.offsets SET holder_pid = pg_backend_pid()
WHERE cluster_id = %(cluster_id)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = ANY(%(partitions)s)
RETURNING partition, next_offset

-- move_offset --
-- Compare and swap: no row means that somebody else has moved it, and that this transaction must not be.
UPDATE wms.offsets SET next_offset = %(end)s, holder_pid = pg_backend_pid(), updated_at = now()
WHERE cluster_id = %(cluster_id)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s
    AND next_offset = %(start)s

-- note_lost --
-- Met again after an old dump was restored, or an old topic came back: the widest range is kept.
INSERT INTO wms.lost_offsets (cluster_id, topic, topic_id, partition, first_offset, end_offset, why)
VALUES (%(cluster_id)s, %(topic)s, %(topic_id)s, %(partition)s, %(first_offset)s, %(end_offset)s, %(why)s)
ON CONFLICT ON CONSTRAINT lost_offsets_pkey
DO UPDATE SET end_offset = greatest(lost_offsets.end_offset, EXCLUDED.end_offset), noticed_at = now()

-- lose_earlier_lives --
INSERT INTO wms.lost_offsets (cluster_id, topic, topic_id, partition, first_offset, end_offset, why)
SELECT o.cluster_id, o.topic, o.topic_id, o.partition, o.next_offset, %(unknown_end)s, 'topic_made_again'
FROM wms.offsets AS o
WHERE o.cluster_id = %(cluster_id)s AND o.topic = %(topic)s AND o.topic_id <> %(topic_id)s
    AND NOT EXISTS (
        SELECT 1 FROM wms.lost_offsets AS l
        WHERE (l.cluster_id, l.topic, l.topic_id, l.partition) = (o.cluster_id, o.topic, o.topic_id, o.partition)
            AND l.why = 'topic_made_again'
    )
ON CONFLICT DO NOTHING
RETURNING topic_id, partition, first_offset

-- recent_rejects --
-- This batch's and those just before it, by partition and in order of offset.
SELECT r.partition, array_agg(r.kafka_offset ORDER BY r.kafka_offset)
FROM unnest(%(topic_ids)s::text[], %(partitions)s::integer[], %(from_offsets)s::bigint[])
    AS wanted (topic_id, partition, from_offset)
JOIN wms.rejects AS r
    ON r.topic_id = wanted.topic_id AND r.partition = wanted.partition AND r.kafka_offset >= wanted.from_offset
GROUP BY r.topic_id, r.partition

-- copy_results --
-- In the order in which persist/copy_row.py writes them; so in copy_staging.
COPY wms.results (
    scheduled_at, due_at, started_at, attempt, status_code, response_time_ms, redirects, wire_bytes, body_bytes,
    resolve_ms, connect_ms, processing_ms, transfer_ms, tls_ms, matched, outcome, reason, detail, evidence, worker,
    schema_version, site_id, location, site_name, spec_digest, address, http_version, tls_version, tls_cipher,
    content_type, certificate_expires_at, chain_expires_at, certificate_subject, certificate_issuer, certificate_names
) FROM STDIN (FORMAT binary)

-- make_staging --
-- Its columns only: the key is what duplicates break, and the rest is checked on the way into results.
CREATE TEMP TABLE IF NOT EXISTS results_staging (LIKE wms.results INCLUDING DEFAULTS) ON COMMIT DELETE ROWS

-- copy_staging --
COPY pg_temp.results_staging (
    scheduled_at, due_at, started_at, attempt, status_code, response_time_ms, redirects, wire_bytes, body_bytes,
    resolve_ms, connect_ms, processing_ms, transfer_ms, tls_ms, matched, outcome, reason, detail, evidence, worker,
    schema_version, site_id, location, site_name, spec_digest, address, http_version, tls_version, tls_cipher,
    content_type, certificate_expires_at, chain_expires_at, certificate_subject, certificate_issuer, certificate_names
) FROM STDIN (FORMAT binary)

-- merge_staging --
-- A real result replaces a missed one, which the row remembers; nothing else changes a row. Of several in one batch the
-- first real one counts. What changed nothing is counted by day, site and location. Returns how many
-- are new or changed, and how many of them changed.
WITH merged AS (
    INSERT INTO wms.results (
        site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail, status_code,
        response_time_ms, matched, worker, spec_digest, schema_version, address, http_version, tls_version,
        tls_cipher, redirects, wire_bytes, body_bytes, content_type, resolve_ms, connect_ms, tls_ms, processing_ms,
        transfer_ms, certificate_subject, certificate_issuer, certificate_names, certificate_expires_at,
        chain_expires_at, evidence
    )
    SELECT DISTINCT ON (site_id, location, scheduled_at)
        site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail, status_code,
        response_time_ms, matched, worker, spec_digest, schema_version, address, http_version, tls_version,
        tls_cipher, redirects, wire_bytes, body_bytes, content_type, resolve_ms, connect_ms, tls_ms, processing_ms,
        transfer_ms, certificate_subject, certificate_issuer, certificate_names, certificate_expires_at,
        chain_expires_at, evidence
    FROM pg_temp.results_staging
    ORDER BY site_id, location, scheduled_at, outcome = 'missed', ctid
    ON CONFLICT (site_id, location, scheduled_at) DO UPDATE
    SET site_name = EXCLUDED.site_name, due_at = EXCLUDED.due_at, started_at = EXCLUDED.started_at,
        attempt = EXCLUDED.attempt, outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, detail = EXCLUDED.detail,
        status_code = EXCLUDED.status_code, response_time_ms = EXCLUDED.response_time_ms, matched = EXCLUDED.matched,
        worker = EXCLUDED.worker, spec_digest = EXCLUDED.spec_digest, schema_version = EXCLUDED.schema_version,
        address = EXCLUDED.address, http_version = EXCLUDED.http_version, tls_version = EXCLUDED.tls_version,
        tls_cipher = EXCLUDED.tls_cipher, redirects = EXCLUDED.redirects, wire_bytes = EXCLUDED.wire_bytes,
        body_bytes = EXCLUDED.body_bytes, content_type = EXCLUDED.content_type, resolve_ms = EXCLUDED.resolve_ms,
        connect_ms = EXCLUDED.connect_ms, tls_ms = EXCLUDED.tls_ms, processing_ms = EXCLUDED.processing_ms,
        transfer_ms = EXCLUDED.transfer_ms, certificate_subject = EXCLUDED.certificate_subject,
        certificate_issuer = EXCLUDED.certificate_issuer, certificate_names = EXCLUDED.certificate_names,
        certificate_expires_at = EXCLUDED.certificate_expires_at, chain_expires_at = EXCLUDED.chain_expires_at,
        evidence = EXCLUDED.evidence, stored_at = now(), missed_reason = results.reason
    WHERE results.outcome = 'missed' AND EXCLUDED.outcome <> 'missed'
    RETURNING site_id, location, scheduled_at, missed_reason
), dropped AS (
    SELECT (scheduled_at AT TIME ZONE 'UTC')::date AS day, site_id, location, sum(n) AS n
    FROM (
        SELECT site_id, location, scheduled_at, 1 AS n FROM pg_temp.results_staging
        UNION ALL
        SELECT site_id, location, scheduled_at, -1 FROM merged
    ) AS each
    GROUP BY 1, 2, 3
    HAVING sum(n) > 0
    ORDER BY 1, 2, 3
), counted AS (
    INSERT INTO wms.redeliveries (day, site_id, location, dropped)
    SELECT day, site_id, location, n FROM dropped
    ON CONFLICT (day, site_id, location) DO UPDATE SET dropped = redeliveries.dropped + EXCLUDED.dropped
)
SELECT count(*), count(missed_reason) FROM merged

-- empty_staging --
DELETE FROM pg_temp.results_staging

-- insert_reject --
INSERT INTO wms.rejects (topic, topic_id, partition, kafka_offset, key, value, value_bytes, value_sha256, headers, error,
    reason, site_id, scheduled_at)
VALUES (%(topic)s, %(topic_id)s, %(partition)s, %(kafka_offset)s, %(key)s, %(value)s, %(value_bytes)s, %(value_sha256)s,
    %(headers)s, %(error)s, %(reason)s, %(site_id)s, %(scheduled_at)s)
ON CONFLICT (topic_id, partition, kafka_offset) DO NOTHING

-- set_persist_timeouts --
-- A transaction whose client sleeps between statements is ended by the server, and one statement before the client
-- itself gives up (ANSWER_SECONDS of the sink).
SELECT set_config('statement_timeout', '25s', false), set_config('idle_in_transaction_session_timeout', '25s', false)

-- no_jit --
-- Compiling a plan over dozens of partitions takes longer than these reads do.
SELECT set_config('jit', 'off', true)

-- scan_bounds --
-- How many sites were announced, and whether there are rows from then on.
SELECT (SELECT count(*) FROM wms.sites WHERE valid_to = 'infinity'),
    EXISTS (SELECT FROM wms.results WHERE scheduled_at >= %(from_at)s)

-- site_states --
-- Of the sites that were announced, and of those that a loose scan finds: one step down the key's index for each site and
-- day, however many rows there are; all with ids of one range. Days that can have no row are left out, or each would be
-- looked into for each site. The streak begins after the last row that was anything else: for a site that is up the small
-- index results_not_up has it, else the key's index. In no order.
WITH RECURSIVE scanned AS (
    (
        SELECT site_id, location FROM wms.results
        WHERE site_id >= %(first_id)s AND site_id <= %(last_id)s
            AND scheduled_at >= %(scan_from)s::timestamptz AND scheduled_at < %(before)s::timestamptz
        ORDER BY site_id, location LIMIT 1
    )
    UNION ALL
    SELECT following.site_id, following.location
    FROM scanned
    CROSS JOIN LATERAL (
        SELECT r.site_id, r.location
        FROM wms.results AS r
        WHERE (r.site_id, r.location) > (scanned.site_id, scanned.location) AND r.site_id <= %(last_id)s
            AND r.scheduled_at >= %(scan_from)s::timestamptz AND r.scheduled_at < %(before)s::timestamptz
        ORDER BY r.site_id, r.location
        LIMIT 1
    ) AS following
), sites AS (
    SELECT site_id, location FROM scanned
    UNION
    SELECT site_id, location FROM wms.sites WHERE site_id >= %(first_id)s AND site_id <= %(last_id)s
)
SELECT latest.site_id, latest.site_name, latest.location, latest.outcome, latest.reason, latest.detail,
    latest.status_code, latest.response_time_ms, latest.chain_expires_at, latest.scheduled_at, latest.started_at,
    latest.stored_at,
    (
        SELECT r.scheduled_at
        FROM wms.results AS r
        WHERE r.site_id = latest.site_id AND r.location = latest.location
            AND r.scheduled_at < %(before)s::timestamptz
            AND r.scheduled_at > coalesce(other.scheduled_at, '-infinity')
        ORDER BY r.scheduled_at
        LIMIT 1
    ) AS since,
    ARRAY(
        SELECT newest.outcome
        FROM (
            SELECT r.outcome, r.scheduled_at
            FROM wms.results AS r
            WHERE r.site_id = latest.site_id AND r.location = latest.location
                AND r.scheduled_at < %(before)s::timestamptz
            ORDER BY r.scheduled_at DESC
            LIMIT %(history)s
        ) AS newest
        ORDER BY newest.scheduled_at
    ) AS recent
FROM sites
CROSS JOIN LATERAL (
    SELECT *
    FROM wms.results AS r
    WHERE r.site_id = sites.site_id AND r.location = sites.location AND r.scheduled_at < %(before)s::timestamptz
    ORDER BY r.scheduled_at DESC
    LIMIT 1
) AS latest
CROSS JOIN LATERAL (
    SELECT CASE WHEN latest.outcome = 'up' THEN (
        SELECT r.scheduled_at
        FROM wms.results AS r
        WHERE r.site_id = latest.site_id AND r.location = latest.location AND r.outcome <> 'up'
            AND r.scheduled_at < %(before)s::timestamptz
        ORDER BY r.scheduled_at DESC
        LIMIT 1
    ) ELSE (
        SELECT r.scheduled_at
        FROM wms.results AS r
        WHERE r.site_id = latest.site_id AND r.location = latest.location AND r.outcome <> latest.outcome
            AND r.scheduled_at < %(before)s::timestamptz
        ORDER BY r.scheduled_at DESC
        LIMIT 1
    ) END AS scheduled_at
) AS other

-- newest_name --
SELECT site_name FROM wms.results WHERE site_id = %(site_id)s ORDER BY scheduled_at DESC LIMIT 1

-- announced_ids --
SELECT DISTINCT site_id FROM wms.sites WHERE site_name = %(site_name)s ORDER BY site_id

-- site_names --
-- The loose scan of site_states; a site seen from several locations has one name, its newest.
WITH RECURSIVE sites AS (
    (SELECT site_id, location FROM wms.results ORDER BY site_id, location LIMIT 1)
    UNION ALL
    SELECT following.site_id, following.location
    FROM sites
    CROSS JOIN LATERAL (
        SELECT r.site_id, r.location
        FROM wms.results AS r
        WHERE (r.site_id, r.location) > (sites.site_id, sites.location)
        ORDER BY r.site_id, r.location
        LIMIT 1
    ) AS following
)
SELECT DISTINCT ON (latest.site_id) latest.site_id, latest.site_name
FROM sites
CROSS JOIN LATERAL (
    SELECT r.site_id, r.site_name, r.scheduled_at
    FROM wms.results AS r
    WHERE r.site_id = sites.site_id AND r.location = sites.location
    ORDER BY r.scheduled_at DESC
    LIMIT 1
) AS latest
ORDER BY latest.site_id, latest.scheduled_at DESC

-- results_since --
SELECT
    site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail, status_code,
    response_time_ms, matched, worker, spec_digest, schema_version, address, http_version, tls_version, tls_cipher,
    redirects, wire_bytes, body_bytes, content_type, resolve_ms, connect_ms, tls_ms, processing_ms, transfer_ms,
    certificate_subject, certificate_issuer, certificate_names, certificate_expires_at, chain_expires_at, evidence,
    stored_at
FROM wms.results
WHERE scheduled_at >= %(since)s AND (outcome <> 'up' OR NOT %(not_up)s)
ORDER BY scheduled_at DESC
LIMIT %(limit)s

-- results_of_site_since --
SELECT
    site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail, status_code,
    response_time_ms, matched, worker, spec_digest, schema_version, address, http_version, tls_version, tls_cipher,
    redirects, wire_bytes, body_bytes, content_type, resolve_ms, connect_ms, tls_ms, processing_ms, transfer_ms,
    certificate_subject, certificate_issuer, certificate_names, certificate_expires_at, chain_expires_at, evidence,
    stored_at
FROM wms.results
WHERE site_id = %(site_id)s AND scheduled_at >= %(since)s AND (outcome <> 'up' OR NOT %(not_up)s)
ORDER BY scheduled_at DESC
LIMIT %(limit)s

-- pipeline --
-- The last minute by arrival; lateness of first attempts only, since a retry begins late on purpose. The offsets move
-- with the rows, so they know when the last ones were stored.
SELECT count(*) AS rows,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - due_at)::float8)
        FILTER (WHERE attempt = 1) AS lateness_p50_seconds,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - due_at)::float8)
        FILTER (WHERE attempt = 1) AS lateness_p99_seconds,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM stored_at - scheduled_at)::float8)
        AS stored_p99_seconds,
    (SELECT max(updated_at) FROM wms.offsets) AS last_stored_at
FROM wms.results
WHERE stored_at > now() - interval '1 minute'

-- try_series_lock --
-- A session lock: who has it serves the sites' series, so that there is one of each whoever is asked.
SELECT pg_try_advisory_lock(hashtextextended('wms.site_series', 0))

-- count_sites --
SELECT count(*) FROM (SELECT FROM wms.sites WHERE valid_to = 'infinity' LIMIT %(at_most)s) AS counted

-- site_facts --
-- The newest rows come from the key's index, which has their outcome; one more row is read, the newest, and the newest
-- answer where that is another.
SELECT s.spec ->> 'url' AS url, s.site_name, s.location,
    coalesce((s.spec ->> 'timeout_seconds')::float8, %(timeout_seconds)s) AS timeout_seconds,
    newest.outcome, newest.reason, newest.scheduled_at, recent.outcomes AS recent, answer.outcome AS answer,
    answer.reason AS answer_reason, answer.status_code, answer.response_time_ms, answer.address, answer.http_version,
    answer.tls_version, answer.tls_cipher, answer.redirects, answer.wire_bytes, answer.body_bytes, answer.resolve_ms,
    answer.connect_ms, answer.tls_ms, answer.processing_ms, answer.transfer_ms, answer.chain_expires_at
FROM wms.sites AS s
CROSS JOIN LATERAL (
    SELECT array_agg(one.outcome ORDER BY one.scheduled_at DESC) AS outcomes, max(one.scheduled_at) AS newest_at,
        max(one.scheduled_at) FILTER (WHERE one.outcome IN ('up', 'down')) AS answered_at
    FROM (
        SELECT r.outcome, r.scheduled_at
        FROM wms.results AS r
        WHERE r.site_id = s.site_id AND r.location = s.location
            AND r.scheduled_at > now() - (%(slots)s * s.interval_us + %(more_us)s) * interval '1 microsecond'
        ORDER BY r.scheduled_at DESC
        LIMIT %(rows)s
    ) AS one
) AS recent
JOIN wms.results AS newest ON newest.site_id = s.site_id AND newest.location = s.location
    AND newest.scheduled_at = recent.newest_at
LEFT JOIN wms.results AS answer ON answer.site_id = s.site_id AND answer.location = s.location
    AND answer.scheduled_at = recent.answered_at
WHERE s.valid_to = 'infinity'
ORDER BY s.site_name, s.location
