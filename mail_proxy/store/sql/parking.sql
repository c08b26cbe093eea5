-- heads: the first of a lane that wait and are not suspended, in order
SELECT m.seq, m.tenant_id, m.updated_at, m.retry_count, m.parked_for, m.parked_since, m.deferred_ts FROM messages m
WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane
    AND NOT EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
ORDER BY m.priority, m.seq LIMIT :limit
FOR UPDATE OF m SKIP LOCKED; -- @postgres: what somebody else changes now is left to him

-- park: say what a message waits for in its place, and about when it will go
UPDATE messages SET parked_for = :parked_for, parked_since = :parked_since, deferred_ts = :until, updated_at = :now,
    reported_ts = CASE WHEN :is_news = 1 THEN NULL ELSE reported_ts END
WHERE seq = :seq;
