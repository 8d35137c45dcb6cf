-- The ledger: which slots are expected, how far they are closed, what is known of those that were missed, and balances.
--
-- Every statement may be run again. Only additions: the release before this one runs on this schema.

-- What a row's slot had been missed for, where a real result came later and replaced it.
ALTER TABLE wms.results ADD COLUMN IF NOT EXISTS missed_reason text;

-- Slots on the grid ``splay + k * interval`` that begin before the instant; with two instants, how many lie between.
CREATE OR REPLACE FUNCTION wms.slots_before(instant timestamptz, interval_us bigint, splay_us bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $body$
    SELECT ((extract(epoch FROM instant) * 1000000)::bigint - splay_us + interval_us - 1) / interval_us
$body$;

-- The instant of the grid's k-th slot; exact for the next two hundred years.
CREATE OR REPLACE FUNCTION wms.slot_at(k bigint, interval_us bigint, splay_us bigint) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $body$
    SELECT timestamptz 'epoch' + (splay_us + k * interval_us) * interval '1 microsecond'
$body$;

-- The sites' schedules: a slot is expected where ``valid_from <= slot < valid_to``. Ranges of a site never overlap.
CREATE TABLE IF NOT EXISTS wms.sites (
    site_id uuid NOT NULL,
    location text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    site_name text NOT NULL,
    interval_us bigint NOT NULL CONSTRAINT sites_interval_check CHECK (interval_us > 0),
    splay_us bigint NOT NULL CONSTRAINT sites_splay_check CHECK (splay_us >= 0 AND splay_us < interval_us),
    jitter_us bigint NOT NULL,
    max_lateness_us bigint NOT NULL,
    -- From a slot's beginning to the last instant at which any slot of this schedule may be begun.
    deadline_us bigint NOT NULL GENERATED ALWAYS AS (least(interval_us, jitter_us + max_lateness_us)) STORED,
    -- Without values of headers and without what a url may hide.
    spec jsonb NOT NULL,
    spec_digest text NOT NULL,
    CONSTRAINT sites_range_check CHECK (valid_from <= valid_to),
    CONSTRAINT sites_pkey PRIMARY KEY (site_id, location, valid_from)
);

CREATE UNIQUE INDEX IF NOT EXISTS sites_current ON wms.sites (site_id, location) WHERE valid_to = 'infinity';

-- Announcements of all sites that were taken in. A generation is the instant, in microseconds, from which beat schedules these sites.
CREATE TABLE IF NOT EXISTS wms.generations (
    generation bigint CONSTRAINT generations_pkey PRIMARY KEY,
    applied_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS wms.announced_chunks (
    generation bigint NOT NULL,
    chunk integer NOT NULL,
    CONSTRAINT announced_chunks_pkey PRIMARY KEY (generation, chunk)
);

-- The sites of generations that have not arrived whole; empty otherwise.
CREATE TABLE IF NOT EXISTS wms.announced (
    generation bigint NOT NULL,
    site_id uuid NOT NULL,
    location text NOT NULL,
    site_name text NOT NULL,
    first_slot_us bigint NOT NULL,
    interval_us bigint NOT NULL,
    splay_us bigint NOT NULL,
    jitter_us bigint NOT NULL,
    max_lateness_us bigint NOT NULL,
    spec jsonb NOT NULL,
    spec_digest text NOT NULL,
    CONSTRAINT announced_pkey PRIMARY KEY (generation, site_id, location)
);

-- One beat's time as the leader: every slot due up to ``until_at`` was sent, or lies in an outage.
CREATE TABLE IF NOT EXISTS wms.leaderships (
    leadership uuid CONSTRAINT leaderships_pkey PRIMARY KEY,
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL
);

-- When a beat could not send, and why.
CREATE TABLE IF NOT EXISTS wms.outages (
    leadership uuid NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL,
    reason text NOT NULL CONSTRAINT outages_reason_check CHECK (reason ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT outages_pkey PRIMARY KEY (leadership, from_at)
);

-- The ends of the topic's partitions, as asked now and then. What was in Kafka at ``passed_at`` is stored; the end asked
-- for at ``asked_at`` is what the persist loop has still to reach.
CREATE TABLE IF NOT EXISTS wms.passed (
    cluster_id text NOT NULL,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    end_offset bigint NOT NULL,
    asked_at timestamptz NOT NULL,
    passed_at timestamptz,
    CONSTRAINT passed_pkey PRIMARY KEY (cluster_id, topic, topic_id, partition)
);

-- One row: every expected slot that begins more than its deadline before ``closed_until`` has a row.
CREATE TABLE IF NOT EXISTS wms.closing (
    one boolean CONSTRAINT closing_pkey PRIMARY KEY DEFAULT true CONSTRAINT closing_one_check CHECK (one),
    closed_until timestamptz NOT NULL
);

-- Messages that changed no row, because their slot had one.
CREATE TABLE IF NOT EXISTS wms.redeliveries (
    day date NOT NULL,
    site_id uuid NOT NULL,
    location text NOT NULL,
    dropped bigint NOT NULL,
    CONSTRAINT redeliveries_pkey PRIMARY KEY (day, site_id, location)
);

-- The balance of a UTC day, kept when its partition is dropped.
CREATE TABLE IF NOT EXISTS wms.days (
    day date NOT NULL,
    site_id uuid NOT NULL,
    location text NOT NULL,
    site_name text NOT NULL,
    expected bigint NOT NULL,
    up bigint NOT NULL,
    down bigint NOT NULL,
    skipped bigint NOT NULL,
    -- {reason: how many}
    missed jsonb NOT NULL,
    open bigint NOT NULL,
    extra bigint NOT NULL,
    late_replacements bigint NOT NULL,
    redeliveries bigint NOT NULL,
    CONSTRAINT days_pkey PRIMARY KEY (day, site_id, location)
);
