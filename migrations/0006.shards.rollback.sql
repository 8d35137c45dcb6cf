-- Everything of 0006.shards. What shards announced is forgotten; beat is asked for all of it again.

SET LOCAL lock_timeout = '2s';

DROP FUNCTION IF EXISTS wms.shard_of(uuid, integer);
DROP TABLE IF EXISTS wms.words;

ALTER TABLE IF EXISTS wms.outages DROP COLUMN IF EXISTS shard;
ALTER TABLE IF EXISTS wms.leaderships DROP COLUMN IF EXISTS shard;

-- A shard's generation is none of all sites.
DO $body$
BEGIN
    IF EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = 'wms' AND table_name = 'generations' AND column_name = 'shard'
    ) THEN
        DELETE FROM wms.generations WHERE shard <> '1/1';
        DELETE FROM wms.announced_chunks;
        DELETE FROM wms.announced;
    END IF;
END
$body$;

ALTER TABLE IF EXISTS wms.announced DROP CONSTRAINT IF EXISTS announced_pkey, DROP COLUMN IF EXISTS shard,
    ADD CONSTRAINT announced_pkey PRIMARY KEY (generation, site_id, location);
ALTER TABLE IF EXISTS wms.announced_chunks DROP CONSTRAINT IF EXISTS announced_chunks_pkey, DROP COLUMN IF EXISTS shard,
    ADD CONSTRAINT announced_chunks_pkey PRIMARY KEY (generation, chunk);
ALTER TABLE IF EXISTS wms.generations DROP CONSTRAINT IF EXISTS generations_pkey, DROP COLUMN IF EXISTS shard,
    ADD CONSTRAINT generations_pkey PRIMARY KEY (generation);
