-- tenants: the ids of tenants that begin so
SELECT id AS name FROM tenants
WHERE substr(id, 1, length(CAST(:begun AS TEXT))) = :begun ORDER BY id LIMIT 100;

-- accounts: the ids of a tenant's accounts that begin so
SELECT id AS name FROM accounts
WHERE tenant_id = :tenant_id AND substr(id, 1, length(CAST(:begun AS TEXT))) = :begun ORDER BY id LIMIT 100;

-- messages: among a tenant's newest messages, the ids that begin so
SELECT id AS name
FROM (SELECT id, seq FROM messages WHERE tenant_id = :tenant_id ORDER BY seq DESC LIMIT 2000) AS newest
WHERE substr(id, 1, length(CAST(:begun AS TEXT))) = :begun ORDER BY seq DESC LIMIT 50;

-- batches: among a tenant's newest messages, the batch codes that begin so
SELECT DISTINCT batch_code AS name
FROM (SELECT batch_code FROM messages WHERE tenant_id = :tenant_id ORDER BY seq DESC LIMIT 2000) AS newest
WHERE substr(batch_code, 1, length(CAST(:begun AS TEXT))) = :begun ORDER BY batch_code LIMIT 100;

-- storages: the names of a tenant's storages that begin so
SELECT name FROM storages
WHERE tenant_id = :tenant_id AND substr(name, 1, length(CAST(:begun AS TEXT))) = :begun ORDER BY name LIMIT 100;
