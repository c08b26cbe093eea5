-- version counts the changes of a tenant, its key, its accounts and its suspensions: what intake knows of it
-- is checked against it when messages are stored
ALTER TABLE tenants ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- is_held: 1 while the message is held back by a suspension; what is held is not in the index of what is ready
ALTER TABLE messages ADD COLUMN is_held INTEGER NOT NULL DEFAULT 0;

DROP INDEX messages_ready;
CREATE INDEX messages_ready ON messages (lane, priority, seq) WHERE status = 'pending' AND is_held = 0;
CREATE INDEX messages_held ON messages (tenant_id, seq) WHERE is_held = 1;

-- suspensions that the flags of messages do not yet agree with, changed last at this version of the tenant
CREATE TABLE marking (
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    batch_code TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, batch_code)
);

-- Lists, newest first, whatever they are filtered by, and the counts of what waits (store/listing.py)
DROP INDEX messages_by_tenant;
CREATE INDEX messages_by_status ON messages (tenant_id, status, account_id, created_at, seq);
CREATE INDEX messages_by_batch ON messages (tenant_id, batch_code, status, created_at, seq)
    WHERE batch_code IS NOT NULL;

-- What may leave the database: told of at a time, or with nobody to be told since a time.
CREATE INDEX messages_reported ON messages (tenant_id, reported_ts)
    WHERE reported_ts IS NOT NULL AND status IN ('sent', 'error', 'bounced');
CREATE INDEX messages_unreported ON messages (tenant_id, updated_at)
    WHERE reported_ts IS NULL AND status IN ('sent', 'error', 'bounced');

-- Every request that may change something. payload is JSON without secrets and bodies of messages.
-- status is that of the answer. It is NULL when the server died before it answered.
CREATE TABLE commands (
    command_id {identity},
    ts DOUBLE PRECISION NOT NULL,
    endpoint TEXT NOT NULL,
    path TEXT NOT NULL,
    tenant_id TEXT,
    payload TEXT,
    status INTEGER,
    client TEXT
);

CREATE INDEX commands_by_age ON commands (ts);
CREATE INDEX commands_by_tenant ON commands (tenant_id, ts);
CREATE INDEX commands_by_endpoint ON commands (endpoint, ts);

CREATE TABLE storages (
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    protocol TEXT NOT NULL,
    enc_config TEXT NOT NULL,
    by_tenant INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- How the last posts of reports to a tenant's application went.
CREATE TABLE sync_state (
    tenant_id TEXT PRIMARY KEY REFERENCES tenants(id) ON DELETE CASCADE,
    last_sync_ts DOUBLE PRECISION,
    next_try_ts DOUBLE PRECISION,
    failures INTEGER NOT NULL,
    last_error TEXT
);
