-- of_lane: the rate limits that bind an account, its own and its tenant's; 0 is none
SELECT a.tenant_id, a.limit_per_minute, a.limit_per_hour, a.limit_per_day, a.limit_behavior,
    t.rate_hourly, t.rate_daily
FROM accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE a.lane = :lane AND t.active = 1;

-- lock: let nobody else count what may be sent until this claim is decided (SQLite has one writer anyway)
SELECT id FROM tenants WHERE id = :tenant_id;

-- lock @postgres: let nobody else count what may be sent until this claim is decided; intake goes on
SELECT id FROM tenants WHERE id = :tenant_id FOR NO KEY UPDATE;

-- used_of_lane: what an account has sent, or is sending, since
SELECT COUNT(*) AS n FROM send_log WHERE lane = :lane AND sent_at > :since;

-- used_of_tenant: what a tenant has sent, or is sending, since
SELECT COUNT(*) AS n FROM send_log WHERE tenant_id = :tenant_id AND sent_at > :since;

-- leaver_of_lane: the sending that has to leave the window for a slot to be free
SELECT sent_at FROM send_log WHERE lane = :lane AND sent_at > :since
ORDER BY sent_at LIMIT 1 OFFSET :skip;

-- leaver_of_tenant: the same for a tenant
SELECT sent_at FROM send_log WHERE tenant_id = :tenant_id AND sent_at > :since
ORDER BY sent_at LIMIT 1 OFFSET :skip;

-- reserve: a claimed message takes its slot
INSERT INTO send_log (seq, tenant_id, lane, sent_at) VALUES (:seq, :tenant_id, :lane, :now);

-- confirm: it was really sent, now
UPDATE send_log SET sent_at = :now
WHERE seq = :seq AND sent_at = (SELECT MAX(s.sent_at) FROM send_log s WHERE s.seq = :seq);

-- cancel: it was not sent, its slot is free
DELETE FROM send_log
WHERE seq = :seq AND sent_at = (SELECT MAX(s.sent_at) FROM send_log s WHERE s.seq = :seq);

-- forget: what no window reaches any more
DELETE FROM send_log WHERE sent_at < :before;

-- reject: what is over a limit and is not to wait
UPDATE messages SET status = 'error', error = :error, error_ts = :now, updated_at = :now
WHERE seq IN (
    SELECT m.seq FROM messages m
    WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane
        AND NOT EXISTS (SELECT 1 FROM suspensions s
            WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    ORDER BY m.priority, m.seq LIMIT :limit)
RETURNING seq, tenant_id;

-- reject @postgres: the same; chosen apart, as in queue.claim
WITH first AS MATERIALIZED (
    SELECT m.seq FROM messages m
    WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane
        AND NOT EXISTS (SELECT 1 FROM suspensions s
            WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    ORDER BY m.priority, m.seq LIMIT :limit
    FOR UPDATE OF m SKIP LOCKED)
UPDATE messages SET status = 'error', error = :error, error_ts = :now, updated_at = :now
WHERE seq IN (SELECT seq FROM first)
RETURNING seq, tenant_id;
