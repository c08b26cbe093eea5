-- lock: change what is suspended of a tenant, alone (SQLite has one writer anyway)
SELECT id FROM tenants WHERE id = :id
FOR UPDATE; -- @postgres: what intake has begun is waited for, what begins waits

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
SELECT COUNT(*) AS n FROM messages
    INDEXED BY messages_by_status -- @sqlite
WHERE tenant_id = :tenant_id AND status IN ('pending', 'deferred', 'sending');

-- waiting_of_batch: how many of a tenant's batch have still to leave
SELECT COUNT(*) AS n FROM messages
    INDEXED BY messages_by_batch -- @sqlite
WHERE tenant_id = :tenant_id AND batch_code = :batch_code AND status IN ('pending', 'deferred', 'sending');

-- next_of_tenant: some of a tenant's messages that wait, after a place
SELECT seq, account_id, created_at FROM messages
WHERE tenant_id = :tenant_id AND status = :status AND (account_id, created_at, seq) > (:account_id, :created_at, :seq)
ORDER BY account_id, created_at, seq LIMIT :limit;

-- next_of_batch: the same of one batch
SELECT seq, account_id, created_at FROM messages
WHERE tenant_id = :tenant_id AND batch_code = :batch_code AND status = :status
    AND (created_at, seq) > (:created_at, :seq)
ORDER BY created_at, seq LIMIT :limit;

-- follow: let the flags of these (a JSON list of seq) say what is suspended, while they wait; what is held is not parked
UPDATE messages SET is_held = 1 - is_held, updated_at = :now, parked_for = NULL, parked_since = NULL,
    deferred_ts = CASE WHEN status = 'pending' AND parked_for IS NOT NULL THEN NULL ELSE deferred_ts END
WHERE seq IN NUMBERS(:seqs) AND status IN ('pending', 'deferred')
    AND is_held <> CASE WHEN EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = messages.tenant_id AND s.batch_code IN ('*', messages.batch_code)) THEN 1 ELSE 0 END
RETURNING seq, tenant_id, is_held;
