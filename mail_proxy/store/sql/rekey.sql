-- check: what tells with which key the secrets are encrypted; nobody changes it until this transaction ends
SELECT value FROM settings WHERE key = :key
FOR SHARE; -- @postgres

-- hold_check: the same, by whoever is about to change it
SELECT value FROM settings WHERE key = :key
FOR UPDATE; -- @postgres

-- tenants: the secrets of all tenants
SELECT id, enc_client_auth, enc_webhook_secret FROM tenants
WHERE enc_client_auth IS NOT NULL OR enc_webhook_secret IS NOT NULL
FOR UPDATE; -- @postgres

-- put_tenant: those of one
UPDATE tenants SET enc_client_auth = :enc_client_auth, enc_webhook_secret = :enc_webhook_secret WHERE id = :id;

-- accounts: the secrets of all accounts
SELECT tenant_id, id, enc_password, enc_imap_password FROM accounts
WHERE enc_password IS NOT NULL OR enc_imap_password IS NOT NULL
FOR UPDATE; -- @postgres

-- put_account: those of one
UPDATE accounts SET enc_password = :enc_password, enc_imap_password = :enc_imap_password
WHERE tenant_id = :tenant_id AND id = :id;

-- storages: the secrets of all storages
SELECT tenant_id, name, enc_config FROM storages
FOR UPDATE; -- @postgres

-- put_storage: those of one
UPDATE storages SET enc_config = :enc_config WHERE tenant_id = :tenant_id AND name = :name;
