-- allocate: the next places in the queue
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) + i AS seq FROM n;

-- allocate @postgres: the next places in the queue
SELECT nextval(pg_get_serial_sequence('messages', 'seq')) AS seq FROM generate_series(1, CAST(:count AS INTEGER));

-- existing: which of these ids (a JSON list) the tenant has used, and what became of them
SELECT seq, id, status, is_unknown, recipients FROM messages
WHERE tenant_id = :tenant_id AND id IN TEXTS(:ids);

-- existing @postgres: the same, put so that only the index of ids can serve: without statistics others look as good
SELECT m.* FROM json_array_elements_text(CAST(:ids AS json)) AS given(id)
CROSS JOIN LATERAL (
    SELECT seq, id, status, is_unknown, recipients FROM messages
    WHERE (messages.id, tenant_id) >= (given.id, :tenant_id) AND (messages.id, tenant_id) <= (given.id, :tenant_id)
    FOR UPDATE) AS m;

-- insert: a new message's state
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    envelope_from, message_id, metadata, is_pec, is_held, size, created_at, updated_at, deferred_ts)
VALUES (:seq, :pk, :tenant_id, :id, :account_id, :lane, :status, :priority, :batch_code, :recipients,
    :envelope_from, :message_id, :metadata, :is_pec, :is_held, :size, :now, :now, :deferred_ts);

-- insert_payload: a new message's content
INSERT INTO payloads (seq, kind, content) VALUES (:seq, :kind, :payload);

-- replace: a message submitted anew starts afresh in its old place
UPDATE messages SET pk = :pk, account_id = :account_id, lane = :lane, status = :status,
    priority = :priority, batch_code = :batch_code, recipients = :recipients,
    envelope_from = :envelope_from, message_id = :message_id, metadata = :metadata, is_pec = :is_pec,
    is_held = :is_held,
    size = :size, retry_count = 0, updated_at = :now, deferred_ts = :deferred_ts, lease_owner = NULL,
    lease_until = NULL, final_at = NULL, sent_ts = NULL, error_ts = NULL, error = NULL, last_error = NULL,
    reported_ts = NULL, parked_for = NULL, parked_since = NULL
WHERE seq = :seq;

-- replace_payload: its new content
UPDATE payloads SET kind = :kind, content = :payload WHERE seq = :seq;
