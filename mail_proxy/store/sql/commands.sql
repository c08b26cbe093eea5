-- insert: a request that may change something; status is NULL while it is not answered
INSERT INTO commands (ts, endpoint, path, tenant_id, payload, status, client)
VALUES (:ts, :endpoint, :path, :tenant_id, :payload, :status, :client)
RETURNING command_id;

-- record: one that is answered, together with what it changed
INSERT INTO commands (ts, endpoint, path, tenant_id, payload, status, client)
VALUES (:ts, :endpoint, :path, :tenant_id, :payload, :status, :client);

-- complete: it is answered, and the tenant may be known now
UPDATE commands SET status = :status, tenant_id = COALESCE(CAST(:tenant_id AS TEXT), tenant_id)
WHERE command_id = :command_id;

-- newest: newest first, before a place in the log
SELECT * FROM commands
WHERE ts >= :since AND (ts, command_id) < (:ts, :command_id)
ORDER BY ts DESC, command_id DESC LIMIT :limit OFFSET :offset;

-- newest_of_tenant: the same of one tenant
SELECT * FROM commands
WHERE tenant_id = :tenant_id AND ts >= :since AND (ts, command_id) < (:ts, :command_id)
    AND (CAST(:first AS TEXT) IS NULL OR endpoint IN (:first, :second, :third))
ORDER BY ts DESC, command_id DESC LIMIT :limit OFFSET :offset;

-- newest_of_endpoints: the same at up to three endpoints, each read in its order and no further than need be
SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :first AND ts >= :since AND (ts, command_id) < (:ts, :command_id)
    ORDER BY ts DESC, command_id DESC LIMIT CAST(:limit AS BIGINT) + CAST(:offset AS BIGINT)) AS of_first
UNION ALL SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :second AND ts >= :since AND (ts, command_id) < (:ts, :command_id)
    ORDER BY ts DESC, command_id DESC LIMIT CAST(:limit AS BIGINT) + CAST(:offset AS BIGINT)) AS of_second
UNION ALL SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :third AND ts >= :since AND (ts, command_id) < (:ts, :command_id)
    ORDER BY ts DESC, command_id DESC LIMIT CAST(:limit AS BIGINT) + CAST(:offset AS BIGINT)) AS of_third
ORDER BY ts DESC, command_id DESC LIMIT :limit OFFSET :offset;

-- oldest: oldest first, after a place in the log
SELECT * FROM commands
WHERE ts < :until AND (ts, command_id) > (:ts, :command_id)
ORDER BY ts, command_id LIMIT :limit;

-- oldest_of_tenant: the same of one tenant
SELECT * FROM commands
WHERE tenant_id = :tenant_id AND ts < :until AND (ts, command_id) > (:ts, :command_id)
    AND (CAST(:first AS TEXT) IS NULL OR endpoint IN (:first, :second, :third))
ORDER BY ts, command_id LIMIT :limit;

-- oldest_of_endpoints: the same at up to three endpoints
SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :first AND ts < :until AND (ts, command_id) > (:ts, :command_id)
    ORDER BY ts, command_id LIMIT CAST(:limit AS BIGINT)) AS of_first
UNION ALL SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :second AND ts < :until AND (ts, command_id) > (:ts, :command_id)
    ORDER BY ts, command_id LIMIT CAST(:limit AS BIGINT)) AS of_second
UNION ALL SELECT * FROM (
    SELECT * FROM commands WHERE endpoint = :third AND ts < :until AND (ts, command_id) > (:ts, :command_id)
    ORDER BY ts, command_id LIMIT CAST(:limit AS BIGINT)) AS of_third
ORDER BY ts, command_id LIMIT :limit;

-- count: how many there are in a time
SELECT COUNT(*) AS n FROM commands WHERE ts >= :since AND ts < :until;

-- count_of_tenant: the same of one tenant
SELECT COUNT(*) AS n FROM commands
WHERE tenant_id = :tenant_id AND ts >= :since AND ts < :until
    AND (CAST(:first AS TEXT) IS NULL OR endpoint IN (:first, :second, :third));

-- count_of_endpoints: the same at up to three endpoints
SELECT COUNT(*) AS n FROM commands
WHERE endpoint IN (:first, :second, :third) AND ts >= :since AND ts < :until;

-- forget: the oldest of those from before a time
DELETE FROM commands
WHERE command_id IN (SELECT c.command_id FROM commands c WHERE c.ts < :before ORDER BY c.ts LIMIT :limit)
RETURNING command_id;

-- strip: of a tenant that goes, that it was asked for something stays, but not what
UPDATE commands SET payload = NULL WHERE tenant_id = :tenant_id AND payload IS NOT NULL;
