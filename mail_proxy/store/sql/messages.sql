-- insert_event: something happened
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, event_data, is_due)
VALUES (:seq, :tenant_id, :event_type, :event_ts, :description, :event_data, :is_due);

-- get: one message by the application's id
SELECT * FROM messages WHERE tenant_id = :tenant_id AND id = :id;

-- by_id: every tenant's message of this id
SELECT * FROM messages WHERE id = :id ORDER BY tenant_id LIMIT 2;

-- payload: what it carries
SELECT kind, content FROM payloads WHERE seq = :seq;

-- payloads: what these carry (a JSON list of seq)
SELECT seq, kind, content FROM payloads WHERE seq IN (SELECT value FROM json_each(:seqs));

-- payloads @postgres: what these carry (a JSON list of seq)
SELECT seq, kind, content FROM payloads
WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json)));

-- events: what happened to it, in order
SELECT event_id, event_type, event_ts, description, event_data FROM events WHERE seq = :seq ORDER BY event_id;

-- page: newest first, below a place in the queue
SELECT * FROM messages
WHERE seq < :below
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:account_id AS TEXT) IS NULL OR account_id = :account_id)
    AND (CAST(:batch_code AS TEXT) IS NULL OR batch_code = :batch_code)
    AND created_at >= :since AND created_at < :until
ORDER BY seq DESC LIMIT :limit;

-- page_of_tenant: the same within one tenant
SELECT * FROM messages
WHERE tenant_id = :tenant_id AND seq < :below
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:account_id AS TEXT) IS NULL OR account_id = :account_id)
    AND (CAST(:batch_code AS TEXT) IS NULL OR batch_code = :batch_code)
    AND created_at >= :since AND created_at < :until
ORDER BY seq DESC LIMIT :limit;

-- page_waiting: the same of what has still to leave, found without reading through what has left
SELECT * FROM messages
WHERE seq IN (
        SELECT seq FROM messages WHERE status = 'pending' AND is_held = 0
        UNION ALL SELECT seq FROM messages WHERE status = 'pending' AND is_held = 1
        UNION ALL SELECT seq FROM messages WHERE status = 'deferred'
        UNION ALL SELECT seq FROM messages WHERE status = 'sending')
    AND seq < :below
    AND (CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:account_id AS TEXT) IS NULL OR account_id = :account_id)
    AND (CAST(:batch_code AS TEXT) IS NULL OR batch_code = :batch_code)
    AND created_at >= :since AND created_at < :until
ORDER BY seq DESC LIMIT :limit;

-- waiting: how many have still to leave, by tenant, account and status
SELECT tenant_id, account_id, status, COUNT(*) AS n FROM messages WHERE status = 'pending' AND is_held = 0
GROUP BY tenant_id, account_id, status
UNION ALL
SELECT tenant_id, account_id, status, COUNT(*) AS n FROM messages WHERE status = 'pending' AND is_held = 1
GROUP BY tenant_id, account_id, status
UNION ALL
SELECT tenant_id, account_id, status, COUNT(*) AS n FROM messages WHERE status = 'deferred'
GROUP BY tenant_id, account_id, status
UNION ALL
SELECT tenant_id, account_id, status, COUNT(*) AS n FROM messages WHERE status = 'sending'
GROUP BY tenant_id, account_id, status;

-- totals: how many of each status there are
SELECT status, COUNT(*) AS n FROM messages
WHERE (CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id) GROUP BY status;

-- waiting_of_lane: how many of an account have still to leave
SELECT (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'pending' AND is_held = 0)
    + (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'pending' AND is_held = 1)
    + (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'deferred')
    + (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'sending') AS n;

-- fail_lane: what waits for an account that goes becomes an error
UPDATE messages SET status = 'error', error = :error, error_ts = :now, updated_at = :now, deferred_ts = NULL,
    is_held = 0
WHERE seq IN (
        SELECT seq FROM messages WHERE lane = :lane AND status = 'pending' AND is_held = 0
        UNION ALL SELECT seq FROM messages WHERE lane = :lane AND status = 'pending' AND is_held = 1
        UNION ALL SELECT seq FROM messages WHERE lane = :lane AND status = 'deferred')
    AND status IN ('pending', 'deferred')
RETURNING seq, tenant_id;
