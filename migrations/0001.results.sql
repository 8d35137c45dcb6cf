-- Results by day, rejects beside them, and the offsets that make both exactly once.
--
-- Every statement may be run again: a crash between applying a migration and marking it must not break the next start.
-- outcome and reason are text with a CHECK, never Postgres enums, which know no DROP VALUE and so no rollback.

CREATE SCHEMA IF NOT EXISTS wms;

CREATE TABLE IF NOT EXISTS wms.results (
    site_id uuid NOT NULL,
    location text NOT NULL,
    scheduled_at timestamptz NOT NULL,
    site_name text NOT NULL,
    due_at timestamptz NOT NULL,
    started_at timestamptz,
    attempt integer NOT NULL CONSTRAINT results_attempt_check CHECK (attempt >= 0),
    outcome text NOT NULL CONSTRAINT results_outcome_check CHECK (outcome IN ('up', 'down', 'skipped', 'missed')),
    reason text NOT NULL CONSTRAINT results_reason_check CHECK (reason ~ '^[a-z][a-z0-9_]{0,62}$'),
    detail text,
    status_code integer,
    response_time_ms double precision,
    matched boolean,
    worker text NOT NULL,
    spec_digest text NOT NULL,
    schema_version integer NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    -- The outcome rides in the key's index, so that a site's history is read from the index alone.
    CONSTRAINT results_pkey PRIMARY KEY (site_id, location, scheduled_at) INCLUDE (outcome)
) PARTITION BY RANGE (scheduled_at);

-- Small, because most rows are up: finds when a site was last anything else.
CREATE INDEX IF NOT EXISTS results_not_up ON wms.results (site_id, location, scheduled_at) WHERE outcome <> 'up';

-- Rows arrive in about this order, so a block range index of a few pages finds the last minute or the last hour.
CREATE INDEX IF NOT EXISTS results_arrival ON wms.results USING brin (stored_at, scheduled_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- One partition a UTC day. LIKE and ATTACH instead of PARTITION OF: no lock that stops the COPY of others.
CREATE OR REPLACE FUNCTION wms.ensure_partition(day date) RETURNS boolean LANGUAGE plpgsql AS $body$
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

CREATE TABLE IF NOT EXISTS wms.rejects (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT rejects_pkey PRIMARY KEY,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    key bytea,
    value bytea,
    -- [[name, text or {"base64": …} or null], …]; json keeps escapes that jsonb refuses.
    headers json NOT NULL,
    error text NOT NULL,
    reason text NOT NULL CONSTRAINT rejects_reason_check CHECK (reason ~ '^[a-z][a-z0-9_]{0,62}$'),
    -- Whose slot it was, where key and header tell.
    site_id uuid,
    scheduled_at timestamptz,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rejects_message UNIQUE (topic_id, partition, kafka_offset)
);

CREATE INDEX IF NOT EXISTS rejects_slot ON wms.rejects (site_id, scheduled_at);

-- The next offset to read, moved by compare-and-swap in the transaction that writes the rows.
CREATE TABLE IF NOT EXISTS wms.offsets (
    cluster_id text NOT NULL,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CONSTRAINT offsets_next_offset_check CHECK (next_offset >= 0),
    -- The backend that owns the partition: who takes over ends it, if it sleeps inside a COPY.
    holder_pid integer,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT offsets_pkey PRIMARY KEY (cluster_id, topic, topic_id, partition)
);
