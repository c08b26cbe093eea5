-- of_tenant: those of a tenant's messages that have these ids (a JSON list); they stay as they are
SELECT m.seq, m.pk, m.tenant_id, m.id, m.status, m.sent_ts,
    CASE WHEN EXISTS (SELECT 1 FROM tenants t WHERE t.id = m.tenant_id AND t.client_base_url IS NOT NULL)
        OR EXISTS (SELECT 1 FROM sync_state s WHERE s.tenant_id = m.tenant_id AND s.beat_at IS NOT NULL)
        THEN 1 ELSE 0 END AS has_address
FROM messages m
WHERE m.tenant_id = :tenant_id AND m.id IN TEXTS(:ids)
ORDER BY m.seq
FOR UPDATE OF m; -- @postgres

-- of_anybody: the same, whosever they are
SELECT m.seq, m.pk, m.tenant_id, m.id, m.status, m.sent_ts,
    CASE WHEN EXISTS (SELECT 1 FROM tenants t WHERE t.id = m.tenant_id AND t.client_base_url IS NOT NULL)
        OR EXISTS (SELECT 1 FROM sync_state s WHERE s.tenant_id = m.tenant_id AND s.beat_at IS NOT NULL)
        THEN 1 ELSE 0 END AS has_address
FROM messages m
WHERE m.id IN TEXTS(:ids)
ORDER BY m.seq
FOR UPDATE OF m; -- @postgres

-- due: of which of these (a JSON list of seq) somebody is still to be told
SELECT DISTINCT seq FROM events WHERE seq IN NUMBERS(:seqs) AND is_due > 0;

-- known: which of these ids (a JSON list) any tenant has
SELECT DISTINCT id FROM messages WHERE id IN TEXTS(:ids);

-- delete: these (a JSON list of seq), with what they carry and all that happened to them
DELETE FROM messages WHERE seq IN NUMBERS(:seqs);

-- owners: whose messages there may be, and whether there is somebody to tell; servers plan posts to whom they know
SELECT t.id, CASE WHEN t.client_base_url IS NOT NULL
    OR EXISTS (SELECT 1 FROM sync_state s WHERE s.tenant_id = t.id AND s.beat_at IS NOT NULL)
    THEN 1 ELSE 0 END AS has_address
FROM tenants t ORDER BY t.id;

-- told_before: some of a tenant's messages that were told of by a time, after a place
SELECT seq, reported_ts AS moment, size FROM messages
WHERE tenant_id = :tenant_id AND reported_ts IS NOT NULL AND status IN ('sent', 'error', 'bounced')
    AND reported_ts <= :before AND (reported_ts, seq) > (:moment, :seq)
ORDER BY reported_ts, seq LIMIT :limit
FOR UPDATE SKIP LOCKED; -- @postgres: not those that change now

-- untold_before: some that were not told of since a time, after a place
SELECT seq, updated_at AS moment, size FROM messages
WHERE tenant_id = :tenant_id AND reported_ts IS NULL AND status IN ('sent', 'error', 'bounced')
    AND updated_at <= :before AND (updated_at, seq) > (:moment, :seq)
ORDER BY updated_at, seq LIMIT :limit
FOR UPDATE SKIP LOCKED; -- @postgres: not those that change now

-- delete_done: those of these (a JSON list of seq) that have left, and of which nobody is to be told any more
DELETE FROM messages
WHERE seq IN NUMBERS(:seqs) AND status IN ('sent', 'error', 'bounced')
    AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = messages.seq
        AND ((e.is_due <> 0 AND e.event_ts > :untold_before)
            OR (e.is_due = 0 AND COALESCE(e.reported_ts, e.event_ts) > :before)))
RETURNING seq;
