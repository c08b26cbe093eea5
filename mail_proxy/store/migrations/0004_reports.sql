-- is_due: 1 while the application still has to be told, 2 while it has refused to be told and is asked again at
-- again_ts, -1 once nobody tries any more; refusals counts how often it refused
ALTER TABLE events ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN again_ts DOUBLE PRECISION;
CREATE INDEX events_refused ON events (tenant_id, again_ts) WHERE is_due = 2;
CREATE INDEX events_refused_in_order ON events (tenant_id, event_id) WHERE is_due = 2;
CREATE INDEX events_refused_of_message ON events (seq) WHERE is_due = 2;
CREATE INDEX events_given_up ON events (tenant_id, event_id) WHERE is_due = -1;

-- Every tenant has its row here. Whoever tells its application holds it until lease_until.
-- beat_at: when a post is due even if there is nothing to tell; NULL for a tenant that gets none.
-- dnd_until: until then the application wants no empty post. again_ts: when the first refused event is due again.
-- rounds: how often in a row it said that it has more to submit, and submitted nothing after seen_seq
ALTER TABLE sync_state ADD COLUMN owner TEXT;
ALTER TABLE sync_state ADD COLUMN lease_until DOUBLE PRECISION;
ALTER TABLE sync_state ADD COLUMN beat_at DOUBLE PRECISION;
ALTER TABLE sync_state ADD COLUMN dnd_until DOUBLE PRECISION;
ALTER TABLE sync_state ADD COLUMN again_ts DOUBLE PRECISION;
ALTER TABLE sync_state ADD COLUMN rounds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_state ADD COLUMN seen_seq BIGINT NOT NULL DEFAULT 0;
INSERT INTO sync_state (tenant_id, failures)
SELECT id, 0 FROM tenants WHERE id NOT IN (SELECT tenant_id FROM sync_state);
CREATE INDEX sync_state_beats ON sync_state (beat_at);
CREATE INDEX sync_state_again ON sync_state (again_ts) WHERE again_ts IS NOT NULL;
CREATE INDEX sync_state_trying ON sync_state (next_try_ts) WHERE next_try_ts IS NOT NULL;
