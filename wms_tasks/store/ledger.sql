-- The ledger's statements, each under its name.

-- lock_ledger --
-- Announcements are taken in, and slots closed, one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('wms.ledger', 0))

-- try_lock_ledger --
SELECT pg_try_advisory_xact_lock(hashtextextended('wms.ledger', 0))

-- newest_generation --
SELECT coalesce(max(generation), 0) FROM wms.generations WHERE shard = %(shard)s

-- note_chunk --
INSERT INTO wms.announced_chunks (shard, generation, chunk) VALUES (%(shard)s, %(generation)s, %(chunk)s)
ON CONFLICT DO NOTHING

-- note_announced --
INSERT INTO wms.announced (shard, generation, site_id, location, site_name, first_slot_us, interval_us, splay_us, jitter_us,
    max_lateness_us, spec, spec_digest)
SELECT %(shard)s, %(generation)s, s.*
FROM jsonb_to_recordset(%(sites)s::jsonb) AS s (site_id uuid, location text, site_name text, first_slot_us bigint,
    interval_us bigint, splay_us bigint, jitter_us bigint, max_lateness_us bigint, spec jsonb, spec_digest text)
ON CONFLICT DO NOTHING

-- chunks_here --
SELECT count(*) FROM wms.announced_chunks WHERE shard = %(shard)s AND generation = %(generation)s

-- hash_joins --
-- What has just arrived is unknown to the planner's statistics: it would compare every site with every other.
SELECT set_config('enable_nestloop', 'off', true)

-- ended_ranges --
-- Current ranges of the shard's sites that are gone or other in this generation.
SELECT s.site_id, s.location, s.valid_from, s.interval_us, s.splay_us, s.jitter_us
FROM wms.sites AS s
WHERE s.valid_to = 'infinity' AND wms.shard_of(s.site_id, %(count)s) = %(number)s - 1 AND NOT EXISTS (
    SELECT 1
    FROM wms.announced AS a
    WHERE a.shard = %(shard)s AND a.generation = %(generation)s AND a.site_id = s.site_id AND a.location = s.location
        AND a.spec_digest = s.spec_digest AND a.interval_us = s.interval_us AND a.splay_us = s.splay_us
        AND a.jitter_us = s.jitter_us AND a.max_lateness_us = s.max_lateness_us
)

-- end_range --
UPDATE wms.sites SET valid_to = greatest(valid_from, %(valid_to)s)
WHERE site_id = %(site_id)s AND location = %(location)s AND valid_to = 'infinity'

-- drop_empty_ranges --
-- A range that ended before its first slot; another may begin at the same instant.
DELETE FROM wms.sites WHERE valid_to = valid_from

-- forget_ranges --
-- They reach into no day that is kept; what was expected on the days they had is in wms.days.
DELETE FROM wms.sites WHERE valid_to <= %(before)s

-- begin_ranges --
-- What has no current range now begins one, after its last one; what begins in time already closed is closed again.
WITH begun AS (
    INSERT INTO wms.sites (site_id, location, valid_from, site_name, interval_us, splay_us, jitter_us, max_lateness_us,
        spec, spec_digest)
    SELECT a.site_id, a.location,
        greatest(
            timestamptz 'epoch' + a.first_slot_us * interval '1 microsecond',
            (SELECT max(s.valid_to) FROM wms.sites AS s WHERE s.site_id = a.site_id AND s.location = a.location)
        ),
        a.site_name, a.interval_us, a.splay_us, a.jitter_us, a.max_lateness_us, a.spec, a.spec_digest
    FROM wms.announced AS a
    WHERE a.shard = %(shard)s AND a.generation = %(generation)s AND NOT EXISTS (
        SELECT 1 FROM wms.sites AS s
        WHERE s.site_id = a.site_id AND s.location = a.location AND s.valid_to = 'infinity'
    )
    RETURNING valid_from + deadline_us * interval '1 microsecond' AS closes_at
), earliest AS (
    INSERT INTO wms.closing (closed_until)
    SELECT min(closes_at) FROM begun HAVING count(*) > 0
    ON CONFLICT (one) DO UPDATE SET closed_until = EXCLUDED.closed_until
    WHERE closing.closed_until > EXCLUDED.closed_until
)
SELECT count(*) FROM begun

-- generation_applied --
INSERT INTO wms.generations (shard, generation, applied_at) VALUES (%(shard)s, %(generation)s, now())
ON CONFLICT DO NOTHING

-- forget_chunks --
DELETE FROM wms.announced_chunks WHERE shard = %(shard)s AND generation <= %(generation)s

