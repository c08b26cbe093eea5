-- get: one account
SELECT * FROM accounts WHERE tenant_id = :tenant_id AND id = :id;

-- of_lane: the account that a queue belongs to
SELECT * FROM accounts WHERE lane = :lane;

-- of_tenant: the accounts of one tenant, by id
SELECT * FROM accounts WHERE tenant_id = :tenant_id ORDER BY id;

-- all: every account
SELECT * FROM accounts ORDER BY tenant_id, id;

-- named: the accounts with this id, of whatever tenant
SELECT * FROM accounts WHERE id = :id ORDER BY tenant_id;

-- owners: which tenants have an account of this id
SELECT tenant_id FROM accounts WHERE id = :id ORDER BY tenant_id;

-- lock: let nobody else change the account until this transaction ends (SQLite has one writer anyway)
SELECT lane FROM accounts WHERE tenant_id = :tenant_id AND id = :id
FOR NO KEY UPDATE; -- @postgres

-- insert: a new account, unless there is one
INSERT INTO accounts (tenant_id, id, host, port, login, enc_password, tls, use_tls, tls_verify, tls_ca,
    from_address, ttl, batch_size, max_concurrent, limit_per_minute, limit_per_hour, limit_per_day,
    limit_behavior, on_unknown, is_pec_account, imap_host, imap_port, imap_user, enc_imap_password,
    imap_folder, imap_ssl, by_tenant, created_at, updated_at)
VALUES (:tenant_id, :id, :host, :port, :login, :enc_password, :tls, :use_tls, :tls_verify, :tls_ca,
    :from_address, :ttl, :batch_size, :max_concurrent, :limit_per_minute, :limit_per_hour, :limit_per_day,
    :limit_behavior, :on_unknown, :is_pec_account, :imap_host, :imap_port, :imap_user, :enc_imap_password,
    :imap_folder, :imap_ssl, :by_tenant, :now, :now)
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING lane;

-- update: its configuration; the lane and its queue stay, the circuit closes: as it is now it was not tried yet
UPDATE accounts SET host = :host, port = :port, login = :login, enc_password = :enc_password, tls = :tls,
    use_tls = :use_tls, tls_verify = :tls_verify, tls_ca = :tls_ca, from_address = :from_address, ttl = :ttl,
    batch_size = :batch_size, max_concurrent = :max_concurrent, limit_per_minute = :limit_per_minute,
    limit_per_hour = :limit_per_hour, limit_per_day = :limit_per_day, limit_behavior = :limit_behavior,
    on_unknown = :on_unknown, is_pec_account = :is_pec_account, imap_host = :imap_host,
    imap_port = :imap_port, imap_user = :imap_user, enc_imap_password = :enc_imap_password,
    imap_folder = :imap_folder, imap_ssl = :imap_ssl, by_tenant = :by_tenant, updated_at = :now,
    rest = 0, resting_until = NULL, ill_since = NULL, probe = NULL, last_error = NULL
WHERE tenant_id = :tenant_id AND id = :id
RETURNING lane;

-- depart: an account that goes leaves behind what waits for it, to be failed in steps
INSERT INTO departures (lane, tenant_id, account_id) VALUES (:lane, :tenant_id, :account_id);

-- departures: accounts that are gone, and may have left something
SELECT lane FROM departures ORDER BY lane;

-- left: some of what waits for an account that is gone, which is known by its departure or by what is ready
-- (the index is named: after an ANALYZE that saw no queue, SQLite would read all messages)
WITH owner AS (
    SELECT tenant_id, account_id FROM departures WHERE lane = :lane
    UNION
    SELECT tenant_id, account_id FROM (SELECT tenant_id, account_id FROM messages
        WHERE lane = :lane AND status = 'pending' AND is_held = 0 LIMIT 1) AS ready
)
SELECT m.seq, m.tenant_id, m.account_id, m.recipients
FROM owner CROSS JOIN messages m
    INDEXED BY messages_by_status -- @sqlite
WHERE m.tenant_id = owner.tenant_id AND m.account_id = owner.account_id
    AND m.status IN ('pending', 'deferred') AND m.lane = :lane
LIMIT :limit
FOR UPDATE OF m; -- @postgres: nobody else changes it until this transaction ends

-- departed: an account has left nothing any more, not even what is being sent and may come back
DELETE FROM departures
WHERE lane = :lane AND NOT EXISTS (SELECT 1 FROM messages m
        INDEXED BY messages_by_status -- @sqlite
    WHERE m.tenant_id = departures.tenant_id AND m.account_id = departures.account_id
        AND m.status IN ('pending', 'deferred', 'sending') AND m.lane = departures.lane);

-- delete: remove it
DELETE FROM accounts WHERE tenant_id = :tenant_id AND id = :id RETURNING lane;
