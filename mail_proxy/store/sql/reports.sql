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
