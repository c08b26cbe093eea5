-- parked_for: a pending message that cannot go now keeps its place in line and says what for (account, limit).
-- It is shown as deferred until deferred_ts. parked_since is when it began to wait for its account
ALTER TABLE messages ADD COLUMN parked_for TEXT;
ALTER TABLE messages ADD COLUMN parked_since DOUBLE PRECISION;
CREATE INDEX messages_parked ON messages (tenant_id, account_id, created_at, seq)
    WHERE status = 'pending' AND parked_for IS NOT NULL;

-- The circuit of an account, the same for all nodes: it rests for so many seconds, until a moment.
-- probe is the place of the message that tries it after that. What rested in the memory of older nodes ends here
ALTER TABLE accounts ADD COLUMN rest DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN resting_until DOUBLE PRECISION;
ALTER TABLE accounts ADD COLUMN ill_since DOUBLE PRECISION;
ALTER TABLE accounts ADD COLUMN probe BIGINT;
UPDATE accounts SET last_error = NULL;
CREATE INDEX accounts_ailing ON accounts (tenant_id, id) WHERE rest > 0;

-- Accounts that were deleted, until all that waited for them has failed
CREATE TABLE departures (
    lane BIGINT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    account_id TEXT NOT NULL
);

-- Lists and counts tell what is parked from what is pending by the index alone, and find the parked by theirs
DROP INDEX messages_by_status;
CREATE INDEX messages_by_status ON messages (tenant_id, status, account_id, created_at, seq, parked_for);
DROP INDEX messages_by_batch;
CREATE INDEX messages_by_batch ON messages (tenant_id, batch_code, status, created_at, seq, parked_for)
    WHERE batch_code IS NOT NULL;
CREATE INDEX messages_parked_of_batch ON messages (tenant_id, batch_code, created_at, seq)
    WHERE status = 'pending' AND parked_for IS NOT NULL AND batch_code IS NOT NULL;

-- The sent_at of what is in flight is a far future. What was sent some time ago is merged, so that a window
-- is counted fast: a row is an amount of messages, the last of them sent at sent_at, within span seconds
ALTER TABLE send_log ADD COLUMN amount INTEGER NOT NULL DEFAULT 1;
ALTER TABLE send_log ADD COLUMN span INTEGER NOT NULL DEFAULT 0;
DROP INDEX send_log_of_lane;
DROP INDEX send_log_of_tenant;
DROP INDEX send_log_by_age;
CREATE INDEX send_log_of_lane ON send_log (lane, sent_at, amount);
CREATE INDEX send_log_of_tenant ON send_log (tenant_id, sent_at, amount);
CREATE INDEX send_log_by_age ON send_log (span, sent_at);
