-- facts: a message with its tenant, the account whose queue it is in, and the node that has it in hand
SELECT m.*, t.active AS is_tenant_active, a.id AS known_account, a.rest, a.resting_until, a.ill_since,
    a.last_error AS account_error, n.name AS node_name, n.seen_at AS node_seen_at
FROM messages m
JOIN tenants t ON t.id = m.tenant_id
LEFT JOIN accounts a ON a.lane = m.lane
LEFT JOIN nodes n ON n.node_id = m.lease_owner
WHERE m.tenant_id = :tenant_id AND m.id = :id;

-- suspensions: which of the tenant's hold a message of this batch
SELECT batch_code, created_at FROM suspensions
WHERE tenant_id = :tenant_id AND batch_code IN ('*', CAST(:batch_code AS TEXT)) ORDER BY batch_code;

-- last_put: what let a message wait last
SELECT event_type, event_ts, description FROM events
WHERE seq = :seq AND event_type IN ('queued', 'replaced', 'deferred') ORDER BY event_id DESC LIMIT 1;

-- ahead: how many go before a message in the queue of its account, counted up to a number
SELECT COUNT(*) AS n FROM (
    SELECT 1 AS one FROM messages
    WHERE status = 'pending' AND is_held = 0 AND lane = :lane AND (priority, seq) < (:priority, :seq) LIMIT :most
) AS line;
