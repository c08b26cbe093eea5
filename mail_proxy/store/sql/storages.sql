-- get: one storage
SELECT * FROM storages WHERE tenant_id = :tenant_id AND name = :name;

-- get_locked: one storage, which nobody else may change until this transaction ends (SQLite has one writer anyway)
SELECT * FROM storages WHERE tenant_id = :tenant_id AND name = :name
FOR UPDATE; -- @postgres

-- of_tenant: the storages of one tenant, by name
SELECT * FROM storages WHERE tenant_id = :tenant_id ORDER BY name;

-- all: every storage
SELECT * FROM storages ORDER BY tenant_id, name;

-- put: a new storage, or another configuration of the one there is
INSERT INTO storages (tenant_id, name, protocol, enc_config, by_tenant, created_at, updated_at)
VALUES (:tenant_id, :name, :protocol, :enc_config, :by_tenant, :now, :now)
ON CONFLICT (tenant_id, name) DO UPDATE SET protocol = excluded.protocol, enc_config = excluded.enc_config,
    by_tenant = excluded.by_tenant, updated_at = excluded.updated_at;

-- delete: remove it
DELETE FROM storages WHERE tenant_id = :tenant_id AND name = :name RETURNING name;
