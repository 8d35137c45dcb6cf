-- Of a day's skipped slots, how many for which reason: {reason: how many}. Empty for days kept by releases before this.
--
-- Only an addition with a default: the release before this one runs on this schema.

-- The lock stops every reader of the balance, and so does waiting for it: give up, and let the migrator try again.
SET LOCAL lock_timeout = '2s';

ALTER TABLE wms.days ADD COLUMN IF NOT EXISTS skipped_for jsonb NOT NULL DEFAULT '{}';
