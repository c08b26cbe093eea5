-- with_news: the tenants with something to be told, skipping from one to the next
WITH RECURSIVE due(tenant_id) AS (
    SELECT MIN(tenant_id) FROM events WHERE is_due = 1
    UNION ALL
    SELECT (SELECT MIN(e.tenant_id) FROM events e WHERE e.is_due = 1 AND e.tenant_id > due.tenant_id)
    FROM due WHERE due.tenant_id IS NOT NULL
)
SELECT s.tenant_id, s.failures, s.next_try_ts, s.owner, s.lease_until,
    CASE WHEN t.client_base_url IS NULL THEN 0 ELSE 1 END AS has_address
FROM due JOIN sync_state s ON s.tenant_id = due.tenant_id JOIN tenants t ON t.id = due.tenant_id;

-- with_refused: the tenants with something refused that is due again
SELECT s.tenant_id, s.failures, s.next_try_ts, s.owner, s.lease_until,
    CASE WHEN t.client_base_url IS NULL THEN 0 ELSE 1 END AS has_address
FROM sync_state s JOIN tenants t ON t.id = s.tenant_id WHERE s.again_ts IS NOT NULL AND s.again_ts <= :now;

-- with_beat: the tenants whose application is to be posted to even if there is nothing to tell
SELECT s.tenant_id, s.failures, s.next_try_ts, s.owner, s.lease_until,
    CASE WHEN t.client_base_url IS NULL THEN 0 ELSE 1 END AS has_address, t.active
FROM sync_state s JOIN tenants t ON t.id = s.tenant_id WHERE s.beat_at <= :now;

-- moments: when something becomes due
SELECT (SELECT MIN(next_try_ts) FROM sync_state WHERE next_try_ts IS NOT NULL AND next_try_ts > :now) AS next_try,
    (SELECT MIN(again_ts) FROM sync_state WHERE again_ts IS NOT NULL AND again_ts > :now) AS again,
    (SELECT MIN(beat_at) FROM sync_state WHERE beat_at > :now) AS beat;

-- unscheduled: whether some tenant should get empty posts and does not, waits for longer than it may, or has no row
SELECT s.tenant_id FROM sync_state s JOIN tenants t ON t.id = s.tenant_id
WHERE s.beat_at IS NULL AND t.active = 1 AND (t.client_base_url IS NOT NULL OR :has_fallback = 1)
UNION ALL
SELECT tenant_id FROM sync_state WHERE beat_at > :latest AND (dnd_until IS NULL OR dnd_until <= :now)
UNION ALL
SELECT tenant_id FROM sync_state WHERE next_try_ts IS NOT NULL AND next_try_ts > :longest
UNION ALL
SELECT tenant_id FROM sync_state WHERE again_ts IS NOT NULL AND again_ts > :longest
UNION ALL
SELECT t.id FROM tenants t WHERE NOT EXISTS (SELECT 1 FROM sync_state s WHERE s.tenant_id = t.id)
LIMIT 1;

-- complete: the rows of tenants that a node of an older version has added
INSERT INTO sync_state (tenant_id, failures)
SELECT t.id, 0 FROM tenants t WHERE NOT EXISTS (SELECT 1 FROM sync_state s WHERE s.tenant_id = t.id)
FOR KEY SHARE -- @postgres: none that is about to go
ON CONFLICT (tenant_id) DO NOTHING;

-- schedule: the next empty post to those that should get some and do not
UPDATE sync_state SET beat_at = :latest
WHERE beat_at IS NULL AND EXISTS (
    SELECT 1 FROM tenants t
    WHERE t.id = sync_state.tenant_id AND t.active = 1 AND (t.client_base_url IS NOT NULL OR :has_fallback = 1)
);

-- bring_forward: what was scheduled when posts were rarer, or by a wrong clock; not what the application wants so
UPDATE sync_state SET beat_at = :latest WHERE beat_at > :latest AND (dnd_until IS NULL OR dnd_until <= :now);

-- wait_no_longer: what was put off by a clock that was ahead
UPDATE sync_state SET next_try_ts = CASE WHEN next_try_ts > :longest THEN NULL ELSE next_try_ts END,
    again_ts = CASE WHEN again_ts > :longest THEN 0 ELSE again_ts END
WHERE (next_try_ts IS NOT NULL AND next_try_ts > :longest) OR (again_ts IS NOT NULL AND again_ts > :longest);

