-- Everything of 0003.rejects-and-lost-offsets, last made first.

DROP FUNCTION IF EXISTS wms.drop_partition(date);

DROP INDEX IF EXISTS wms.rejects_age;

ALTER TABLE IF EXISTS wms.rejects DROP COLUMN IF EXISTS value_sha256;

ALTER TABLE IF EXISTS wms.rejects DROP COLUMN IF EXISTS value_bytes;

DROP TABLE IF EXISTS wms.lost_offsets;
