-- promote: scheduled messages whose time has come join the queue
UPDATE messages SET status = 'pending', updated_at = :now
WHERE seq IN (SELECT seq FROM messages WHERE status = 'deferred' AND deferred_ts <= :now
    ORDER BY deferred_ts LIMIT :limit)
RETURNING seq;

-- promote @postgres: scheduled messages whose time has come join the queue
WITH due AS MATERIALIZED (
    SELECT seq FROM messages WHERE status = 'deferred' AND deferred_ts <= :now
    ORDER BY deferred_ts LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE messages SET status = 'pending', updated_at = :now
WHERE seq IN (SELECT seq FROM due)
RETURNING seq;

-- look: all that there is to do, in one row: each account with a message ready, skipping from one to the next, with its
-- best priority, how it rests and whether it is gone; when more is due, when a lease runs out; what the instance is;
-- when these (a JSON list of lanes) were changed last
WITH RECURSIVE ready(lane) AS (
    SELECT MIN(lane) FROM messages WHERE status = 'pending' AND is_held = 0
    UNION ALL
    SELECT (SELECT MIN(m.lane) FROM messages m WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane > ready.lane)
    FROM ready WHERE ready.lane IS NOT NULL
)
SELECT (SELECT
        json_group_array(json_array( -- @sqlite
        CAST(COALESCE(json_agg(json_build_array( -- @postgres
            ready.lane,
            (SELECT MIN(m.priority) FROM messages m
                WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = ready.lane),
            CASE WHEN a.lane IS NULL THEN 1 ELSE 0 END, COALESCE(a.rest, 0.0),
            CASE WHEN a.rest > 0 THEN printf('%!.17g', a.resting_until) END)) -- @sqlite
            a.resting_until)), '[]') AS TEXT) -- @postgres
    FROM ready
    LEFT JOIN accounts a ON a.lane = ready.lane
    LEFT JOIN tenants t ON t.id = a.tenant_id
    WHERE ready.lane IS NOT NULL
        AND (a.lane IS NULL OR (t.active = 1
            AND NOT EXISTS (SELECT 1 FROM suspensions s WHERE s.tenant_id = t.id AND s.batch_code = '*')))) AS lanes,
    (SELECT MIN(deferred_ts) FROM messages WHERE status = 'deferred') AS due,
    (SELECT MIN(lease_until) FROM messages WHERE status = 'sending') AS expiry,
    (SELECT value FROM settings WHERE key = :active) AS active,
    (SELECT
        json_group_array(json_array(v.lane, printf('%!.17g', v.updated_at))) -- @sqlite
        CAST(COALESCE(json_agg(json_build_array(v.lane, v.updated_at)), '[]') AS TEXT) -- @postgres
    FROM accounts v WHERE v.lane IN NUMBERS(:in_hand)) AS changes;

-- pick: the first messages of a lane after a place in line, with small contents of fields, all in one row: see outcomes.held
SELECT
    json_group_array(json_array( -- @sqlite
    CAST(COALESCE(json_agg(json_build_array( -- @postgres
        seq, pk, tenant_id, id, account_id, priority, recipients, envelope_from, message_id, retry_count, size,
        printf('%!.17g', created_at), is_unknown, parked_for, -- @sqlite
        CASE WHEN parked_since IS NOT NULL THEN printf('%!.17g', parked_since) END, content)) -- @sqlite
        created_at, is_unknown, parked_for, parked_since, content)), '[]') AS TEXT) -- @postgres
    AS picked
FROM (
    SELECT m.*, (SELECT
            CAST(p.content AS TEXT) -- @sqlite
            convert_from(p.content, 'UTF8') -- @postgres
        FROM payloads p
        WHERE p.seq = m.seq AND p.kind = 'fields' AND m.size <= :read_along) AS content
    FROM messages m
    WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane AND (m.priority, m.seq) > (:priority, :seq)
        AND EXISTS (SELECT 1 FROM accounts a JOIN tenants t ON t.id = a.tenant_id
            WHERE a.lane = :lane AND t.active = 1)
        AND NOT EXISTS (SELECT 1 FROM suspensions s
            WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    ORDER BY m.priority, m.seq LIMIT :limit
    FOR UPDATE OF m SKIP LOCKED -- @postgres: nobody else gets them
) AS first;

-- take: put these (a JSON list of seq) under a lease
UPDATE messages SET status = 'sending', lease_owner = :owner, lease_until = :until, final_at = NULL,
    updated_at = :now
WHERE seq IN NUMBERS(:seqs);

-- renew: keep what this node is sending (a JSON list of seq)
UPDATE messages SET lease_until = :until
WHERE seq IN NUMBERS(:seqs) AND lease_owner = :owner
RETURNING seq;

-- release: what of these (a JSON list of seq) was claimed and not begun goes back to its place
UPDATE messages SET status = 'pending', lease_owner = NULL, lease_until = NULL, updated_at = :now
WHERE seq IN NUMBERS(:seqs) AND lease_owner = :owner AND final_at IS NULL
RETURNING seq, tenant_id;

-- orphans: what dead nodes left: their leases have run out
SELECT m.seq, m.tenant_id, m.account_id, m.final_at, m.retry_count, a.on_unknown
FROM messages m LEFT JOIN accounts a ON a.lane = m.lane
WHERE m.status = 'sending' AND m.lease_until <= :now
ORDER BY m.lease_until LIMIT :limit
FOR UPDATE OF m SKIP LOCKED; -- @postgres

-- orphans_at_start: what a node that starts held itself before it died, leases or not
SELECT m.seq, m.tenant_id, m.account_id, m.final_at, m.retry_count, a.on_unknown
FROM messages m LEFT JOIN accounts a ON a.lane = m.lane
WHERE m.status = 'sending' AND m.lease_owner = :owner
ORDER BY m.lease_until LIMIT :limit
FOR UPDATE OF m SKIP LOCKED; -- @postgres

-- reclaim: an orphan goes back to the queue, or waits for a person; what was unknown before stays so
UPDATE messages SET status = :status, deferred_ts = :deferred_ts, lease_owner = NULL, lease_until = NULL,
    final_at = NULL, retry_count = :retry_count,
    is_unknown = CASE WHEN :is_unknown = 1 THEN 1 ELSE is_unknown END,
    last_error = COALESCE(CAST(:last_error AS TEXT), last_error), parked_for = NULL, parked_since = NULL,
    reported_ts = CASE WHEN :is_unknown = 1 THEN NULL ELSE reported_ts END, updated_at = :now
WHERE seq = :seq AND status = 'sending';
