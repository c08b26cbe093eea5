-- get: one tenant
SELECT t.*, (SELECT COUNT(*) FROM suspensions s WHERE s.tenant_id = t.id) AS suspended
FROM tenants t WHERE t.id = :id;

-- all: every tenant, by id
SELECT t.*, (SELECT COUNT(*) FROM suspensions s WHERE s.tenant_id = t.id) AS suspended
FROM tenants t ORDER BY t.id;

-- suspensions: what is suspended of one tenant
SELECT batch_code FROM suspensions WHERE tenant_id = :tenant_id ORDER BY batch_code;

-- standing: what intake has to know of a tenant, a row for each of its accounts
SELECT t.version, t.active, a.id, a.lane, a.from_address, a.is_pec_account
FROM tenants t LEFT JOIN accounts a ON a.tenant_id = t.id WHERE t.id = :id;

-- touch: something that belongs to the tenant has changed
UPDATE tenants SET version = version + 1 WHERE id = :id;

-- by_key: whose API key this is
SELECT id, active, version, api_key_expires_at FROM tenants WHERE api_key_hash = :api_key_hash;

-- lock: let nobody else change the tenant until this transaction ends (SQLite has one writer anyway)
SELECT id FROM tenants WHERE id = :id
FOR NO KEY UPDATE; -- @postgres: intake goes on

-- insert: a new tenant
INSERT INTO tenants (id, name, client_base_url, client_sync_path, client_attachment_path, enc_client_auth,
    rate_hourly, rate_daily, large_file_config, enc_webhook_secret, report_nulls, active, by_tenant,
    api_key_hash, api_key_expires_at, version, created_at, updated_at)
VALUES (:id, :name, :client_base_url, :client_sync_path, :client_attachment_path, :enc_client_auth,
    :rate_hourly, :rate_daily, :large_file_config, :enc_webhook_secret, :report_nulls, :active, :by_tenant,
    :api_key_hash, :api_key_expires_at, :version, :now, :now)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- insert_sync_state: its application was told of nothing yet
INSERT INTO sync_state (tenant_id, failures) VALUES (:id, 0);

-- update: its configuration, and when its key expires, but not the key
UPDATE tenants SET name = :name, client_base_url = :client_base_url, client_sync_path = :client_sync_path,
    client_attachment_path = :client_attachment_path, enc_client_auth = :enc_client_auth,
    rate_hourly = :rate_hourly, rate_daily = :rate_daily, large_file_config = :large_file_config,
    enc_webhook_secret = :enc_webhook_secret, report_nulls = :report_nulls, active = :active,
    by_tenant = :by_tenant, api_key_expires_at = :api_key_expires_at, updated_at = :now, version = version + 1
WHERE id = :id
RETURNING id;

-- reach_anew: its application is told in another way, so what was tried before says nothing
UPDATE sync_state SET next_try_ts = NULL, failures = 0, last_error = NULL,
    beat_at = CASE WHEN beat_at = next_try_ts THEN :now ELSE beat_at END
WHERE tenant_id = :id AND failures > 0;

-- set_key: a new API key, or none
UPDATE tenants SET api_key_hash = :api_key_hash, api_key_expires_at = :expires_at, updated_at = :now,
    version = version + 1
WHERE id = :id
RETURNING id;

-- hold: whether the tenant is there, and as of which version; it cannot go while the transaction lasts
SELECT version FROM tenants WHERE id = :id
FOR KEY SHARE; -- @postgres

-- close: a tenant about to go takes nothing more, and sends nothing more
UPDATE tenants SET active = 0, api_key_hash = NULL, api_key_expires_at = NULL, updated_at = :now,
    version = version + 1
WHERE id = :id
RETURNING id;

-- delete_messages: some of the messages of a tenant about to go, with all that refers to them
DELETE FROM messages
WHERE seq IN (SELECT seq FROM messages WHERE tenant_id = :id LIMIT :limit)
RETURNING seq;

-- delete_messages @postgres: the same; chosen apart, since a plan may run a subquery, and its LIMIT, once for each row
WITH first AS MATERIALIZED (SELECT seq FROM messages WHERE tenant_id = :id LIMIT :limit)
DELETE FROM messages WHERE seq IN (SELECT seq FROM first)
RETURNING seq;

-- delete_send_log: of a tenant about to go
DELETE FROM send_log WHERE tenant_id = :id;

-- delete: a tenant with all that refers to it
DELETE FROM tenants WHERE id = :id RETURNING id;
