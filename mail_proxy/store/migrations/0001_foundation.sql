-- Times are Unix seconds (UTC). Flags are 0 or 1. Columns named enc_* hold AES-GCM ciphertext.

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE nodes (
    node_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT,
    client_base_url TEXT,
    client_sync_path TEXT NOT NULL,
    client_attachment_path TEXT NOT NULL,
    enc_client_auth TEXT,
    rate_hourly INTEGER NOT NULL,
    rate_daily INTEGER NOT NULL,
    large_file_config TEXT,
    enc_webhook_secret TEXT,
    report_nulls INTEGER NOT NULL,
    active INTEGER NOT NULL,
    by_tenant INTEGER NOT NULL,
    api_key_hash TEXT UNIQUE,
    api_key_expires_at DOUBLE PRECISION,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);

-- batch_code '*' holds the whole tenant
CREATE TABLE suspensions (
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    batch_code TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant_id, batch_code)
);

-- lane numbers the account's queue: small in indexes, and one can skip from lane to lane
CREATE TABLE accounts (
    lane {identity},
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    login TEXT,
    enc_password TEXT,
    tls TEXT,
    use_tls INTEGER,
    tls_verify INTEGER NOT NULL,
    tls_ca TEXT,
    from_address TEXT,
    ttl INTEGER NOT NULL,
    batch_size INTEGER,
    max_concurrent INTEGER,
    limit_per_minute INTEGER NOT NULL,
    limit_per_hour INTEGER NOT NULL,
    limit_per_day INTEGER NOT NULL,
    limit_behavior TEXT NOT NULL,
    on_unknown TEXT NOT NULL,
    is_pec_account INTEGER NOT NULL,
    imap_host TEXT,
    imap_port INTEGER NOT NULL,
    imap_user TEXT,
    enc_imap_password TEXT,
    imap_folder TEXT NOT NULL,
    imap_ssl INTEGER NOT NULL,
    by_tenant INTEGER NOT NULL,
    last_error TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    UNIQUE (tenant_id, id)
);

-- seq is the position in the queue and never changes; recipients is a JSON list, each with its own outcome
-- final_at: the content was about to be transmitted; without an outcome since, the outcome is unknown
CREATE TABLE messages (
    seq {identity},
    pk TEXT NOT NULL UNIQUE,
    tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    lane BIGINT NOT NULL,
    status TEXT NOT NULL,
    priority INTEGER NOT NULL,
    batch_code TEXT,
    recipients TEXT NOT NULL,
    envelope_from TEXT,
    message_id TEXT NOT NULL,
    metadata TEXT,
    is_pec INTEGER NOT NULL,
    size BIGINT NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    deferred_ts DOUBLE PRECISION,
    lease_owner TEXT,
    lease_until DOUBLE PRECISION,
    final_at DOUBLE PRECISION,
    is_unknown INTEGER NOT NULL DEFAULT 0,
    sent_ts DOUBLE PRECISION,
    error_ts DOUBLE PRECISION,
    error TEXT,
    last_error TEXT,
    bounce_type TEXT,
    bounce_code TEXT,
    bounce_reason TEXT,
    bounce_ts DOUBLE PRECISION,
    reported_ts DOUBLE PRECISION,
    UNIQUE (id, tenant_id)
);

-- The three below hold only what waits, so their size and cost follow the queue and not its history.
CREATE INDEX messages_ready ON messages (lane, priority, seq) WHERE status = 'pending';
CREATE INDEX messages_deferred ON messages (deferred_ts) WHERE status = 'deferred';
CREATE INDEX messages_leased ON messages (lease_until) WHERE status = 'sending';

CREATE INDEX messages_by_tenant ON messages (tenant_id, seq);

-- The content apart from the state: it is written once, the state many times.
CREATE TABLE payloads (
    seq BIGINT PRIMARY KEY REFERENCES messages(seq) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    content {blob} NOT NULL
);

-- is_due: 1 while the application still has to be told
CREATE TABLE events (
    event_id {identity},
    seq BIGINT NOT NULL REFERENCES messages(seq) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    event_ts DOUBLE PRECISION NOT NULL,
    description TEXT NOT NULL,
    event_data TEXT,
    is_due INTEGER NOT NULL,
    reported_ts DOUBLE PRECISION
);

CREATE INDEX events_of_message ON events (seq, event_id);
CREATE INDEX events_due ON events (tenant_id, event_id) WHERE is_due = 1;

-- What was really sent or is being sent, of accounts and tenants with rate limits: their sliding windows.
CREATE TABLE send_log (
    seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    lane BIGINT NOT NULL,
    sent_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX send_log_of_lane ON send_log (lane, sent_at);
CREATE INDEX send_log_of_tenant ON send_log (tenant_id, sent_at);
CREATE INDEX send_log_of_message ON send_log (seq);
CREATE INDEX send_log_by_age ON send_log (sent_at);
