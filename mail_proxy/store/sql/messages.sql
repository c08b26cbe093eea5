-- allocate: the next places in the queue
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) + i AS seq FROM n;

-- allocate @postgres: the next places in the queue
SELECT nextval(pg_get_serial_sequence('messages', 'seq')) AS seq FROM generate_series(1, CAST(:count AS INTEGER));

-- existing: which of these ids (a JSON list) the tenant has used, and what became of them
SELECT seq, id, status, is_unknown, recipients FROM messages
WHERE tenant_id = :tenant_id AND id IN (SELECT value FROM json_each(:ids));

-- existing @postgres: which of these ids (a JSON list) the tenant has used, and what became of them
SELECT seq, id, status, is_unknown, recipients FROM messages
WHERE tenant_id = :tenant_id AND id IN (SELECT value FROM json_array_elements_text(CAST(:ids AS json)))
ORDER BY seq
FOR UPDATE;

-- insert: a new message's state
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    envelope_from, message_id, metadata, is_pec, size, created_at, updated_at, deferred_ts)
VALUES (:seq, :pk, :tenant_id, :id, :account_id, :lane, :status, :priority, :batch_code, :recipients,
    :envelope_from, :message_id, :metadata, :is_pec, :size, :now, :now, :deferred_ts);

-- insert_payload: a new message's content
INSERT INTO payloads (seq, kind, content) VALUES (:seq, :kind, :payload);

-- replace: a message submitted anew starts afresh in its old place
UPDATE messages SET pk = :pk, account_id = :account_id, lane = :lane, status = :status,
    priority = :priority, batch_code = :batch_code, recipients = :recipients,
    envelope_from = :envelope_from, message_id = :message_id, metadata = :metadata, is_pec = :is_pec,
    size = :size, retry_count = 0, updated_at = :now, deferred_ts = :deferred_ts, lease_owner = NULL,
    lease_until = NULL, final_at = NULL, sent_ts = NULL, error_ts = NULL, error = NULL, last_error = NULL,
    reported_ts = NULL
WHERE seq = :seq;

-- replace_payload: its new content
UPDATE payloads SET kind = :kind, content = :payload WHERE seq = :seq;

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
        SELECT seq FROM messages WHERE status = 'pending'
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
SELECT tenant_id, account_id, status, COUNT(*) AS n FROM messages WHERE status = 'pending'
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
SELECT (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'pending')
    + (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'deferred')
    + (SELECT COUNT(*) FROM messages WHERE lane = :lane AND status = 'sending') AS n;

-- fail_lane: what waits for an account that goes becomes an error
UPDATE messages SET status = 'error', error = :error, error_ts = :now, updated_at = :now, deferred_ts = NULL
WHERE seq IN (
        SELECT seq FROM messages WHERE lane = :lane AND status = 'pending'
        UNION ALL SELECT seq FROM messages WHERE lane = :lane AND status = 'deferred')
    AND status IN ('pending', 'deferred')
RETURNING seq, tenant_id;
