-- lock: keep everybody else from these (a JSON list of seq); what is asked next sees what they have done
SELECT seq FROM messages WHERE seq IN NUMBERS(:seqs) AND lease_owner = :owner
ORDER BY seq FOR UPDATE; -- @postgres

-- held: which of these (a JSON list of seq) are still ours, and whether they may be begun: their lease holds, and nobody has suspended them
-- (one row for all, since SQLite's thread and the event loop take turns at every row; only what is being sent
-- has a lease owner: its status, asked for too, would lead PostgreSQL to another index)
SELECT
    json_group_array(json_array( -- @sqlite
    CAST(COALESCE(json_agg(json_build_array( -- @postgres
        m.seq, m.lease_until > :now AND NOT EXISTS (SELECT 1 FROM suspensions s
            WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    )) -- @sqlite
    )), '[]') AS TEXT) -- @postgres
    AS held
FROM messages m
WHERE m.seq IN NUMBERS(:seqs) AND m.lease_owner = :owner;

-- begin_final: these contents (a JSON list of seq) are about to be transmitted
UPDATE messages SET final_at = :now, updated_at = :now
WHERE seq IN NUMBERS(:seqs);

-- settle: the outcomes of attempts; after news, not all was told of the message
WITH given(place, now, status, recipients, retry_count, deferred_ts, sent_ts, error_ts, error, last_error,
    is_unknown, parked_for, parked_since, is_news) AS (VALUES (CAST(:place AS BIGINT),
    CAST(:now AS DOUBLE PRECISION), CAST(:status AS TEXT), CAST(:recipients AS TEXT), CAST(:retry_count AS INTEGER),
    CAST(:deferred_ts AS DOUBLE PRECISION), CAST(:sent_ts AS DOUBLE PRECISION), CAST(:error_ts AS DOUBLE PRECISION),
    CAST(:error AS TEXT), CAST(:last_error AS TEXT), CAST(:is_unknown AS INTEGER), CAST(:parked_for AS TEXT),
    CAST(:parked_since AS DOUBLE PRECISION), CAST(:is_news AS INTEGER)))
UPDATE messages SET status = given.status, recipients = given.recipients, retry_count = given.retry_count,
    deferred_ts = given.deferred_ts, sent_ts = COALESCE(given.sent_ts, messages.sent_ts),
    error_ts = given.error_ts, error = given.error, last_error = given.last_error,
    is_unknown = given.is_unknown, parked_for = given.parked_for, parked_since = given.parked_since,
    reported_ts = CASE WHEN given.is_news = 1 THEN NULL ELSE messages.reported_ts END,
    lease_owner = NULL, lease_until = NULL, final_at = NULL, updated_at = given.now
FROM given
WHERE messages.seq = given.place;
