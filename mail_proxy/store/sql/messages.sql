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
SELECT seq, kind, content FROM payloads WHERE seq IN NUMBERS(:seqs);

-- events: what happened to it, in order
SELECT event_id, event_type, event_ts, description, event_data FROM events WHERE seq = :seq ORDER BY event_id;

-- histories: what happened to these (a JSON list of seq), in order
SELECT seq, event_id, event_type, event_ts, description, event_data FROM events
WHERE seq IN NUMBERS(:seqs) -- @sqlite
WHERE seq = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json)))) -- @postgres
ORDER BY seq, event_id;

-- some: these messages (a JSON list of seq)
SELECT * FROM messages WHERE seq IN NUMBERS(:seqs);

-- tenant_names: what these tenants (a JSON list of ids) are called
SELECT id, name FROM tenants WHERE id IN TEXTS(:ids);

-- tenant_ids: whose messages there may be
SELECT id FROM tenants;

-- branches: the accounts with messages of tenants in stored states (JSON lists), skipping from one to the next
WITH RECURSIVE branch(tenant_id, status, account_id) AS (
    SELECT tenant.value, state.value,
        (SELECT MIN(m.account_id) FROM messages m WHERE m.tenant_id = tenant.value AND m.status = state.value)
    FROM json_each(:tenants) tenant CROSS JOIN json_each(:statuses) state -- @sqlite
    FROM json_array_elements_text(CAST(:tenants AS json)) tenant(value) -- @postgres
        CROSS JOIN json_array_elements_text(CAST(:statuses AS json)) state(value) -- @postgres
    UNION ALL
    SELECT tenant_id, status, (SELECT MIN(m.account_id) FROM messages m
        WHERE m.tenant_id = branch.tenant_id AND m.status = branch.status AND m.account_id > branch.account_id)
    FROM branch WHERE account_id IS NOT NULL
)
SELECT tenant_id, status, account_id FROM branch WHERE account_id IS NOT NULL;

-- parked_branches: the accounts of tenants (a JSON list) with parked messages, skipping from one to the next
WITH RECURSIVE branch(tenant_id, account_id) AS (
    SELECT tenant.value, (SELECT MIN(m.account_id) FROM messages m
            INDEXED BY messages_parked -- @sqlite
        WHERE m.tenant_id = tenant.value AND m.status = 'pending' AND m.parked_for IS NOT NULL)
    FROM json_each(:tenants) tenant -- @sqlite
    FROM json_array_elements_text(CAST(:tenants AS json)) tenant(value) -- @postgres
    UNION ALL
    SELECT tenant_id, (SELECT MIN(m.account_id) FROM messages m
            INDEXED BY messages_parked -- @sqlite
        WHERE m.tenant_id = branch.tenant_id AND m.status = 'pending' AND m.parked_for IS NOT NULL
            AND m.account_id > branch.account_id)
    FROM branch WHERE account_id IS NOT NULL
)
SELECT tenant_id, account_id FROM branch WHERE account_id IS NOT NULL;

-- newest_of_accounts: of each branch (a JSON list of tenant, state and account) what follows a place, newest first
-- (what is parked is a branch of its own, and not one of the pending)
SELECT m.created_at, m.seq, b.key AS branch
FROM json_each(:branches) b CROSS JOIN messages m ON m.seq IN (
    SELECT seq FROM (
        SELECT n.seq FROM messages n INDEXED BY messages_by_status
        WHERE n.tenant_id = json_extract(b.value, '$[0]') AND n.status = json_extract(b.value, '$[1]')
            AND n.account_id = json_extract(b.value, '$[2]')
            AND (n.status <> 'pending' OR n.parked_for IS NULL)
            AND n.created_at >= :since AND (n.created_at, n.seq) < (:before, :below)
        ORDER BY n.created_at DESC, n.seq DESC LIMIT :each)
    UNION ALL
    SELECT seq FROM (
        SELECT n.seq FROM messages n INDEXED BY messages_parked
        WHERE json_extract(b.value, '$[1]') = 'parked' AND n.status = 'pending' AND n.parked_for IS NOT NULL
            AND n.tenant_id = json_extract(b.value, '$[0]') AND n.account_id = json_extract(b.value, '$[2]')
            AND n.created_at >= :since AND (n.created_at, n.seq) < (:before, :below)
        ORDER BY n.created_at DESC, n.seq DESC LIMIT :each))
ORDER BY m.created_at DESC, m.seq DESC LIMIT :limit;

-- newest_of_accounts @postgres: of each branch (a JSON list of tenant, state and account) what follows a place
SELECT n.created_at, n.seq, b.place - 1 AS branch
FROM json_array_elements(CAST(:branches AS json)) WITH ORDINALITY AS b(value, place)
    CROSS JOIN LATERAL (
        (SELECT m.created_at, m.seq FROM messages m
        WHERE m.tenant_id = b.value ->> 0 AND m.status = b.value ->> 1 AND m.account_id = b.value ->> 2
            AND (m.status <> 'pending' OR m.parked_for IS NULL)
            AND m.created_at >= :since AND (m.created_at, m.seq) < (:before, :below)
        ORDER BY m.created_at DESC, m.seq DESC LIMIT :each)
        UNION ALL
        (SELECT m.created_at, m.seq FROM messages m
        WHERE b.value ->> 1 = 'parked' AND m.status = 'pending' AND m.parked_for IS NOT NULL
            AND m.tenant_id = b.value ->> 0 AND m.account_id = b.value ->> 2
            AND m.created_at >= :since AND (m.created_at, m.seq) < (:before, :below)
        ORDER BY m.created_at DESC, m.seq DESC LIMIT :each)) n
