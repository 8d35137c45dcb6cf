-- Everything of 0005.skipped-by-reason.

SET LOCAL lock_timeout = '2s';

ALTER TABLE IF EXISTS wms.days DROP COLUMN IF EXISTS skipped_for;
