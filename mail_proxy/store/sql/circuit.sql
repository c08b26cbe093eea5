-- state: whether an account rests
SELECT rest, resting_until, ill_since, last_error FROM accounts WHERE lane = :lane;

-- lock: whether an account rests, and what has probed it (SQLite has one writer anyway)
SELECT rest, resting_until, probe, updated_at FROM accounts WHERE lane = :lane
FOR NO KEY UPDATE; -- @postgres

-- open: an account has failed and rests
UPDATE accounts SET rest = :rest, resting_until = :until, last_error = :reason,
    ill_since = COALESCE(ill_since, CAST(:now AS DOUBLE PRECISION))
WHERE lane = :lane;

-- close: an account works again, if it was not changed meanwhile and does not rest
UPDATE accounts SET rest = 0, resting_until = NULL, ill_since = NULL, probe = NULL, last_error = NULL
WHERE lane = :lane AND updated_at = :updated_at AND rest > 0
    AND NOT (resting_until - rest - :slack <= :now AND :now < resting_until)
RETURNING lane;

-- prober: the message that has probed last, and its place in line
SELECT status, priority FROM messages WHERE seq = :seq;

-- probe: this message tries the account
UPDATE accounts SET probe = :seq WHERE lane = :lane;

-- ailing: the accounts that rest or are probed
SELECT lane, tenant_id, id, last_error, rest, resting_until, ill_since FROM accounts
WHERE rest > 0 ORDER BY tenant_id, id;

-- unparked: those of them that rest, with a head that does not say yet that it waits
SELECT a.lane, a.tenant_id, a.id, a.last_error, a.rest, a.resting_until, a.ill_since FROM accounts a
WHERE a.rest > 0 AND a.resting_until > :now AND EXISTS (SELECT 1
    FROM (SELECT m.parked_for FROM messages m
        WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = a.lane
        ORDER BY m.priority, m.seq LIMIT :heads) AS head
    WHERE head.parked_for IS NULL OR head.parked_for <> 'account');

-- overdue: those of them for which a head of some priority has waited since; what does not say so, since it last changed
SELECT a.lane, a.tenant_id, a.id, a.last_error, a.rest, a.resting_until, a.ill_since FROM accounts a
WHERE a.rest > 0 AND a.resting_until > :now AND a.ill_since <= :before AND EXISTS (SELECT 1
    FROM (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS each
    WHERE EXISTS (SELECT 1
        FROM (SELECT CASE WHEN m.parked_for = 'account' THEN m.parked_since ELSE m.updated_at END AS since
            FROM messages m
            WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = a.lane AND m.priority = each.priority
            ORDER BY m.seq LIMIT :heads) AS head
        WHERE head.since <= :before));

-- waited_since: the heads of a lane's priority that have waited since
SELECT head.seq, head.tenant_id, head.recipients
FROM (SELECT m.seq, m.tenant_id, m.recipients,
        CASE WHEN m.parked_for = 'account' THEN m.parked_since ELSE m.updated_at END AS since
    FROM messages m
    WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane AND m.priority = :priority
    ORDER BY m.seq LIMIT :limit) AS head
WHERE head.since <= :before;

-- waited_since @postgres: the same; what somebody else changes now is left to him
WITH head AS MATERIALIZED (
    SELECT m.seq, m.tenant_id, m.recipients,
        CASE WHEN m.parked_for = 'account' THEN m.parked_since ELSE m.updated_at END AS since
    FROM messages m
    WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane AND m.priority = :priority
    ORDER BY m.seq LIMIT :limit
    FOR UPDATE OF m SKIP LOCKED)
SELECT seq, tenant_id, recipients FROM head WHERE since <= :before;
