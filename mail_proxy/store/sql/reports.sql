-- tenants_due: each tenant with something to be told, skipping from one to the next
WITH RECURSIVE due(tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE is_due = 1
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e WHERE e.is_due = 1 AND e.tenant_id > due.tenant_id)
    FROM due WHERE due.tenant_id IS NOT NULL
)
SELECT tenant_id FROM due WHERE tenant_id IS NOT NULL;

-- batch: what one tenant is to be told next, in order
SELECT e.event_id, e.event_type, e.event_ts, e.event_data, m.id, m.tenant_id, m.pk, m.account_id, m.priority,
    m.metadata
FROM events e JOIN messages m ON m.seq = e.seq
WHERE e.is_due = 1 AND e.tenant_id = :tenant_id AND e.event_id > :after
ORDER BY e.event_id LIMIT :limit;

-- acknowledge: the application has it
UPDATE events SET is_due = 0, reported_ts = :now WHERE event_id = :event_id;

-- acknowledge_message: and its message was told of
UPDATE messages SET reported_ts = :now
WHERE seq = (SELECT e.seq FROM events e WHERE e.event_id = :event_id)
    AND NOT EXISTS (SELECT 1 FROM events o WHERE o.seq = messages.seq AND o.is_due > 0);

-- pending: how many events of a tenant are still to be told
SELECT COUNT(*) AS n FROM events WHERE is_due = 1 AND tenant_id = :tenant_id;

-- synced: the tenant's application took a post
INSERT INTO sync_state (tenant_id, last_sync_ts, next_try_ts, failures, last_error)
SELECT id, :now, NULL, 0, NULL FROM tenants WHERE id = :tenant_id
FOR KEY SHARE -- @postgres: the tenant cannot go while this is written
ON CONFLICT (tenant_id) DO UPDATE SET last_sync_ts = excluded.last_sync_ts, next_try_ts = NULL, failures = 0,
    last_error = NULL;

-- sync_failed: it did not, and when it is asked again
INSERT INTO sync_state (tenant_id, last_sync_ts, next_try_ts, failures, last_error)
SELECT id, NULL, :next_try_ts, 1, :last_error FROM tenants WHERE id = :tenant_id
FOR KEY SHARE -- @postgres: the tenant cannot go while this is written
ON CONFLICT (tenant_id) DO UPDATE SET next_try_ts = excluded.next_try_ts, failures = sync_state.failures + 1,
    last_error = excluded.last_error;

-- failing: the tenants whose application did not take the last post
SELECT tenant_id FROM sync_state WHERE failures > 0;

-- sync_states: how the reporting to each tenant goes
SELECT t.id, t.name, t.active, t.client_base_url, s.last_sync_ts, s.next_try_ts, s.failures, s.last_error,
    s.beat_at, s.dnd_until, s.again_ts
FROM tenants t LEFT JOIN sync_state s ON s.tenant_id = t.id ORDER BY t.id;

-- pending_of_each: how many events are still to be told, of the tenants that have any
SELECT tenant_id, COUNT(*) AS n FROM events WHERE is_due = 1 GROUP BY tenant_id;

-- span: the first and the last event there is
SELECT (SELECT MIN(event_id) FROM events) AS first, (SELECT MAX(event_id) FROM events) AS last;

-- event_from: the first event from a number on
SELECT event_id, event_ts FROM events WHERE event_id >= :event_id ORDER BY event_id LIMIT 1;

-- stretch: the number of the last of so many events, going on after one
SELECT MAX(event_id) AS last FROM (
    SELECT event_id FROM events WHERE event_id > :after AND event_id <= :last ORDER BY event_id LIMIT :limit
) AS stretch;

-- replay: a stretch of what was told is to be told again
UPDATE events SET is_due = 1, reported_ts = NULL
WHERE event_id > :after AND event_id <= :last AND tenant_id = :tenant_id AND event_ts >= :since AND is_due = 0
    AND reported_ts IS NOT NULL
RETURNING event_id;

-- replay_messages: and its messages were not all told of; they stay as long as if it had just happened
UPDATE messages SET reported_ts = NULL, updated_at = :now
WHERE reported_ts IS NOT NULL AND seq IN (
    SELECT seq FROM events WHERE is_due = 1 AND tenant_id = :tenant_id AND event_id > :after AND event_id <= :last
);
