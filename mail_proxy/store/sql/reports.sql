-- failing: the tenants whose application did not take the last post, and when it is asked again
SELECT tenant_id, next_try_ts, last_error FROM sync_state WHERE failures > 0;

-- tenants_untold: each tenant with something due, refused or given up, as asked for, skipping from one to the next
WITH RECURSIVE due(tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE :due = 1 AND is_due = 1
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e WHERE e.is_due = 1 AND e.tenant_id > due.tenant_id)
    FROM due WHERE due.tenant_id IS NOT NULL
), refused(tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE :refused = 1 AND is_due = 2
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e WHERE e.is_due = 2 AND e.tenant_id > refused.tenant_id)
    FROM refused WHERE refused.tenant_id IS NOT NULL
), given_up(tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE :given_up = 1 AND is_due = -1
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e WHERE e.is_due = -1 AND e.tenant_id > given_up.tenant_id)
    FROM given_up WHERE given_up.tenant_id IS NOT NULL
)
SELECT tenant_id FROM due WHERE tenant_id IS NOT NULL
UNION SELECT tenant_id FROM refused WHERE tenant_id IS NOT NULL
UNION SELECT tenant_id FROM given_up WHERE tenant_id IS NOT NULL;

-- untold: a stretch of what a tenant was not told of, in order and after an event: due, refused or given up
-- (not by tenant_id = :tenant_id: PostgreSQL would rather read through all events in order than the index of these)
SELECT event_id, event_ts FROM (
    SELECT event_id, event_ts FROM (SELECT event_id, event_ts FROM events
        WHERE :due = 1 AND is_due = 1 AND (tenant_id, event_id) > (:tenant_id, :after) AND tenant_id <= :tenant_id
        ORDER BY tenant_id, event_id LIMIT :limit) AS due
    UNION ALL
    SELECT event_id, event_ts FROM (SELECT event_id, event_ts FROM events
        WHERE :refused = 1 AND is_due = 2 AND (tenant_id, event_id) > (:tenant_id, :after) AND tenant_id <= :tenant_id
        ORDER BY tenant_id, event_id LIMIT :limit) AS refused
    UNION ALL
    SELECT event_id, event_ts FROM (SELECT event_id, event_ts FROM events
        WHERE :given_up = 1 AND is_due = -1 AND (tenant_id, event_id) > (:tenant_id, :after) AND tenant_id <= :tenant_id
        ORDER BY tenant_id, event_id LIMIT :limit) AS given_up
) AS untold
ORDER BY event_id LIMIT :limit;

-- entries: what these events (a JSON list) tell, in order; what is due waits for what was refused of its message
SELECT e.event_id, e.event_type, e.event_ts, e.event_data, e.is_due, e.refusals, m.id, m.tenant_id, m.pk,
    m.account_id, m.priority, m.metadata,
    CASE WHEN e.is_due > 0 THEN
        (SELECT MAX(r.again_ts) FROM events r WHERE r.is_due = 2 AND r.seq = e.seq)
    END AS again_ts
FROM events e JOIN messages m ON m.seq = e.seq
WHERE e.event_id IN NUMBERS(:event_ids)
ORDER BY e.event_id;

-- sync_states: how the reporting to each tenant goes
SELECT t.id, t.name, t.active, t.client_base_url, s.last_sync_ts, s.next_try_ts, s.failures, s.last_error,
    s.beat_at, s.dnd_until, s.again_ts
FROM tenants t LEFT JOIN sync_state s ON s.tenant_id = t.id ORDER BY t.id;

-- pending_of_each: how many events are due, of the tenants that have any
SELECT tenant_id, COUNT(*) AS n FROM events WHERE is_due = 1 GROUP BY tenant_id;

-- refused_of_each: how many events were refused, and how many of the same messages are due and wait with them
SELECT r.tenant_id, SUM(r.refused) AS refused,
    SUM((SELECT COUNT(CASE WHEN e.is_due = 1 THEN 1 END) FROM events e WHERE e.seq = r.seq)) AS waiting
FROM (SELECT tenant_id, seq, COUNT(*) AS refused FROM events WHERE is_due = 2 GROUP BY tenant_id, seq) AS r
GROUP BY r.tenant_id;

-- span: the first and the last event there is
SELECT (SELECT MIN(event_id) FROM events) AS first, (SELECT MAX(event_id) FROM events) AS last;

-- event_from: the first event from a number on
SELECT event_id, event_ts FROM events WHERE event_id >= :event_id ORDER BY event_id LIMIT 1;

-- stretch: the number of the last of so many events, going on after one
SELECT MAX(event_id) AS last FROM (
    SELECT event_id FROM events WHERE event_id > :after AND event_id <= :last ORDER BY event_id LIMIT :limit
) AS stretch;

-- replay: what was told, refused or given up of a stretch is to be told; of one tenant, or of all
UPDATE events SET is_due = 1, refusals = 0, again_ts = NULL, reported_ts = NULL
WHERE event_id > :after AND event_id <= :last AND event_ts >= :since
    AND (CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id)
    AND (is_due = 2 OR is_due = -1 OR (is_due = 0 AND reported_ts IS NOT NULL))
RETURNING seq;

-- replay_failed: what was refused or given up of these (a JSON list) is to be told
UPDATE events SET is_due = 1, refusals = 0, again_ts = NULL
WHERE event_id IN NUMBERS(:event_ids) AND (is_due = 2 OR is_due = -1)
RETURNING seq;

-- replay_messages: these (a JSON list of seq) were not all told of; they stay as long as if it had just happened
UPDATE messages SET reported_ts = NULL, updated_at = :now WHERE seq IN NUMBERS(:seqs);

-- hold: keep everybody else from these (a JSON list of events); what is asked next sees what they have done
SELECT event_id FROM events WHERE event_id IN NUMBERS(:event_ids)
ORDER BY event_id FOR NO KEY UPDATE; -- @postgres

-- give_up: nobody tries any more to tell these (a JSON list), if nothing has happened to their messages since
UPDATE events SET is_due = -1, again_ts = NULL
WHERE event_id IN NUMBERS(:event_ids) AND is_due > 0
    AND EXISTS (SELECT 1 FROM messages m WHERE m.seq = events.seq AND m.updated_at <= :before)
RETURNING event_id;