ORDER BY n.created_at DESC, n.seq DESC LIMIT :limit;

-- newest_of_batches: the same where a branch is of a batch; perhaps of one account only
SELECT m.created_at, m.seq, b.key AS branch
FROM json_each(:branches) b CROSS JOIN messages m ON m.seq IN (
    SELECT seq FROM (
        SELECT n.seq FROM messages n INDEXED BY messages_by_batch
        WHERE n.tenant_id = json_extract(b.value, '$[0]') AND n.status = json_extract(b.value, '$[1]')
            AND n.batch_code = json_extract(b.value, '$[2]')
            AND (n.status <> 'pending' OR n.parked_for IS NULL)
            AND (:account_id IS NULL OR n.account_id = :account_id)
            AND n.created_at >= :since AND (n.created_at, n.seq) < (:before, :below)
        ORDER BY n.created_at DESC, n.seq DESC LIMIT :each)
    UNION ALL
    SELECT seq FROM (
        SELECT n.seq FROM messages n INDEXED BY messages_parked_of_batch
        WHERE json_extract(b.value, '$[1]') = 'parked' AND n.status = 'pending' AND n.parked_for IS NOT NULL
            AND n.tenant_id = json_extract(b.value, '$[0]') AND n.batch_code = json_extract(b.value, '$[2]')
            AND (:account_id IS NULL OR n.account_id = :account_id)
            AND n.created_at >= :since AND (n.created_at, n.seq) < (:before, :below)
        ORDER BY n.created_at DESC, n.seq DESC LIMIT :each))
ORDER BY m.created_at DESC, m.seq DESC LIMIT :limit;

-- newest_of_batches @postgres: the same where a branch is of a batch; perhaps of one account only
SELECT n.created_at, n.seq, b.place - 1 AS branch
FROM json_array_elements(CAST(:branches AS json)) WITH ORDINALITY AS b(value, place)
    CROSS JOIN LATERAL (
        (SELECT m.created_at, m.seq FROM messages m
        WHERE m.tenant_id = b.value ->> 0 AND m.status = b.value ->> 1 AND m.batch_code = b.value ->> 2
            AND (m.status <> 'pending' OR m.parked_for IS NULL)
            AND (CAST(:account_id AS TEXT) IS NULL OR m.account_id = :account_id)
            AND m.created_at >= :since AND (m.created_at, m.seq) < (:before, :below)
        ORDER BY m.created_at DESC, m.seq DESC LIMIT :each)
        UNION ALL
        (SELECT m.created_at, m.seq FROM messages m
        WHERE b.value ->> 1 = 'parked' AND m.status = 'pending' AND m.parked_for IS NOT NULL
            AND m.tenant_id = b.value ->> 0 AND m.batch_code = b.value ->> 2
            AND (CAST(:account_id AS TEXT) IS NULL OR m.account_id = :account_id)
            AND m.created_at >= :since AND (m.created_at, m.seq) < (:before, :below)
        ORDER BY m.created_at DESC, m.seq DESC LIMIT :each)) n
ORDER BY n.created_at DESC, n.seq DESC LIMIT :limit;

-- waiting: how many have still to leave, by tenant, account and stored status, and of these how many are parked
SELECT m.tenant_id, m.account_id, m.status, COUNT(*) AS n, COUNT(m.parked_for) AS parked
FROM tenants t CROSS JOIN messages m
WHERE m.tenant_id = t.id AND m.status IN ('pending', 'deferred', 'sending')
GROUP BY m.tenant_id, m.account_id, m.status;

-- waiting_of_tenant: the same of one tenant
SELECT tenant_id, account_id, status, COUNT(*) AS n, COUNT(parked_for) AS parked FROM messages
WHERE tenant_id = :tenant_id AND status IN ('pending', 'deferred', 'sending')
GROUP BY tenant_id, account_id, status;

-- totals: how many of each stored status there are, and of these how many are parked
SELECT status, COUNT(*) AS n, COUNT(parked_for) AS parked FROM messages
WHERE (CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id) GROUP BY status;

-- ready_since: since when the message waits that has waited longest for its turn, of those that nothing holds back
WITH RECURSIVE ready(lane) AS (
    SELECT MIN(lane) FROM messages WHERE status = 'pending' AND is_held = 0
    UNION ALL
    SELECT (SELECT MIN(m.lane) FROM messages m WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane > ready.lane)
    FROM ready WHERE ready.lane IS NOT NULL
)
SELECT MIN(head.since) AS since
FROM (SELECT (SELECT CASE WHEN m.parked_for IS NULL THEN COALESCE(m.deferred_ts, m.created_at) END
        FROM messages m
        WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = ready.lane AND m.priority = each.priority
        ORDER BY m.seq LIMIT 1) AS since
    FROM ready
    JOIN accounts a ON a.lane = ready.lane
    JOIN tenants t ON t.id = a.tenant_id AND t.active = 1
    CROSS JOIN (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS each) AS head;

-- waiting_of_lane: how many of an account have still to leave, and of these how many are being sent
SELECT COUNT(*) AS n, COUNT(CASE WHEN m.status = 'sending' THEN 1 END) AS sending FROM accounts a CROSS JOIN messages m
WHERE a.lane = :lane AND m.tenant_id = a.tenant_id AND m.account_id = a.id
    AND m.status IN ('pending', 'deferred', 'sending');
