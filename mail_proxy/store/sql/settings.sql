-- get: one setting of the instance
SELECT value FROM settings WHERE key = :key;

-- put: set it
INSERT INTO settings (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- put_once: set it unless it is set, and tell what holds
INSERT INTO settings (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = settings.value
RETURNING value;

-- node_seen: a node says that it lives
INSERT INTO nodes (node_id, name, pid, version, started_at, seen_at)
VALUES (:node_id, :name, :pid, :version, :started_at, :seen_at)
ON CONFLICT (node_id) DO UPDATE SET
    name = excluded.name, pid = excluded.pid, version = excluded.version,
    started_at = excluded.started_at, seen_at = excluded.seen_at;

-- node_enters: a node says that it lives, unless there is one of its id
INSERT INTO nodes (node_id, name, pid, version, started_at, seen_at)
VALUES (:node_id, :name, :pid, :version, :started_at, :seen_at)
ON CONFLICT (node_id) DO NOTHING
RETURNING node_id;

-- node: who was seen last under this id; nobody else takes it until this transaction ends
SELECT node_id, name, pid, version, started_at, seen_at FROM nodes WHERE node_id = :node_id
FOR UPDATE; -- @postgres

-- nodes: who was seen since
SELECT node_id, name, pid, version, started_at, seen_at FROM nodes WHERE seen_at >= :since ORDER BY name;

-- node_gone: a node takes its leave
DELETE FROM nodes WHERE node_id = :node_id;

-- forget_nodes: drop what was not seen for long
DELETE FROM nodes WHERE seen_at < :before;