-- forget_announced --
DELETE FROM wms.announced WHERE shard = %(shard)s AND generation <= %(generation)s

-- note_leadership --
INSERT INTO wms.leaderships (leadership, shard, from_at, until_at)
VALUES (%(leadership)s, %(shard)s, %(from_at)s, %(until_at)s)
ON CONFLICT (leadership) DO UPDATE SET until_at = greatest(leaderships.until_at, EXCLUDED.until_at)

-- extend_leader_before --
-- How far the shard's leader before came after its last word, by the marks that its successor found.
UPDATE wms.leaderships SET until_at = %(before_at)s
WHERE until_at < %(before_at)s AND leadership = (
    SELECT leadership FROM wms.leaderships
    WHERE shard = %(shard)s AND from_at <= %(before_at)s AND leadership <> %(leadership)s
    ORDER BY from_at DESC
    LIMIT 1
)

-- forget_words --
-- Of beats whose shard there is no more.
DELETE FROM wms.words WHERE heard_at < clock_timestamp() - interval '1 day'

-- break_silence --
-- Redis, Postgres or all who take messages were away: whoever was not heard of may have been speaking all the time.
UPDATE wms.words SET heard_at = clock_timestamp()
WHERE (SELECT max(heard_at) FROM wms.words) < clock_timestamp() - %(quiet)s * interval '1 second'

-- note_word --
INSERT INTO wms.words (shard, until_at, generation, heard_at)
VALUES (%(shard)s, %(until_at)s, %(generation)s, clock_timestamp())
ON CONFLICT (shard) DO UPDATE
SET until_at = EXCLUDED.until_at, generation = EXCLUDED.generation, heard_at = EXCLUDED.heard_at

-- words --
SELECT w.shard, w.until_at, w.generation,
    (SELECT coalesce(max(g.generation), 0) FROM wms.generations AS g WHERE g.shard = w.shard) AS known,
    extract(epoch FROM clock_timestamp() - w.heard_at)::float8 AS silent_seconds
FROM wms.words AS w

-- note_outage --
INSERT INTO wms.outages (leadership, shard, from_at, until_at, reason)
VALUES (%(leadership)s, %(shard)s, %(from_at)s, %(until_at)s, %(reason)s)
ON CONFLICT (leadership, from_at) DO UPDATE
SET until_at = greatest(outages.until_at, EXCLUDED.until_at), reason = EXCLUDED.reason

-- leaderships_in --
SELECT from_at, until_at, shard FROM wms.leaderships WHERE until_at >= %(since)s ORDER BY from_at

-- outages_in --
SELECT from_at, until_at, reason, shard FROM wms.outages WHERE until_at >= %(since)s ORDER BY from_at

-- lost_lives_in --
-- A topic that is gone is asked for its ends no more, so that its passed_at stays what it was at last.
-- Where it was never asked, nothing is known to have been stored in time.
SELECT min(coalesce(p.passed_at, %(since)s)), max(l.noticed_at)
FROM wms.lost_offsets AS l
LEFT JOIN wms.passed AS p ON p.cluster_id = l.cluster_id AND p.topic = l.topic AND p.topic_id = l.topic_id
    AND p.partition = l.partition
WHERE l.why = 'topic_made_again' AND l.noticed_at >= %(since)s
GROUP BY l.cluster_id, l.topic, l.topic_id
ORDER BY min(coalesce(p.passed_at, %(since)s))

-- note_ends --
-- What was at the end when it was asked for has been passed when the stored offset has come to it; until then the
-- question stands, and no newer one takes its place, so that a loop that always lags still passes.
INSERT INTO wms.passed AS p (cluster_id, topic, topic_id, partition, end_offset, asked_at, passed_at)
SELECT %(cluster_id)s, %(topic)s, %(topic_id)s, e.partition, e.end_offset, %(asked_at)s,
    CASE WHEN o.next_offset >= e.end_offset THEN %(asked_at)s::timestamptz END
FROM unnest(%(partitions)s::integer[], %(ends)s::bigint[]) AS e (partition, end_offset)
LEFT JOIN wms.offsets AS o ON o.cluster_id = %(cluster_id)s AND o.topic = %(topic)s AND o.topic_id = %(topic_id)s
    AND o.partition = e.partition
