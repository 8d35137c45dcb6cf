-- What Kafka no longer had when it was to be read; and rejects whose value is kept only in part.
--
-- Every statement may be run again. Only additions: the release before this one runs on this schema.

-- Offsets from first_offset up to, and without, end_offset. Written in the transaction that moves wms.offsets past them,
-- for a topic that was made again in the one that begins the new one. The largest bigint: to its end, which nobody knows.
-- An empty range: nothing is known to be lost, but something happened there.
CREATE TABLE IF NOT EXISTS wms.lost_offsets (
    cluster_id text NOT NULL,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    end_offset bigint NOT NULL,
    why text NOT NULL CONSTRAINT lost_offsets_why_check CHECK (why ~ '^[a-z][a-z0-9_]{0,62}$'),
    noticed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lost_offsets_range_check CHECK (first_offset <= end_offset),
    CONSTRAINT lost_offsets_pkey PRIMARY KEY (cluster_id, topic, topic_id, partition, first_offset, why)
);

-- Of a value that was longer than WMS_REJECTS_MAX_VALUE_BYTES, all of it: its length and SHA-256. NULL: value is whole.
ALTER TABLE wms.rejects ADD COLUMN IF NOT EXISTS value_bytes bigint;

ALTER TABLE wms.rejects ADD COLUMN IF NOT EXISTS value_sha256 bytea;

-- Finds the old ones, which arrive in this order.
CREATE INDEX IF NOT EXISTS rejects_age ON wms.rejects USING brin (rejected_at) WITH (autosummarize = on);

-- Drops a UTC day's results. Everything stands behind the lock it waits for, so it waits but shortly: try again.
CREATE OR REPLACE FUNCTION wms.drop_partition(day date) RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format('DROP TABLE IF EXISTS wms.%I', 'results_p' || to_char(day, 'YYYYMMDD'));
END
$body$;
