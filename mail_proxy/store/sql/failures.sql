-- fail: these will not be tried again
WITH given(place, status, recipients, error, error_ts, last_error, now) AS (VALUES (CAST(:place AS BIGINT),
    CAST(:status AS TEXT), CAST(:recipients AS TEXT), CAST(:error AS TEXT), CAST(:error_ts AS DOUBLE PRECISION),
    CAST(:last_error AS TEXT), CAST(:now AS DOUBLE PRECISION)))
UPDATE messages SET status = given.status, recipients = given.recipients, error = given.error,
    error_ts = given.error_ts, last_error = given.last_error, deferred_ts = NULL, is_held = 0,
    parked_for = NULL, parked_since = NULL, reported_ts = NULL, updated_at = given.now
FROM given
WHERE messages.seq = given.place;
