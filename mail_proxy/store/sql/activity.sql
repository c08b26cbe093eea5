-- bounds: where the newest events lie that follow one: those that happened lately, and those that all have seen
SELECT COUNT(*) AS n, MIN(newest.event_ts) AS begins_at, MAX(newest.event_id) AS last,
    MIN(CASE WHEN newest.event_ts >= :since THEN newest.event_id END) AS first,
    MAX(CASE WHEN newest.event_ts <= :settled THEN newest.event_id END) AS settled
FROM (SELECT event_id, event_ts FROM events WHERE event_id > :after ORDER BY event_id DESC LIMIT :most) AS newest;

-- tallies: what became of messages from one event on until another, by account and second
SELECT m.tenant_id, m.account_id, e.event_type, COUNT(*) AS n,
    CAST(e.event_ts AS BIGINT) AS second -- @sqlite
    CAST(FLOOR(e.event_ts) AS BIGINT) AS second -- @postgres
FROM events e CROSS JOIN messages m
WHERE e.event_id BETWEEN :first AND :last AND e.event_type IN ('sent', 'deferred', 'error', 'bounce')
    AND (CAST(:tenant_id AS TEXT) IS NULL OR e.tenant_id = :tenant_id) AND m.seq = e.seq
GROUP BY m.tenant_id, m.account_id, e.event_type, second;

-- failures: the newest failures, of the newest events that follow one
SELECT newest.event_id, newest.event_ts, newest.tenant_id, m.account_id, m.id, newest.description
FROM (SELECT event_id, seq, tenant_id, event_type, event_ts, description FROM events
    WHERE event_id > :after ORDER BY event_id DESC LIMIT :most) AS newest CROSS JOIN messages m
WHERE newest.event_type IN ('error', 'bounce')
    AND (CAST(:tenant_id AS TEXT) IS NULL OR newest.tenant_id = :tenant_id) AND m.seq = newest.seq
ORDER BY newest.event_id DESC LIMIT :limit;

-- accounts: how many there are
SELECT COUNT(*) AS n FROM accounts WHERE CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id;

-- names: the first of them
SELECT tenant_id, id FROM accounts
WHERE CAST(:tenant_id AS TEXT) IS NULL OR tenant_id = :tenant_id ORDER BY tenant_id, id LIMIT :most;

-- states: of accounts (a JSON list of tenant and account) their circuits, their limits and what these have
-- counted, and since when the message waits that has waited longest
SELECT a.tenant_id, a.id, a.rest, a.resting_until, a.last_error,
    a.limit_per_minute, a.limit_per_hour, a.limit_per_day,
    CASE WHEN a.limit_per_minute > 0 THEN (SELECT COALESCE(SUM(s.amount), 0) FROM send_log s
        WHERE s.lane = a.lane AND s.sent_at > :minute) END AS used_in_minute,
    CASE WHEN a.limit_per_hour > 0 THEN (SELECT COALESCE(SUM(s.amount), 0) FROM send_log s
        WHERE s.lane = a.lane AND s.sent_at > :hour) END AS used_in_hour,
    CASE WHEN a.limit_per_day > 0 THEN (SELECT COALESCE(SUM(s.amount), 0) FROM send_log s
        WHERE s.lane = a.lane AND s.sent_at > :day) END AS used_in_day,
    (SELECT MIN(m.created_at) FROM messages m
        WHERE m.tenant_id = a.tenant_id AND m.status = 'pending' AND m.account_id = a.id) AS pending_since,
    (SELECT MIN(m.created_at) FROM messages m
        WHERE m.tenant_id = a.tenant_id AND m.status = 'deferred' AND m.account_id = a.id) AS deferred_since,
    (SELECT MIN(m.created_at) FROM messages m
        WHERE m.tenant_id = a.tenant_id AND m.status = 'sending' AND m.account_id = a.id) AS sending_since
FROM json_each(:accounts) given CROSS JOIN accounts a -- @sqlite
FROM json_array_elements(CAST(:accounts AS json)) given(value) CROSS JOIN accounts a -- @postgres
WHERE a.tenant_id = json_extract(given.value, '$[0]') AND a.id = json_extract(given.value, '$[1]'); -- @sqlite
WHERE a.tenant_id = given.value ->> 0 AND a.id = given.value ->> 1; -- @postgres