ON CONFLICT (cluster_id, topic, topic_id, partition) DO UPDATE
SET (end_offset, asked_at, passed_at) = (
    SELECT CASE WHEN reached THEN EXCLUDED.end_offset ELSE p.end_offset END,
        CASE WHEN reached THEN EXCLUDED.asked_at ELSE p.asked_at END,
        coalesce(EXCLUDED.passed_at, CASE WHEN reached THEN p.asked_at ELSE p.passed_at END)
    FROM (
        SELECT EXCLUDED.passed_at IS NOT NULL OR coalesce(max(o.next_offset), -1) >= p.end_offset AS reached
        FROM wms.offsets AS o
        WHERE o.cluster_id = p.cluster_id AND o.topic = p.topic AND o.topic_id = p.topic_id
            AND o.partition = p.partition
    ) AS stored
)

-- passed_until --
-- Null where one of these partitions was never passed; by the earlier of two clocks.
SELECT CASE WHEN count(p.passed_at) = cardinality(%(partitions)s::integer[])
    THEN least(min(p.passed_at), clock_timestamp()) END
FROM wms.passed AS p
WHERE p.cluster_id = %(cluster_id)s AND p.topic = %(topic)s AND p.topic_id = %(topic_id)s
    AND p.partition = ANY(%(partitions)s)

-- closed_until --
SELECT closed_until FROM wms.closing

-- close_until --
UPDATE wms.closing SET closed_until = %(until)s

-- slots_a_second --
SELECT coalesce(sum(1000000.0 / interval_us), 0)::float8 FROM wms.sites WHERE valid_to = 'infinity'

-- nested_loops --
-- The slots looked up are few beside a day's rows: each by the key, never by reading the day.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true)

-- missing_slots --
-- Expected slots without a row that are to be closed between two instants, and whether one of its messages was rejected.
SELECT s.site_id, s.location, s.site_name, s.spec_digest, s.interval_us, s.splay_us, s.jitter_us, s.max_lateness_us,
    slot.scheduled_at,
    EXISTS (
        SELECT 1 FROM wms.rejects AS j WHERE j.site_id = s.site_id AND j.scheduled_at = slot.scheduled_at
    ) AS rejected
FROM (
    SELECT *, greatest(valid_from, %(since)s - deadline_us * interval '1 microsecond') AS first_at,
        least(valid_to, %(until)s - deadline_us * interval '1 microsecond') AS end_at
    FROM wms.sites
) AS s
CROSS JOIN LATERAL (
    SELECT wms.slot_at(k, s.interval_us, s.splay_us) AS scheduled_at
    FROM generate_series(
        wms.slots_before(s.first_at, s.interval_us, s.splay_us), wms.slots_before(s.end_at, s.interval_us, s.splay_us) - 1
    ) AS k
) AS slot
WHERE s.first_at < s.end_at AND NOT EXISTS (
    SELECT 1 FROM wms.results AS r
    WHERE r.site_id = s.site_id AND r.location = s.location AND r.scheduled_at = slot.scheduled_at
)

-- insert_missed --
-- Never in place of anything. A reason for each that is new.
INSERT INTO wms.results (site_id, location, scheduled_at, site_name, due_at, attempt, outcome, reason, worker,
    spec_digest, schema_version)
SELECT site_id, location, scheduled_at, site_name, due_at, 0, 'missed', reason, worker, spec_digest, schema_version
FROM unnest(%(site_ids)s::uuid[], %(locations)s::text[], %(scheduled)s::timestamptz[], %(names)s::text[],
    %(due)s::timestamptz[], %(reasons)s::text[], %(workers)s::text[], %(digests)s::text[], %(versions)s::integer[])
    AS m (site_id, location, scheduled_at, site_name, due_at, reason, worker, spec_digest, schema_version)
ON CONFLICT DO NOTHING
RETURNING reason

-- expected_by_site --
-- Slots in [since, until), in microseconds' arithmetic; the name is the newest.
SELECT s.site_id, s.location, (array_agg(s.site_name ORDER BY s.valid_from DESC))[1] AS site_name,
    sum(wms.slots_before(s.end_at, s.interval_us, s.splay_us)
        - wms.slots_before(s.first_at, s.interval_us, s.splay_us))::bigint AS slots
FROM (
    SELECT *, greatest(valid_from, %(since)s) AS first_at, least(valid_to, %(until)s) AS end_at FROM wms.sites
) AS s
WHERE s.first_at < s.end_at AND (%(site_id)s::uuid IS NULL OR s.site_id = %(site_id)s)
GROUP BY s.site_id, s.location

