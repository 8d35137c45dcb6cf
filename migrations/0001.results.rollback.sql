-- Everything of 0001.results, last made first. The rows go with it.

DROP TABLE IF EXISTS wms.offsets;

DROP TABLE IF EXISTS wms.rejects;

DROP FUNCTION IF EXISTS wms.ensure_partition(date);

DROP TABLE IF EXISTS wms.results;

DROP SCHEMA IF EXISTS wms;
