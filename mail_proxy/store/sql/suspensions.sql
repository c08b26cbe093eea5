-- lock: change what is suspended of a tenant, alone (SQLite has one writer anyway)
SELECT id FROM tenants WHERE id = :id;

-- lock @postgres: change what is suspended of a tenant, alone; what intake has begun is waited for, what begins waits
SELECT id FROM tenants WHERE id = :id FOR UPDATE;

-- of_tenant: what is suspended of a tenant
SELECT batch_code FROM suspensions WHERE tenant_id = :tenant_id ORDER BY batch_code;

-- insert: hold a batch, or everything
INSERT INTO suspensions (tenant_id, batch_code, created_at) VALUES (:tenant_id, :batch_code, :now);

-- delete: hold this no longer
DELETE FROM suspensions WHERE tenant_id = :tenant_id AND batch_code = :batch_code;

-- delete_all: hold nothing any longer
DELETE FROM suspensions WHERE tenant_id = :tenant_id;

-- advance: the tenant's suspensions have changed
UPDATE tenants SET version = version + 1 WHERE id = :id RETURNING version;

-- begin_marking: from now on the flags of these messages are to be gone over
INSERT INTO marking (tenant_id, batch_code, version) VALUES (:tenant_id, :batch_code, :version)
ON CONFLICT (tenant_id, batch_code) DO UPDATE SET version = excluded.version;

-- end_marking: all have been gone over, and nothing was changed meanwhile
DELETE FROM marking WHERE tenant_id = :tenant_id AND batch_code = :batch_code AND version = :version;

-- markings: what is still to be gone over
SELECT tenant_id, batch_code, version FROM marking ORDER BY tenant_id, batch_code;

-- waiting_of_tenant: how many of a tenant have still to leave
SELECT COUNT(*) AS n FROM messages INDEXED BY messages_by_status
WHERE tenant_id = :tenant_id AND status IN ('pending', 'deferred', 'sending');

-- waiting_of_tenant @postgres: how many of a tenant have still to leave
SELECT COUNT(*) AS n FROM messages
WHERE tenant_id = :tenant_id AND status IN ('pending', 'deferred', 'sending');

-- waiting_of_batch: how many of a tenant's batch have still to leave
SELECT COUNT(*) AS n FROM messages INDEXED BY messages_by_batch
WHERE tenant_id = :tenant_id AND batch_code = :batch_code AND status IN ('pending', 'deferred', 'sending');

-- waiting_of_batch @postgres: how many of a tenant's batch have still to leave
SELECT COUNT(*) AS n FROM messages
WHERE tenant_id = :tenant_id AND batch_code = :batch_code AND status IN ('pending', 'deferred', 'sending');

-- next_of_tenant: some of a tenant's messages that wait, after a place, whether held, and whether to be held
SELECT m.seq, m.account_id, m.created_at, m.is_held,
    CASE WHEN EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code)) THEN 1 ELSE 0 END AS is_suspended
FROM messages m
WHERE m.tenant_id = :tenant_id AND m.status = :status
    AND (m.account_id, m.created_at, m.seq) > (:account_id, :created_at, :seq)
ORDER BY m.account_id, m.created_at, m.seq LIMIT :limit;

-- next_of_batch: the same of one batch
SELECT m.seq, m.account_id, m.created_at, m.is_held,
    CASE WHEN EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code)) THEN 1 ELSE 0 END AS is_suspended
FROM messages m
WHERE m.tenant_id = :tenant_id AND m.batch_code = :batch_code AND m.status = :status
    AND (m.created_at, m.seq) > (:created_at, :seq)
ORDER BY m.created_at, m.seq LIMIT :limit;

-- set_held: hold these (a JSON list of seq), or hold them no longer
UPDATE messages SET is_held = :is_held, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND status IN ('pending', 'deferred') AND is_held <> :is_held
RETURNING seq, tenant_id;

-- set_held @postgres: hold these (a JSON list of seq), or hold them no longer
UPDATE messages SET is_held = :is_held, updated_at = :now
WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json)))
    AND status IN ('pending', 'deferred') AND is_held <> :is_held
RETURNING seq, tenant_id;

-- hold_suspended: hold those of these (a JSON list of seq) that are suspended
UPDATE messages SET is_held = 1
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND status IN ('pending', 'deferred') AND is_held = 0
    AND EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = messages.tenant_id AND s.batch_code IN ('*', messages.batch_code))
RETURNING seq, tenant_id;

-- hold_suspended @postgres: hold those of these (a JSON list of seq) that are suspended
UPDATE messages SET is_held = 1
WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json)))
    AND status IN ('pending', 'deferred') AND is_held = 0
    AND EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = messages.tenant_id AND s.batch_code IN ('*', messages.batch_code))
RETURNING seq, tenant_id;