-- retire: no empty posts to these (a JSON list of tenants) until they are scheduled
UPDATE sync_state SET beat_at = NULL WHERE tenant_id IN TEXTS(:tenant_ids) AND beat_at <= :now;

-- take: these tenants (a JSON list) for one node alone, unless another has them or has failed with them
UPDATE sync_state SET owner = :owner, lease_until = :lease_until
WHERE tenant_id IN TEXTS(:tenant_ids) AND (owner IS NULL OR owner = :owner OR lease_until <= :now)
    AND (next_try_ts IS NULL OR next_try_ts <= :now)
RETURNING tenant_id, failures, beat_at, dnd_until, again_ts, rounds, seen_seq;

-- take @postgres: the same; what another node takes at this moment is its own
WITH free AS MATERIALIZED (
    SELECT tenant_id FROM sync_state
    WHERE tenant_id IN TEXTS(:tenant_ids) AND (owner IS NULL OR owner = :owner OR lease_until <= :now)
        AND (next_try_ts IS NULL OR next_try_ts <= :now)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE sync_state SET owner = :owner, lease_until = :lease_until
WHERE tenant_id IN (SELECT tenant_id FROM free)
RETURNING tenant_id, failures, beat_at, dnd_until, again_ts, rounds, seen_seq;

-- renew: the leases of a node on these tenants (a JSON list)
UPDATE sync_state SET lease_until = :lease_until WHERE tenant_id IN TEXTS(:tenant_ids) AND owner = :owner
RETURNING tenant_id;

-- release: a tenant that there is nothing to tell, or nothing that can be told
UPDATE sync_state SET owner = NULL, lease_until = NULL WHERE tenant_id = :tenant_id AND owner = :owner;

-- leave: all that a node has
UPDATE sync_state SET owner = NULL, lease_until = NULL WHERE owner = :owner;

-- news: what one tenant is to be told next, in order, but for messages of which it refused to be told
-- (not by tenant_id = :tenant_id: PostgreSQL would rather read through all events in order than the index of these)
SELECT e.event_id, e.event_type, e.event_ts, e.event_data, m.id, m.tenant_id, m.pk, m.account_id, m.priority,
    m.metadata
FROM events e JOIN messages m ON m.seq = e.seq
WHERE e.is_due = 1 AND (e.tenant_id, e.event_id) > (:tenant_id, 0) AND e.tenant_id <= :tenant_id
    AND NOT EXISTS (SELECT 1 FROM events r WHERE r.is_due = 2 AND r.seq = e.seq)
ORDER BY e.tenant_id, e.event_id LIMIT :limit;

-- join_refused: what happened since to messages that were refused waits with what was refused; of so many events
WITH first AS MATERIALIZED (
    SELECT event_id, seq FROM events
    WHERE is_due = 1 AND (tenant_id, event_id) > (:tenant_id, 0) AND tenant_id <= :tenant_id
    ORDER BY tenant_id, event_id LIMIT :limit
), waiting AS MATERIALIZED (
    SELECT event_id FROM first WHERE EXISTS (SELECT 1 FROM events r WHERE r.is_due = 2 AND r.seq = first.seq)
)
UPDATE events SET is_due = 2, again_ts = (
    SELECT MAX(r.again_ts) FROM events r WHERE r.is_due = 2 AND r.seq = events.seq
)
WHERE event_id IN (SELECT event_id FROM waiting); -- @sqlite
WHERE event_id = ANY (ARRAY(SELECT event_id FROM waiting)); -- @postgres

-- due_again: what was refused and has waited long enough, of so many events and the rest of their messages
WITH ripe AS MATERIALIZED (
    SELECT seq FROM events WHERE is_due = 2 AND tenant_id = :tenant_id AND again_ts <= :until
    ORDER BY again_ts LIMIT :limit
)
UPDATE events SET is_due = 1, again_ts = NULL
WHERE is_due = 2
    AND seq IN (SELECT seq FROM ripe) -- @sqlite
    AND seq = ANY (ARRAY(SELECT seq FROM ripe)) -- @postgres
RETURNING event_id;

-- hold: keep everybody else from a tenant; what is asked next sees what they have done
SELECT tenant_id FROM sync_state WHERE tenant_id = :tenant_id
FOR NO KEY UPDATE; -- @postgres

-- again: when the first of what was refused is due; if somebody wanted all of it meanwhile, that stays
UPDATE sync_state SET again_ts = CASE WHEN again_ts <> :seen_again THEN again_ts ELSE (
    SELECT MIN(e.again_ts) FROM events e WHERE e.is_due = 2 AND e.tenant_id = sync_state.tenant_id
) END
WHERE tenant_id = :tenant_id
RETURNING again_ts;

-- newest: the last message that was queued, whosever it is
SELECT COALESCE(MAX(seq), 0) AS seq FROM messages;

-- submitted: whether a tenant is among those who queued the newest messages, after one
SELECT 1 AS found FROM (SELECT tenant_id FROM messages WHERE seq > :seen_seq ORDER BY seq DESC LIMIT :limit) AS newest
WHERE tenant_id = :tenant_id LIMIT 1;

-- lock_told: keep everybody else from the messages of these (a JSON list of events); what is asked next sees what they have done
SELECT seq FROM messages WHERE seq IN (SELECT e.seq FROM events e WHERE e.event_id IN NUMBERS(:event_ids))
ORDER BY seq FOR NO KEY UPDATE; -- @postgres

-- told: the application has these (a JSON list of events)
UPDATE events SET is_due = 0, reported_ts = :now, again_ts = NULL WHERE event_id IN NUMBERS(:event_ids);

-- told_messages: their messages were told of, if nothing else of them is still to be told
UPDATE messages SET reported_ts = :now
WHERE seq IN (SELECT e.seq FROM events e WHERE e.event_id IN NUMBERS(:event_ids))
    AND NOT EXISTS (SELECT 1 FROM events o WHERE o.seq = messages.seq AND o.is_due > 0);

-- refusals: how often each message of these events (a JSON list) was refused before
SELECT seq, MAX(refusals) AS refusals FROM events WHERE event_id IN NUMBERS(:event_ids) GROUP BY seq;

-- refuse: what is to be told of these messages (a JSON list of seq) waits
UPDATE events SET is_due = 2, again_ts = :again_ts, refusals = refusals + 1
WHERE seq IN NUMBERS(:seqs) AND is_due > 0;

-- wait_for_refused: the tenant has something that is due again then, if not sooner
UPDATE sync_state SET again_ts = CASE WHEN again_ts < :again_ts THEN again_ts ELSE :again_ts END
WHERE tenant_id = :tenant_id;

-- accepted: the application took a post; if somebody wanted another one meanwhile, that stays
UPDATE sync_state SET last_sync_ts = :now, next_try_ts = NULL, failures = 0, last_error = NULL,
    beat_at = CASE WHEN COALESCE(beat_at, -1) = :seen_beat OR beat_at > :now THEN :beat_at ELSE beat_at END,
    dnd_until = COALESCE(:dnd_until, dnd_until), rounds = :rounds, seen_seq = :seen_seq,
    owner = CASE WHEN CAST(:lease_until AS DOUBLE PRECISION) IS NULL THEN NULL ELSE owner END,
    lease_until = :lease_until
WHERE tenant_id = :tenant_id AND owner = :owner
RETURNING tenant_id, failures, beat_at, dnd_until, again_ts, rounds, seen_seq;

-- failed: it did not, and is asked again then; at once if somebody wanted that meanwhile
UPDATE sync_state SET failures = failures + 1, last_error = :last_error, owner = NULL, lease_until = NULL,
    next_try_ts = CASE WHEN COALESCE(beat_at, -1) = :seen_beat OR beat_at > :now
        THEN CAST(:next_try AS DOUBLE PRECISION) END,
    beat_at = CASE WHEN beat_at = :seen_beat AND beat_at < :next_try THEN :next_try ELSE beat_at END
WHERE tenant_id = :tenant_id AND owner = :owner;

-- hurry: a tenant's application is posted to now, but an empty post waits while it does not want any
UPDATE sync_state SET next_try_ts = NULL, rounds = 0, again_ts = CASE WHEN again_ts IS NULL THEN NULL ELSE 0 END,
    beat_at = CASE WHEN :lifts_dnd = 1 OR dnd_until IS NULL OR dnd_until <= :now THEN :now ELSE beat_at END,
    dnd_until = CASE WHEN :lifts_dnd = 1 THEN NULL ELSE dnd_until END
WHERE tenant_id = :tenant_id;

-- hurry_all: no application is waited for any longer after what it did not take
UPDATE sync_state SET next_try_ts = NULL, again_ts = CASE WHEN again_ts IS NULL THEN NULL ELSE 0 END,
    beat_at = CASE WHEN beat_at = next_try_ts THEN :now ELSE beat_at END
WHERE next_try_ts IS NOT NULL OR again_ts IS NOT NULL;
