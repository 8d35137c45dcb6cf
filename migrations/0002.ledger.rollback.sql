-- Everything of 0002.ledger, last made first.

DROP TABLE IF EXISTS wms.days;

DROP TABLE IF EXISTS wms.redeliveries;

DROP TABLE IF EXISTS wms.closing;

DROP TABLE IF EXISTS wms.passed;

DROP TABLE IF EXISTS wms.outages;

DROP TABLE IF EXISTS wms.leaderships;

DROP TABLE IF EXISTS wms.announced;

DROP TABLE IF EXISTS wms.announced_chunks;

DROP TABLE IF EXISTS wms.generations;

DROP TABLE IF EXISTS wms.sites;

DROP FUNCTION IF EXISTS wms.slot_at(bigint, bigint, bigint);

DROP FUNCTION IF EXISTS wms.slots_before(timestamptz, bigint, bigint);

ALTER TABLE IF EXISTS wms.results DROP COLUMN IF EXISTS missed_reason;