-- rows_by_site --
-- Rows in [since, until) by outcome, reason of the missed and skipped, and whether the slot was expected.
SELECT r.site_id, r.location, max(r.site_name) AS site_name, r.outcome,
    CASE WHEN r.outcome IN ('missed', 'skipped') THEN r.reason END AS why, s.site_id IS NOT NULL AS expected,
    count(*) AS slots, count(r.missed_reason) AS late_replacements
FROM wms.results AS r
LEFT JOIN wms.sites AS s ON s.site_id = r.site_id AND s.location = r.location
    AND s.valid_from <= r.scheduled_at AND r.scheduled_at < s.valid_to
    AND ((extract(epoch FROM r.scheduled_at) * 1000000)::bigint - s.splay_us) %% s.interval_us = 0
WHERE r.scheduled_at >= %(since)s AND r.scheduled_at < %(until)s
    AND (%(site_id)s::uuid IS NULL OR r.site_id = %(site_id)s)
GROUP BY 1, 2, 4, 5, 6

-- open_by_site --
-- Expected slots in [since, until) without a row that are not to be closed yet.
SELECT s.site_id, s.location, count(*) AS slots
FROM (
    SELECT *,
        greatest(valid_from, %(since)s, coalesce(
            (SELECT closed_until FROM wms.closing) - deadline_us * interval '1 microsecond', '-infinity'
        )) AS first_at,
        least(valid_to, %(until)s) AS end_at
    FROM wms.sites
    WHERE %(site_id)s::uuid IS NULL OR site_id = %(site_id)s
) AS s
CROSS JOIN LATERAL (
    SELECT wms.slot_at(k, s.interval_us, s.splay_us) AS scheduled_at
    FROM generate_series(
        wms.slots_before(s.first_at, s.interval_us, s.splay_us), wms.slots_before(s.end_at, s.interval_us, s.splay_us) - 1
    ) AS k
) AS slot
WHERE s.first_at < s.end_at AND NOT EXISTS (
    SELECT 1 FROM wms.results AS r
    WHERE r.site_id = s.site_id AND r.location = s.location AND r.scheduled_at = slot.scheduled_at
)
GROUP BY s.site_id, s.location

-- redeliveries_by_site --
SELECT site_id, location, sum(dropped)::bigint AS dropped
FROM wms.redeliveries
WHERE day >= %(first_day)s AND day <= %(last_day)s AND (%(site_id)s::uuid IS NULL OR site_id = %(site_id)s)
GROUP BY site_id, location

-- kept_days --
SELECT DISTINCT day FROM wms.days WHERE day >= %(first_day)s AND day <= %(last_day)s ORDER BY day

-- kept_balances --
SELECT site_id, location, site_name, expected, up, down, skipped, skipped_for, missed, open, extra, late_replacements,
    redeliveries
FROM wms.days
WHERE day = ANY(%(days)s) AND (%(site_id)s::uuid IS NULL OR site_id = %(site_id)s)

-- keep_balance --
INSERT INTO wms.days (day, site_id, location, site_name, expected, up, down, skipped, skipped_for, missed, open, extra,
    late_replacements, redeliveries)
VALUES (%(day)s, %(site_id)s, %(location)s, %(site_name)s, %(expected)s, %(up)s, %(down)s, %(skipped)s, %(skipped_for)s,
    %(missed)s, %(open)s, %(extra)s, %(late_replacements)s, %(redeliveries)s)
ON CONFLICT (day, site_id, location) DO UPDATE
SET site_name = EXCLUDED.site_name, expected = EXCLUDED.expected, up = EXCLUDED.up, down = EXCLUDED.down,
    skipped = EXCLUDED.skipped, skipped_for = EXCLUDED.skipped_for, missed = EXCLUDED.missed, open = EXCLUDED.open, extra = EXCLUDED.extra,
    late_replacements = EXCLUDED.late_replacements, redeliveries = EXCLUDED.redeliveries

-- scheduled_names --
-- Each site that has a schedule, or had one on a day that is kept, with its newest name.
SELECT DISTINCT ON (site_id) site_id, site_name FROM wms.sites ORDER BY site_id, valid_from DESC

-- balanced_names --
-- Each site that a dropped day's balance has, with its newest name; reads them all.
SELECT DISTINCT ON (site_id) site_id, site_name FROM wms.days ORDER BY site_id, day DESC

-- one_snapshot --
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY

-- running_sites --
-- The schedule as beat announced it last; a site seen from several locations once.
SELECT DISTINCT ON (site_id) site_id, site_name, interval_us, jitter_us, spec, spec_digest
FROM wms.sites
WHERE valid_to = 'infinity'
ORDER BY site_id, location
