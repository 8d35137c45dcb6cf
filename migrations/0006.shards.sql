-- Several beats, each with its own shard of the sites: whose announcement, whose word. '1/1' is all sites.
--
-- The release before this one writes none of the new columns, and runs on this schema.

SET LOCAL lock_timeout = '2s';

ALTER TABLE wms.generations ADD COLUMN IF NOT EXISTS shard text NOT NULL DEFAULT '1/1',
    DROP CONSTRAINT IF EXISTS generations_pkey, ADD CONSTRAINT generations_pkey PRIMARY KEY (shard, generation);
ALTER TABLE wms.announced_chunks ADD COLUMN IF NOT EXISTS shard text NOT NULL DEFAULT '1/1',
    DROP CONSTRAINT IF EXISTS announced_chunks_pkey,
    ADD CONSTRAINT announced_chunks_pkey PRIMARY KEY (shard, generation, chunk);
ALTER TABLE wms.announced ADD COLUMN IF NOT EXISTS shard text NOT NULL DEFAULT '1/1',
    DROP CONSTRAINT IF EXISTS announced_pkey,
    ADD CONSTRAINT announced_pkey PRIMARY KEY (shard, generation, site_id, location);

ALTER TABLE wms.leaderships ADD COLUMN IF NOT EXISTS shard text NOT NULL DEFAULT '1/1';
ALTER TABLE wms.outages ADD COLUMN IF NOT EXISTS shard text NOT NULL DEFAULT '1/1';

-- What each shard's beat said last: until when it has sent all that fell due, and which generation of sites it sends.
CREATE TABLE IF NOT EXISTS wms.words (
    shard text CONSTRAINT words_pkey PRIMARY KEY,
    until_at timestamptz NOT NULL,
    generation bigint NOT NULL,
    -- By this database's clock. Later than its last word where for a while nobody's word came.
    heard_at timestamptz NOT NULL
);

-- The shard, from 0, that a site is in where there are so many: by the first four bytes of its id.
CREATE OR REPLACE FUNCTION wms.shard_of(site_id uuid, count integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
    SELECT (('x' || left(site_id::text, 8))::bit(32)::bigint % count)::integer
$body$;
